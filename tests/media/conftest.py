"""Media for the tests, written without the package's writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage.data import astronaut

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def portrait() -> npt.NDArray[np.uint8]:
    """A 96x80 (HWC) photograph of a face, soft enough that halved chroma loses little."""
    return cv2.GaussianBlur(astronaut()[:288, 120:360], (0, 0), 5)[::3, ::3].copy()


def _encode_sound(container: av.container.OutputContainer, seconds: float, offset: float) -> av.AudioStream:
    stream = container.add_stream("aac", rate=44100)
    stream.codec_context.layout = "mono"
    return stream


def _sound_packets(stream: av.AudioStream, seconds: float, offset: float) -> list[av.Packet]:
    rate, packets = 44100, []
    tone = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate).astype(np.float32)
    for start in range(0, len(tone), 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start + round(offset * rate)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Builds a video from yuv420p or RGB arrays: `make(name, frames, ticks, time_base, ...)`."""

    def make(
        name: str,
        frames: Sequence[av.VideoFrame | npt.NDArray[np.uint8]],
        ticks: Sequence[int],
        time_base: Fraction = Fraction(1, 600),
        *,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        tags: tuple[int, int] | None = None,
        sound: tuple[float, float] | None = None,
        rotation: float | None = None,
        aspect: Fraction | None = None,
        pixels: str = "yuv420p",
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=30, options=options if options is not None else {"qp": "0"})
            pictures = [f if isinstance(f, av.VideoFrame) else av.VideoFrame.from_ndarray(f, "rgb24") for f in frames]
            stream.width, stream.height = pictures[0].width, pictures[0].height
            stream.pix_fmt = pixels
            stream.codec_context.time_base = stream.time_base = time_base
            if tags is not None:
                stream.codec_context.colorspace, stream.codec_context.color_range = tags
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation is not None:
                stream.set_display_rotation(rotation)
            audio = _encode_sound(container, *sound) if sound is not None else None
            packets = []
            for picture, tick in zip(pictures, ticks, strict=True):
                picture = picture if picture.format.name == pixels else picture.reformat(format=pixels)
                picture.pts, picture.time_base = tick, time_base
                packets += stream.encode(picture)
            packets += stream.encode(None)
            if audio is not None and sound is not None:
                packets += _sound_packets(audio, *sound)
            for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
                container.mux(packet)
        return path

    return make
