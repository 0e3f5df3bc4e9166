"""Obstructions: what lies over a face, by a network, and which part of it keeps the background's pixels.

Masks, hands, objects and text were before the face, and restoring would paint a face over them. Glasses and hair are
restored as part of the face. Damage is what `repair` fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from likeness.nets.obstructions import CLASSES, INPUT_SIZE, ObstructionNet
from likeness.ops.mask import template_mask
from likeness.ops.resize import resize
from likeness.ops.tensors import stack_crops
from likeness.types import FloatArray, Mask, Obstructions

PROTECTED = ("mask", "object", "text")
NAMED_FROM = 0.02  # fraction of the face from which an obstruction is named
_SURE = 0.5  # probability from which a pixel is marked; chosen on `calib`, where 0.5 % of clean skin is then marked
_LIKELY = 0.5  # the same for what the user wants to be removed
_SMALLEST = 60  # pixels of 128 x 128; smaller patches are not protected
_SOFT = 3.0  # width of the soft edge, in pixels of 128
_WORDS = {
    "glasses": "glasses",
    "mask": "a mask",
    "hair": "hair",
    "object": "a hand or an object",
    "damage": "scratches or stains",
    "text": "text",
}


def mark(net: ObstructionNet, crop: FloatArray, before: Obstructions | None = None) -> Obstructions:
    """Marks what lies over a face.

    Args:
        net: the network.
        crop: (S, S, 3) aligned face in [0, 1].
        before: what was found when this face of a clip was last looked at; the mean of both is taken.
    """
    small = resize(crop, INPUT_SIZE, INPUT_SIZE)
    probabilities = classify(net, [small])[0]
    if before is not None:
        probabilities = (probabilities + before.probabilities) / 2
    return Obstructions(probabilities, fractions(probabilities))


def classify(net: ObstructionNet, pictures: Sequence[FloatArray]) -> FloatArray:
    """(B, 7, H, W) probabilities of `CLASSES` for pictures of one size, (H, W, 3) float32 in [0, 1]."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        return net.probabilities(stack_crops(pictures, device)).cpu().numpy()


def classes(probabilities: FloatArray) -> npt.NDArray[np.uint8]:
    """(S, S) indices into `CLASSES` from (7, S, S) probabilities; 0 where nothing else is sure enough."""
    best = probabilities[1:].argmax(0) + 1
    return np.where(probabilities[1:].max(0) > _SURE, best, 0).astype(np.uint8)


def fractions(probabilities: FloatArray) -> dict[str, float]:
    """Fraction of the face under each obstruction, 0..1, from (7, S, S) probabilities of its crop."""
    face = template_mask(probabilities.shape[1]) > 0.5
    inside = classes(probabilities)[face]
    return {name: float((inside == i).mean()) for i, name in enumerate(CLASSES) if i}


def protection(found: Obstructions, size: int) -> FloatArray:
    """Where the background's pixels stay.

    It is 1 inside the marked obstructions, from the inner side of their soft edge on, and 0 outside of them. Letters
    are closed to one area first. Patches below 60 of 128 x 128 pixels are left out.

    Args:
        found: the marked crop.
        size: edge of the result.

    Returns:
        (size, size) float32 in [0, 1].
    """
    p = found.probabilities
    covered = p[[CLASSES.index(name) for name in PROTECTED]].sum(0) > _SURE
    written = (p[CLASSES.index("text")] > _SURE).astype(np.uint8)
    block = cv2.dilate(cv2.morphologyEx(written, cv2.MORPH_CLOSE, np.ones((7, 7))), np.ones((7, 7)))
    area = (covered | (block > 0)).astype(np.uint8)
    area = cv2.morphologyEx(area, cv2.MORPH_OPEN, np.ones((3, 3)))
    _, patches, stats, _ = cv2.connectedComponentsWithStats(area)
    large = stats[:, cv2.CC_STAT_AREA] >= _SMALLEST
    large[0] = False  # the rest of the picture
    # Beyond the crop's border an obstruction goes on.
    padded = cv2.copyMakeBorder(large[patches].astype(np.uint8), 4, 4, 4, 4, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[4:-4, 4:-4]
    soft = np.clip(distance / _SOFT, 0, 1).astype(np.float32)
    return np.clip(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), 0, 1)


def marked(found: Obstructions, kinds: Sequence[str], size: int) -> Mask:
    """(size, size) bool: pixels of a crop that show one of these obstructions, with a margin of 2 % of its edge."""
    p = found.probabilities[[CLASSES.index(kind) for kind in kinds]].sum(0)
    wide = cv2.dilate((p > _LIKELY).astype(np.uint8), np.ones((5, 5)))
    return np.asarray(cv2.resize(wide, (size, size), interpolation=cv2.INTER_NEAREST) > 0)


def remarks(shares: Mapping[str, float], protects: bool) -> list[str]:
    """What lies over the face and what happens to it, in words, the largest first.

    Examples:
        >>> remarks({"mask": 0.414, "glasses": 0.01}, protects=True)
        ['a mask over 41% of the face: its pixels stay']
    """
    found = sorted(((share, name) for name, share in shares.items() if share >= NAMED_FROM), reverse=True)
    return [
        f"{_WORDS[name]} over {share:.0%} of the face" + (": its pixels stay" if protects and name in PROTECTED else "")
        for share, name in found
    ]
