"""Composite: paste a restored face onto the separately enlarged background, as a residual.

candidate = background + mask . warp(restored - the crop the expert saw): detail that the crop lost
in shrinking stays, and an expert that changes nothing changes nothing. The mask is fixed in template
coordinates and never derived from pixels, so it cannot flicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from likeness.errors import ConfigError
from likeness.ops.color import to_float
from likeness.ops.geometry import Matrix, invert, resized, transform, warp
from likeness.ops.mask import MASK_SHAPES, MaskShape, template_mask
from likeness.ops.poisson import blend_residual
from likeness.ops.quality import GRAIN_SIZE, flat_grain
from likeness.ops.resize import resize
from likeness.types import FloatArray, Pixels

Method = Literal["poisson", "feather"]

_PART = 1024  # edge in source pixels of the middle of a picture that is measured
_GRAIN_FADE = (1.0, 1.8)  # grey levels: good photographs have up to about 1 in their flattest places
_PEAK = 2.5  # amplitude of grain over its standard deviation


@dataclass
class CompositeConfig:
    """How faces are pasted.

    Attributes:
        mask: the mask shape, "head" (hair, ears and neck too) or "face" (brow to chin).
        method: "auto" (poisson for photos, feather for videos and GIFs), "poisson" or "feather".
        grain: 0..1, how much of a grainy picture's grain stays in the face, as far as the background is not cleaned.
    """

    mask: str = "head"
    method: str = "auto"
    grain: float = 0.0

    def __post_init__(self) -> None:
        if self.mask not in MASK_SHAPES:
            raise ConfigError(f"composite.mask: got {self.mask!r}, expected {' or '.join(MASK_SHAPES)}")
        if self.method not in ("auto", "poisson", "feather"):
            raise ConfigError(f"composite.method: got {self.method!r}, expected auto, poisson or feather")
        if not 0 <= self.grain <= 1:
            raise ConfigError(f"composite.grain: got {self.grain}, expected 0 to 1")

    @property
    def shape(self) -> MaskShape:
        """The mask's shape."""
        return "head" if self.mask == "head" else "face"

    def method_for(self, kind: str) -> Method:
        """Resolves "auto" for a kind of media."""
        if self.method == "auto":
            return "poisson" if kind == "photo" else "feather"
        return "poisson" if self.method == "poisson" else "feather"


@dataclass(frozen=True)
class Patch:
    """What is to be pasted for one face.

    Attributes:
        restored: (S, S, 3) float32 in [0, 1].
        source: (S, S, 3) the expert's input at the same size.
        matrix: (2, 3), source frame pixels to these S pixels.
        mask: which part of it is pasted.
    """

    restored: FloatArray
    source: FloatArray
    matrix: Matrix
    mask: MaskShape = "face"


def paste(
    canvas: Pixels,
    patch: Patch,
    upscale: int,
    method: Method,
    grain: float = 0.0,
    background: Pixels | None = None,
) -> tuple[Pixels, str | None]:
    """Pastes one face; pixels outside the mask equal the canvas exactly.

    Args:
        canvas: HWC uint8 or uint16, the source frame enlarged by `upscale`, with the faces pasted so far; not changed.
        patch: the face.
        upscale: 1, 2 or 4.
        method: poisson or feather.
        grain: amplitude up to which the face keeps the grain under it, in [0, 1]; 0 = it keeps none.
        background: the canvas without faces, which this face's residual is relative to; None = `canvas` has none.

    Returns:
        A new picture, and a note where poisson had to fall back to feather.
    """
    size = patch.restored.shape[0]
    to_crop = resized(patch.matrix, source=upscale)  # background pixels to crop pixels
    back = invert(to_crop)
    height, width = canvas.shape[:2]
    template = template_mask(size, patch.mask)
    box = _box(back, template, width, height)
    if box is None:
        return canvas.copy(), None
    x0, y0, x1, y1 = box
    shifted = back.copy()
    shifted[:, 2] -= (x0, y0)
    area = (x1 - x0, y1 - y0)
    mask = np.clip(warp(template, shifted, area, border=cv2.BORDER_CONSTANT, linear=True), 0, 1)
    # The padded box may reach beyond the frame; there the background is its mirrored self.
    inner = (slice(max(0, -y0), min(y1, height) - y0), slice(max(0, -x0), min(x1, width) - x0))
    frame = (slice(max(0, y0), min(y1, height)), slice(max(0, x0), min(x1, width)))
    change = warp(patch.restored - patch.source, shifted, area)
    if grain > 0:
        change += _kept_grain(change, warp(patch.source, shifted, area), grain, upscale)
    note = None
    if method == "poisson":
        note = _ill_posed(mask, inner)
    if method == "poisson" and note is None:
        # Beyond the soft mask the solution fades to exactly nothing.
        added = blend_residual(change, mask) * np.clip(mask * 6, 0, 1)[..., None]
    else:
        added = change * mask[..., None]
    out = canvas.copy()
    top = float(np.iinfo(canvas.dtype).max)
    values = canvas[frame].astype(np.float32) + added[inner] * np.float32(top)
    if background is not None:  # a face in front replaces the residual of those behind
        values += mask[inner][..., None] * (background[frame].astype(np.float32) - canvas[frame])
    out[frame] = np.clip(np.rint(values), 0, top).astype(canvas.dtype)
    return out, note


