"""Clips made from scikit-image's astronaut (NASA, public domain), for the demo and for measurements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

from likeness.types import Pixels

SOUND_RATE, SOUND_BLOCK = 44100, 1024
CHORD = (220.0, 277.2, 329.6)  # Hz
FACE_WIDTH, FACE_CENTRE = 84.1, (225.0, 120.0)  # in the source picture, in pixels


def moving(count: int, size: tuple[int, int] = (640, 480), face: float = 120.0) -> Iterator[Pixels]:
    """Frames in the middle of which one face drifts in circles.

    Args:
        count: frames.
        size: (width, height) in pixels.
        face: width of the face in pixels.
    """
    picture, scale = astronaut(), face / FACE_WIDTH
    for i in range(count):
        x = FACE_CENTRE[0] * scale - size[0] / 2 + 30 * math.sin(i / 12)
        y = FACE_CENTRE[1] * scale - size[1] / 2 + 20 * math.cos(i / 15)
        move = np.array([[scale, 0, -x], [0, scale, -y]])
        yield cv2.warpAffine(picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def four_moving(count: int, size: tuple[int, int] = (640, 480), face: float = 80.0) -> Iterator[Pixels]:
    """The same with four faces, each in a quarter of the frame and at another point of its circle."""
    quarter, delay = (size[0] // 2, size[1] // 2), 40
    four = [islice(moving(count + delay * i, quarter, face), delay * i, None) for i in range(4)]
    for a, b, c, d in zip(*four, strict=True):
        yield np.vstack([np.hstack([a, b]), np.hstack([c, d])])


def write_clip(path: Path, frames: Iterable[Pixels], crf: int, rate: int = 25) -> None:
    """H.264 with a soft chord in AAC as long as the frames; they are taken one by one."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # x264 writes another file with another number of threads
        audio = out.add_stream("aac", rate=SOUND_RATE, layout="mono")
        sounded = 0
        for i, frame in enumerate(frames):
            if i == 0:
                video.height, video.width = frame.shape[:2]
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            while sounded * rate < (i + 1) * SOUND_RATE:
                out.mux(audio.encode(_chord(sounded)))
                sounded += SOUND_BLOCK
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def _chord(start: int) -> av.AudioFrame:
    times = np.arange(start, start + SOUND_BLOCK) / SOUND_RATE
    wave = np.sin(2 * math.pi * np.outer(CHORD, times)).sum(0) / 12
    sound = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    sound.sample_rate, sound.pts, sound.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
    return sound
