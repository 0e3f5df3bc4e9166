"""Shows flicker: `python experiments/video/flicker_sheet.py before=CLIP after=RESTORED dst=SHEET.png`.

A sheet of consecutive frames in three rows: the input, the restored clip, and the difference of each restored frame to
the last one, warped by the input's motion. Flicker is bright in the third row; mere motion is dark.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from omegaconf import MISSING
from PIL import Image

from likeness.errors import ConfigError, InputError, OutputError
from likeness.media.files import kind_of
from likeness.media.gif import GifReader
from likeness.media.video_reader import VideoReader
from likeness.ops.flow import motion, warp_by_motion
from likeness.tasks import arguments
from likeness.types import FloatArray, Pixels

_GAP = 4


@dataclass
class FlickerSheetOptions:
    """Options of the command.

    Attributes:
        before: the clip that was restored.
        after: the result, of the same size or a whole multiple of it.
        dst: the sheet, PNG.
        start: number of the first frame shown, from 1 up: each is compared with the one before it.
        count: how many frames.
        box: x,y,width,height in pixels of `before`; empty = the whole frame.
        side: longer edge of each picture on the sheet, in pixels.
        gain: factor of the differences.
    """

    before: str = MISSING
    after: str = MISSING
    dst: str = MISSING
    start: int = 1
    count: int = 6
    box: str = ""
    side: int = 256
    gain: float = 4.0

    def __post_init__(self) -> None:
        if self.start < 1 or self.count < 1 or self.side < 16 or self.gain <= 0:
            raise ConfigError(
                f"got start={self.start}, count={self.count}, side={self.side}, gain={self.gain}; expected "
                "start and count from 1, side from 16 and gain above 0"
            )


def flicker(before: FloatArray, now: FloatArray, restored_before: FloatArray, restored_now: FloatArray) -> FloatArray:
    """Difference of a restored frame to the last one, warped by the input's motion.

    Args:
        before, now: two frames of the input, HWC on the scale 0..255.
        restored_before, restored_now: their restorations, of the same size or a whole multiple.

    Returns:
        HWC of the restored size, absolute differences; 0 where one of the frames does not show the point.
    """
    moved = motion(before, now)
    size = restored_now.shape[1::-1]
    visible = cv2.resize(moved.visible.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    difference: FloatArray = np.abs(restored_now - warp_by_motion(restored_before, moved)) * visible[..., None]
    return difference


def sheet(before: Sequence[Pixels], after: Sequence[Pixels], side: int, gain: float) -> Pixels:
    """The three rows, HWC uint8: frames 1 to N - 1 of N.

    Args:
        before, after: N frames each, HWC uint8; `after` of the same size or a whole multiple.
        side: longer edge of each picture.
        gain: factor of the differences.
    """
    rows: list[list[Pixels]] = [[], [], []]
    for i in range(1, len(before)):
        frames = [p.astype(np.float32) for p in (before[i - 1], before[i], after[i - 1], after[i])]
        difference = np.rint(np.clip(gain * flicker(*frames), 0, 255)).astype(np.uint8)
        for row, picture in zip(rows, (before[i], after[i], difference), strict=True):
            row.append(_small(picture, side))
    gap = np.zeros((rows[0][0].shape[0], _GAP, 3), np.uint8)
    strips = [np.hstack([part for picture in row for part in (picture, gap)][:-1]) for row in rows]
    between = np.zeros((_GAP, strips[0].shape[1], 3), np.uint8)
    return np.vstack([strips[0], between, strips[1], between, strips[2]])


def _small(picture: Pixels, side: int) -> Pixels:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def _frames(file: Path, start: int, count: int) -> list[Pixels]:
    """Frames `start` - 1 up to, without, `start` + `count`."""
    with (VideoReader if kind_of(file) == "video" else GifReader)(file) as reader:
        frames = [f.pixels for f in islice(reader, start - 1, start + count)]
    if len(frames) <= count:
        raise InputError(
            f"{file}: got {max(0, len(frames) - 1)} frames from {start} on, expected {count}; ask for less"
        )
    return [f if f.dtype == np.uint8 else (f >> 8).astype(np.uint8) for f in frames]


def _box(text: str, width: int, height: int) -> tuple[int, int, int, int]:
    if not text:
        return 0, 0, width, height
    words = text.split(",")
    if len(words) != 4 or not all(w.strip().isdigit() for w in words):
        raise ConfigError(f"box: got {text!r}, expected x,y,width,height in pixels")
    x, y, w, h = (int(v) for v in words)
    if min(w, h) < 16 or x + w > width or y + h > height:
        raise ConfigError(f"box: got {text!r}, expected at least 16 x 16 within the frame's {width} x {height}")
    return x, y, w, h


def run(options: FlickerSheetOptions) -> None:
    """Draws the sheet.

    Raises:
        InputError: if a clip cannot be read, is too short, or the two do not fit.
        ConfigError: for a box outside of the frame.
        OutputError: if the sheet cannot be written.
    """
    before, after = (_frames(Path(f), options.start, options.count) for f in (options.before, options.after))
    (height, width), (new_height, new_width) = before[0].shape[:2], after[0].shape[:2]
    factor = new_width // width
    if (new_height, new_width) != (factor * height, factor * width) or factor < 1:
        raise InputError(
            f"{options.after}: got {new_width} x {new_height} for {width} x {height}, expected the same size or a "
            "whole multiple"
        )
    x, y, w, h = _box(options.box, width, height)
    inputs = [p[y : y + h, x : x + w] for p in before]
    results = [p[factor * y : factor * (y + h), factor * x : factor * (x + w)] for p in after]
    picture = Image.fromarray(sheet(inputs, results, options.side, options.gain))
    try:
        Path(options.dst).parent.mkdir(parents=True, exist_ok=True)
        picture.save(options.dst)
    except (OSError, ValueError) as error:
        raise OutputError(f"dst: cannot write {options.dst} ({error}); choose another dst=FILE.png") from error


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(FlickerSheetOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