def grain_of(background: Pixels, upscale: int) -> float:
    """Amplitude of an enlarged picture's grain, in [0, 1], measured in its middle; 0 where it is not grainy."""
    top, left = (max(0, (n - _PART * upscale) // 2) for n in background.shape[:2])
    part = to_float(background[top : top + _PART * upscale, left : left + _PART * upscale]) * 255
    sigma = flat_grain(resize(part, part.shape[1] // upscale, part.shape[0] // upscale))
    return float(_PEAK * sigma * np.interp(sigma, _GRAIN_FADE, (0, 1))) / 255


def cut(background: Pixels, matrix: Matrix, upscale: int, size: int) -> FloatArray:
    """The enlarged background in a crop's place, (size, size, 3) float32 in [0, 1], mirrored beyond the frame.

    Args:
        background: HWC, the source frame enlarged by `upscale`.
        matrix: source frame pixels to the crop's `size` pixels.
        upscale: 1, 2 or 4.
        size: edge of the crop.
    """
    to_crop = resized(matrix, source=upscale)
    box = _box(invert(to_crop), np.ones((size, size), np.float32), background.shape[1], background.shape[0])
    if box is None:
        return np.zeros((size, size, 3), np.float32)
    x0, y0, x1, y1 = max(0, box[0]), max(0, box[1]), box[2], box[3]
    shifted = to_crop.copy()
    shifted[:, 2] += to_crop[:, :2] @ (x0, y0)
    part = to_float(background[y0:y1, x0:x1])
    return np.clip(warp(part, shifted, (size, size)), 0, 1)


def _box(back: Matrix, mask: FloatArray, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The mask's bounding box in the background, padded by 4 px; None if it lies outside the frame."""
    ys, xs = np.nonzero(mask)
    corners = np.array([[x, y] for x in (xs.min(), xs.max()) for y in (ys.min(), ys.max())], np.float64)
    p = transform(back, corners)
    x0, y0 = np.floor(p.min(0)).astype(int) - 4
    x1, y1 = np.ceil(p.max(0)).astype(int) + 5
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return None
    return int(x0), int(y0), int(x1), int(y1)


def _ill_posed(mask: FloatArray, inner: tuple[slice, slice]) -> str | None:
    """Why Poisson should not be solved here, or None."""
    if min(mask.shape) < 16:
        return f"poisson -> feather: the face covers only {mask.shape[1]}x{mask.shape[0]} pixels"
    inside = float(mask[inner].sum() / max(float(mask.sum()), 1e-6))
    if inside < 0.5:
        return f"poisson -> feather: only {100 * inside:.0f} % of the face lies inside the frame"
    return None


def _kept_grain(change: FloatArray, source: FloatArray, most: float, upscale: int) -> FloatArray:
    """The finest texture of `source`, at most `most` of it, as far as `change` takes it away."""
    fine, taken = (a - cv2.GaussianBlur(a, (0, 0), GRAIN_SIZE * upscale) for a in (source, -change))
    sign = np.sign(fine)
    return np.asarray(sign * np.clip(np.minimum(sign * fine, sign * taken), 0, most), np.float32)
