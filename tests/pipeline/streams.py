"""Streams for the tests of live restoration: senders and receivers on loopback."""

from __future__ import annotations

import socket
import threading
import time
from fractions import Fraction

import av
import numpy as np


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def send(address, picture, count, rate=10, format="mpegts", paced=True):
    """Sends a swaying picture with a tone, at its own pace; returns the packets of sound."""
    sounds = []
    with av.open(address, "w", format=format) as out:
        video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "tune": "zerolatency", "qp": "12"})
        video.height, video.width = picture.shape[:2]
        video.pix_fmt, video.gop_size = "yuv420p", 5
        audio = out.add_stream("mp2", rate=44100, layout="mono")
        begin, heard = time.monotonic(), 0
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * (i % 7), 1), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            out.mux(video.encode(frame))
            while heard < 44100 * i / rate:
                tone = (8000 * np.sin(np.arange(heard, heard + 1152) * 0.06)).astype(np.int16)
                sound = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 44100, heard, Fraction(1, 44100)
                heard += 1152
                for packet in audio.encode(sound):
                    sounds.append(bytes(packet))
                    out.mux(packet)
            if paced:
                time.sleep(max(0.0, begin + (i + 1) / rate - time.monotonic()))
        out.mux(video.encode(None))
    return sounds


class Receiver(threading.Thread):
    """Reads a stream until nothing comes any more.

    Attributes:
        times, shapes, sounds: of pictures, and the packets of sound.
    """

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.times, self.shapes, self.sounds = address, [], [], []
        self.start()

    def run(self) -> None:
        try:
            with av.open(self.address, timeout=(20.0, 3.0)) as container:
                for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
                    if packet.stream.type == "audio":
                        self.sounds.append(bytes(packet))
                        continue
                    for frame in packet.decode():
                        self.times.append(frame.pts * frame.time_base)
                        self.shapes.append((frame.height, frame.width))
        except av.FFmpegError:
            return  # nothing comes any more
