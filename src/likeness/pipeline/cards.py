"""Cards: one row a face, with its crop before and after, a heat map of the expert's confidence, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from likeness.ops.color import to_integer
from likeness.ops.resize import resize
from likeness.pipeline.state import GuardedFace, RoutedFace, pasted
from likeness.types import FloatArray, Pixels

_SIDE, _TEXT, _PAD = 256, 520, 8


@dataclass(frozen=True)
class Card:
    """Two crops of 256 px, lines of text, and the heat map of low confidence, where the expert has a confidence.

    The first line names the face by its number, which people count from 1 and reports from 0.
    """

    before: Pixels
    after: Pixels
    lines: tuple[str, ...]
    restored: bool
    confidence_map: Pixels | None = None


def card_of(face: RoutedFace, frame: int | None = None) -> Card:
    """The card of one face; in clips it names the frame."""
    before, used, p = to_integer(face.crop.image), pasted(face), face.profile
    where = "" if frame is None else f", frame {frame}"
    lines = [
        f"face {1 + (face.track.id if face.track else face.number)}{where}",
        f"width {p.width:.0f} px, sharpness {p.sharpness:.0f}, detail {p.detail:.1f} %, noise {p.noise:.1f}",
        f"quality {p.quality:.2f}, yaw {p.pose.yaw:.0f}°, pitch {p.pose.pitch:.0f}°, roll {p.pose.roll:.0f}°",
        *(line for remark in p.remarks for line in _wrap(remark)),
        *_wrap(f"route: {face.decision.route}: {face.decision.reason}"),
        f"expert: {face.decision.expert or 'none (background kept)'}",
    ]
    after, confidence_map, restored = before, None, False
    if isinstance(face, GuardedFace):
        if face.distance is not None:
            lines.append(f"identity distance to the input {face.distance:.3f}")
        if verdict := face.verdict:
            bound = "" if verdict.bound is None else f" (bound {verdict.bound:.3f})"
            distances = f"{verdict.distance:.3f} -> {verdict.final_distance:.3f}{bound}"
            lines.append(f"guard: {verdict.verdict}, {distances}, alpha {verdict.alpha:.2f}")
    if used and used.final is not None:
        after, restored = to_integer(resize(used.final, _SIDE, _SIDE)), True
        if used.restored.confidence is not None:
            confidence_map = heat_map(after, used.restored.confidence)
            lines.append(f"confidence {used.restored.confidence.mean():.2f}, low where the map is warm")
    lines.append(f"{face.milliseconds:.0f} ms")
    for note in face.notes:
        lines.extend(_wrap(f"note: {note}"))
    return Card(before, after, tuple(lines), restored, confidence_map)


def wanted(cards: Mapping[int, Card], key: int, restored: bool, limit: int) -> bool:
    """Whether a face needs a card of this frame: its first one, or the first in which it is restored."""
    known = cards.get(key)
    return len(cards) < limit if known is None else restored and not known.restored


def heat_map(image: Pixels, confidence: FloatArray) -> Pixels:
    """The picture in grey under a colour that goes from dark at confidence 1 to warm and light at confidence 0.

    Args:
        image: (S, S, 3) uint8.
        confidence: (h, w) in [0, 1].

    Returns:
        (S, S, 3) uint8.
    """
    size = (image.shape[1], image.shape[0])
    uncertainty = 1 - np.clip(cv2.resize(confidence.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), 0, 1)
    warm = cv2.applyColorMap(np.rint(255 * uncertainty).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = image.mean(2, keepdims=True) / 255
    return (
        np.rint(0.75 * warm + 0.25 * warm * grey + 40 * grey * (1 - uncertainty[..., None]))
        .clip(0, 255)
        .astype(np.uint8)
    )


def draw_cards(cards: Sequence[Card]) -> Pixels:
    """One picture with all cards, HWC uint8."""
    width = 3 * _SIDE + _TEXT + 5 * _PAD
    sheet = Image.new("RGB", (width, max(1, len(cards)) * (_SIDE + _PAD) + _PAD), (24, 24, 28))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    if not cards:
        pen.text((_PAD, _PAD), "no faces found", fill=(235, 235, 235), font=font)
    for i, card in enumerate(cards):
        y = _PAD + i * (_SIDE + _PAD)
        sheet.paste(Image.fromarray(card.before), (_PAD, y))
        sheet.paste(Image.fromarray(card.after), (2 * _PAD + _SIDE, y))
        if card.confidence_map is not None:
            sheet.paste(Image.fromarray(card.confidence_map), (3 * _PAD + 2 * _SIDE, y))
        for j, line in enumerate(card.lines[:13]):
            pen.text((4 * _PAD + 3 * _SIDE, y + 2 + 19 * j), line, fill=(235, 235, 235), font=font)
    return np.asarray(sheet)


def side_by_side(before: Pixels, after: Pixels) -> Pixels:
    """before | after at the size of `after`, with a white line of 4 px between; both HWC, of one depth."""
    height, width = after.shape[:2]
    before = resize(before, width, height)
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
