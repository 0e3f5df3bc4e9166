"""Any super-resolution network that spandrel loads."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.ops.color import to_float, to_integer
from likeness.ops.tensors import to_tensor
from likeness.ops.tiles import tiled
from likeness.stages.background.base import Background
from likeness.types import FloatArray, Pixels
from likeness.weights.external import ExternalNet

MARGIN = 16  # pixels of context around a tile


def external(net: ExternalNet, tile: int) -> Background:
    """The network in tiles of `tile` source pixels; its own factor is resampled to the wanted one."""

    def one(image: FloatArray) -> FloatArray:
        x = to_tensor(image).to(net.device)
        return net.run(x)[0].permute(1, 2, 0).float().cpu().numpy()

    def run(pixels: Pixels, factor: int) -> Pixels:
        large = tiled(to_float(pixels), one, net.scale, tile, MARGIN)
        if net.scale != factor:
            height, width = pixels.shape[:2]
            how = cv2.INTER_AREA if net.scale > factor else cv2.INTER_LANCZOS4
            large = np.asarray(cv2.resize(large, (width * factor, height * factor), interpolation=how), np.float32)
        return to_integer(large, pixels.dtype)

    return run
