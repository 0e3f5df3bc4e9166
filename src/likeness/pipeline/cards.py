"""Cards: one row per face, crop before and after, with everything the report says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from likeness.ops.color import to_integer
from likeness.pipeline.steps import FaceResult
from likeness.types import Pixels

_SIDE, _TEXT, _PAD = 256, 520, 8


@dataclass(frozen=True)
class Card:
    """Two crops of 256 px and lines of text."""

    before: Pixels
    after: Pixels
    lines: tuple[str, ...]


def card_of(result: FaceResult, number: int, frame: int | None = None) -> Card:
    """The card of one face; `frame` is named for clips."""
    before = to_integer(result.crop.image)
    after = before
    if result.final is not None:
        small = cv2.resize(result.final, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        after = to_integer(np.asarray(small, np.float32))
    p, v = result.profile, result.verdict
    where = "" if frame is None else f", frame {frame}"
    lines = [
        f"face {number if result.track is None else result.track}{where}",
        f"width {p.width:.0f} px, sharpness {p.sharpness:.0f}, detail {p.detail:.1f} %, noise {p.noise:.1f}",
        *_wrap(f"route: {result.decision.route}: {result.decision.reason}"),
        f"expert: {result.decision.expert or 'none, the background stands'}",
    ]
    if result.distance is not None:
        lines.append(f"identity distance to the input {result.distance:.3f}")
    if v is not None:
        bound = "" if v.bound is None else f" (bound {v.bound:.3f})"
        lines.append(f"guard: {v.verdict}, {v.distance:.3f} -> {v.final_distance:.3f}{bound}, kept {100 * v.mix:.0f} %")
    lines.append(f"{result.milliseconds:.0f} ms")
    for note in result.notes:
        lines.extend(_wrap(f"note: {note}"))
    return Card(before, after, tuple(lines))


def draw_cards(cards: Sequence[Card]) -> Pixels:
    """One picture with all cards, HWC uint8."""
    width = 2 * _SIDE + _TEXT + 4 * _PAD
    sheet = Image.new("RGB", (width, max(1, len(cards)) * (_SIDE + _PAD) + _PAD), (24, 24, 28))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    if not cards:
        pen.text((_PAD, _PAD), "no faces found", fill=(235, 235, 235), font=font)
    for i, card in enumerate(cards):
        y = _PAD + i * (_SIDE + _PAD)
        sheet.paste(Image.fromarray(card.before), (_PAD, y))
        sheet.paste(Image.fromarray(card.after), (2 * _PAD + _SIDE, y))
        for j, line in enumerate(card.lines[:13]):
            pen.text((3 * _PAD + 2 * _SIDE, y + 2 + 19 * j), line, fill=(235, 235, 235), font=font)
    return np.asarray(sheet)


def side_by_side(before: Pixels, after: Pixels) -> Pixels:
    """before | after at the size of `after`, a thin white line between; both HWC, of one depth."""
    height, width = after.shape[:2]
    if before.shape[:2] != (height, width):
        before = cv2.resize(before, (width, height), interpolation=cv2.INTER_CUBIC)
    top = np.iinfo(after.dtype).max
    line = np.full((height, 4, 3), top, after.dtype)
    return np.concatenate([before, line, after], axis=1)


def _wrap(text: str, width: int = 68) -> list[str]:
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}".strip() if lines[-1].strip() else f"{lines[-1]}{word}"
    return lines
