"""Profile: what is wrong with the picture of a face, and how well a restored face will keep the person's identity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from likeness.errors import WeightsError
from likeness.nets.gate import symmetry
from likeness.ops.color import grey
from likeness.ops.geometry import EYE_DISTANCE_256, invert, resized, transform
from likeness.ops.mask import template_mask
from likeness.ops.pose import head_pose
from likeness.ops.quality import block_spectra, high_band, jpeg_quality
from likeness.ops.resize import halve_and_double, resize
from likeness.types import Crop, FaceProfile, FloatArray, Pixels, Profile

LIGHT = 128  # pixels of the crop on which light is measured
OCTAVES = (256, 128, 64)
NORMAL = 3.82  # the 99th percentile over the median of the absolute values of Gaussian noise
BLACK, WHITE = 4.5, 250.5  # of 255: luma that holds no detail
WINDOW = np.array([(64, 87), (191, 87), (64, 215), (191, 215)], np.float64)  # brow to mouth, in a 256 crop
FEATURES = ("sharpness", *(f"contours_{edge}" for edge in OCTAVES))
REACH = 256  # source pixels to each side of the window's centre that are read for the figures of compression
DARK, SHADED, BURNT, TURNED, COMPRESSED = 0.15, 0.35, 0.1, 30.0, 40  # from which `remarks` name a fault


@dataclass(frozen=True)
class QualityFit:
    """Estimates the identity distance that restoring leaves; fitted by `likeness.tasks.fit_quality`.

    Attributes:
        weights: of the logit of the distance by feature, see `quality_features`.
        intercept: of the same.
    """

    weights: Mapping[str, float]
    intercept: float

    def distance(self, profile: FaceProfile) -> float:
        """Expected distance of the embedder between the restored face and the true one, 0..1."""
        features = quality_features(profile)
        logit = self.intercept + sum(weight * features[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-logit))


def read_quality(path: Path) -> QualityFit:
    """Reads what `likeness.tasks.fit_quality` wrote.

    Raises:
        WeightsError: if the file is damaged or was fitted on other features.
    """
    try:
        data = json.loads(path.read_text())
        fit = QualityFit({str(k): float(v) for k, v in data["weights"].items()}, float(data["intercept"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"quality: cannot read {path} ({error}); reinstall the package") from error
    if unknown := fit.weights.keys() - set(FEATURES):
        raise WeightsError(
            f"quality: {path} has a weight of {', '.join(sorted(unknown))}, expected some of {', '.join(FEATURES)}; "
            "run `python -m likeness.tasks.fit_quality`"
        )
    return fit


def quality_features(profile: FaceProfile) -> dict[str, float]:
    """What the quality is computed from, by name, as logarithms."""
    return dict(zip(FEATURES, np.log1p([profile.sharpness, *profile.contours]).tolist(), strict=True))


def profile_face(
    pixels: Pixels, crop: Crop, landmarks: npt.NDArray[np.floating], measured: Profile, fit: QualityFit
) -> FaceProfile:
    """Profiles a face.

    Args:
        pixels: HWC uint8 or uint16 frame; not changed.
        crop: its alignment.
        landmarks: (5, 2) in the frame's pixels.
        measured: by the stage `measure`.
        fit: which gives the quality.

    Raises:
        InputError: for other landmarks.
    """
    luma = resize(grey(crop.image) * np.float32(255), OCTAVES[0], OCTAVES[0])
    light, mask = resize(luma, LIGHT, LIGHT), template_mask(LIGHT) > 0.5
    face, middle = light[mask], LIGHT // 2
    left, right = (float(light[:, half][mask[:, half]].mean()) for half in (slice(middle), slice(middle, LIGHT)))
    spectra = block_spectra(_source_luma(pixels, crop))
    profile = FaceProfile(
        **asdict(measured),
        resolution=measured.width / (2 * EYE_DISTANCE_256),
        exposure=float(np.median(face)) / 255,
        entropy=_entropy(face),
        crushed=float((face < BLACK).mean()),
        burnt=float((face > WHITE).mean()),
        imbalance=(right - left) / max(right + left, 1e-3),
        pose=head_pose(landmarks),
        symmetry=symmetry(landmarks),
        high_band=high_band(spectra),
        jpeg_quality=jpeg_quality(spectra),
        contours=contours(luma),
    )
    return replace(profile, quality=1 - fit.distance(profile), remarks=tuple(remarks(profile)))


def contours(luma: FloatArray) -> tuple[float, float, float]:
    """How far contours stand out from noise in each of `OCTAVES`, at least 0, in the unit of the picture.

    The 99th percentile of an octave's contrast, less what Gaussian noise of the same median would have there.

    Args:
        luma: aligned face, (256, 256).
    """
    found = []
    for edge in OCTAVES:
        small = resize(luma, edge, edge)
        octave = np.abs(small - halve_and_double(small))[template_mask(edge) > 0.5]
        median, high = np.quantile(octave, (0.5, 0.99))
        found.append(max(0.0, float(high - NORMAL * median)))
    return found[0], found[1], found[2]


def remarks(profile: FaceProfile) -> list[str]:
    """What a person would say is wrong with the picture of a face, worst first; empty for a good one.

    Examples:
        >>> from likeness.types import Pose
        >>> good = FaceProfile(150, 300, 300, 9, 0.1, 1, 1.2, 0.5, 7, 0, 0, 0, Pose(0, 0, 0), 0, 8, None, (40, 30, 30))
        >>> remarks(good), remarks(replace(good, pose=Pose(-42.4, 3, 1), exposure=0.08))
        ([], ['turned 42° to the left', 'dark: median luma 0.08'])
    """
    p, found = profile, []
    if abs(p.pose.yaw) >= TURNED:
        found.append(f"turned {abs(p.pose.yaw):.0f}° to the {'right' if p.pose.yaw > 0 else 'left'}")
    if p.exposure < DARK:
        found.append(f"dark: median luma {p.exposure:.2f}")
    if p.crushed >= BURNT:
        found.append(f"black without detail over {p.crushed:.0%} of the face")
    if p.burnt >= BURNT:
        found.append(f"burnt out over {p.burnt:.0%} of the face")
    if abs(p.imbalance) >= SHADED:
        found.append(f"its {'left' if p.imbalance > 0 else 'right'} half lies in shadow")
    if p.jpeg_quality is not None and p.jpeg_quality <= COMPRESSED:
        found.append(f"strongly compressed: JPEG quality about {p.jpeg_quality}")
    return found


def _entropy(values: FloatArray) -> float:
    """Shannon entropy in bits of the histogram of values of 0..255."""
    counts = np.bincount(np.rint(values).clip(0, 255).astype(int), minlength=256)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def _source_luma(pixels: Pixels, crop: Crop) -> FloatArray:
    """Luma of the source pixels under the face's middle, 0..255, from a corner of the frame's grid of 8 pixels on."""
    height, width = pixels.shape[:2]
    corners = transform(invert(resized(crop.matrix, target=256 / crop.size)), WINDOW)
    centre = corners.mean(0)
    low = np.maximum(corners.min(0), centre - REACH).clip(0, [width - 1, height - 1]).astype(int) // 8 * 8
    high = np.minimum(corners.max(0), centre + REACH).clip(low + 1, [width, height]).astype(int)
    top = 257.0 if pixels.dtype == np.uint16 else 1.0
    return grey(pixels[low[1] : high[1], low[0] : high[0]]) / np.float32(top)
