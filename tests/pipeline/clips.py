"""Frames for the tests of clips."""

from __future__ import annotations

from fractions import Fraction

from likeness.pipeline.config import from_overrides
from likeness.pipeline.state import Context
from likeness.pipeline.video import restore_video
from likeness.types import Frame


def frames_of(pictures) -> list[Frame]:
    return [Frame(p, i, Fraction(i, 25), Fraction(1, 25)) for i, p in enumerate(pictures)]


def alike(picture, count, at=(-1, -1)):
    """So many frames of one scene, as a camera gives them: no two in turn are equal in one pixel."""
    frames = [picture.copy() for _ in range(count)]
    for frame in frames[1::2]:
        frame[at] ^= 1
    return frames


def run(pictures, models, *options, upscale=1):
    config = from_overrides(options)
    return [result for _, result, _ in restore_video(frames_of(pictures), Context(models, config, "video", upscale))]
