"""Dark faces at the brightness that the experts know, and back.

The experts were trained on well exposed faces. A dark face is multiplied before an expert reads it, and what the expert
returns is divided again. An ordinary face has a gain of exactly 1 and is passed on untouched. Own construction.
"""

from __future__ import annotations

import cv2
import numpy as np

from likeness.ops.color import grey
from likeness.ops.filters import noise_response
from likeness.ops.geometry import enlarged
from likeness.ops.mask import template_mask
from likeness.types import FloatArray

REFERENCE = 0.5  # level to which darker faces are raised; 97 % of held-out faces reach it by themselves
MOST = 5.0  # 8-bit steps are multiplied as well
NOISIEST = 6 / 255  # most noise of a raised face, as `noise` measures it; the experts are trained on no more
_EDGE = 64  # pixels of the picture that is measured: single highlights do not count
_QUANTILE = 0.95
_FOLLOWED = 0.1  # fraction of a change of the logarithm of gain that one frame of a clip follows
_NOTHING = 0.01  # a gain this close to 1 ends at 1, or it would never be reached


def level(crop: FloatArray) -> float:
    """Luma of a face's bright skin, 0..1: the 95th percentile of the face window, averaged down to 64 pixels.

    Args:
        crop: (S, S, 3) float32 in [0, 1], aligned.
    """
    return float(np.quantile(grey(_small(crop))[template_mask(_EDGE) > 0.5], _QUANTILE))


def noise(crop: FloatArray) -> float:
    """Noise of the face window averaged down to 64 pixels, as a standard deviation of the crop's values.

    Median response to Immerkaer's mask (CVIU 1996), which facial features hardly change. At 64 pixels an enlarged
    face's coarse noise is still measured.

    Args:
        crop: (S, S, 3) float32 in [0, 1], aligned.
    """
    response = noise_response(_small(crop))[template_mask(_EDGE) > 0.5]
    return float(np.median(response)) / 0.6745 / 6


def gain(crop: FloatArray, last: float | None = None) -> float:
    """The factor that a face is multiplied by, 1 to `MOST`; it rises continuously from 1 as a face gets darker.

    Args:
        crop: (S, S, 3) float32 in [0, 1], aligned.
        last: in clips, the gain of this face's last frame, from which the new one changes slowly; None for a new track.
    """
    bright = max(level(crop), 1e-3)
    clean = NOISIEST / max(noise(crop), 1e-6)
    wanted = max(1.0, min(MOST, REFERENCE / bright, clean))
    if last is None:
        return wanted
    followed = last * (wanted / last) ** _FOLLOWED  # the very same where nothing changed
    if wanted == 1 and followed < 1 + _NOTHING:
        return 1.0
    # Where the light is switched on within a shot the face would turn white.
    return min(followed, max(wanted, 1 / bright))


def apply(crop: FloatArray, by: float) -> FloatArray:
    """The crop times `by`, clipped to 1; the crop itself where `by` is 1."""
    return crop if by == 1 else np.minimum(crop * np.float32(by), np.float32(1))


def undo(image: FloatArray, crop: FloatArray, by: float) -> FloatArray:
    """What an expert made of `apply(crop, by)`, at the crop's own brightness.

    What the crop has beyond 1 / `by` was cut off before the expert read it. It is added again, so a bright window
    beside a dark face stays as bright as it was.

    Args:
        image: (S, S, 3) float32 in [0, 1].
        crop: (N, N, 3) float32 in [0, 1].
        by: the gain.

    Returns:
        (S, S, 3) float32 in [0, 1]; `image` itself where `by` is 1.
    """
    if by == 1:
        return image
    cut = enlarged(np.maximum(crop - np.float32(1 / by), np.float32(0)), image.shape[0])
    return np.clip(image / np.float32(by) + cut, 0, 1)


def _small(crop: FloatArray) -> FloatArray:
    return np.asarray(cv2.resize(crop, (_EDGE, _EDGE), interpolation=cv2.INTER_AREA), np.float32)
