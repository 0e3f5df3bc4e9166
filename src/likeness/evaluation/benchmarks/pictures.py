"""Whole photographs with a face: LFW's frames, frames of sharp clips, and scikit-image's astronaut, degraded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from likeness.data.photos import degraded_frame, draw_rng
from likeness.evaluation.benchmarks.base import CROP, Benchmark
from likeness.evaluation.benchmarks.video import TrueClip, true_frames
from likeness.metrics.landmarks import Detector
from likeness.ops.geometry import Matrix, face_width, similarity
from likeness.ops.resize import resize
from likeness.types import Pixels

CLIP_FACTOR = 2  # frames of clips are shrunk by it, and restored with it as upscale
NARROWEST = 100.0  # face width in a frame of a clip


@dataclass(frozen=True)
class Picture:
    """A photograph with one face, the largest or, on LFW, the one nearest to the centre.

    Attributes:
        name: of the picture, from which its degradation is drawn.
        source: lfw, clips or skimage; tables are read by it.
        truth: HWC uint8.
        matrix: truth pixels to the face's aligned 256 crop.
        upscale: factor between input and truth.
    """

    name: str
    source: str
    truth: Pixels
    matrix: Matrix
    upscale: int = 1

    def degraded(self, recipe: str, seed: int) -> Pixels:
        """The input: the whole picture degraded at the scale of its face's 256 crop, HWC uint8.

        Drawn from seed, recipe and name alone.
        """
        (height, width), rng = self.truth.shape[:2], draw_rng(seed, recipe, self.name)
        if recipe == "clean":  # not resampled twice
            return resize(self.truth, width // self.upscale, height // self.upscale)
        small = degraded_frame(self.truth, self.matrix, recipe, rng)
        return resize(small, width // self.upscale, height // self.upscale)


def lfw_pictures(frames: Benchmark) -> Iterator[Picture]:
    """The frames of `lfw.open_lfw_frames`."""
    for i in range(len(frames)):
        sample = frames.load(i)
        if sample.frame is not None and sample.matrix is not None:
            yield Picture(sample.name, "lfw", sample.frame, sample.matrix)


def clip_pictures(clips: Sequence[TrueClip], detector: Detector, each: int) -> Iterator[Picture]:
    """Up to `each` frames of every clip, 30 frames apart, whose largest face is at least `NARROWEST` wide."""
    for clip in clips:
        for number, frame in enumerate(islice(true_frames(clip), 0, each * 30, 30)):
            name = f"{Path(clip.file).name} {number}"
            yield from _with_face(name, "clips", frame, detector, CLIP_FACTOR, NARROWEST)


def astronaut_picture(detector: Detector) -> Iterator[Picture]:
    """scikit-image's astronaut, at its own size."""
    yield from _with_face("astronaut", "skimage", np.ascontiguousarray(astronaut()), detector, 1)


def _with_face(
    name: str, source: str, truth: Pixels, detector: Detector, upscale: int, narrowest: float = 0.0
) -> Iterator[Picture]:
    (faces,) = detector.detect([truth])
    if len(faces) and face_width(faces.landmarks[0]) >= narrowest:
        yield Picture(name, source, truth, similarity(faces.landmarks[0], CROP), upscale)
