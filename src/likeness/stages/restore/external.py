"""Any face restorer that spandrel can load, behind the `Expert` protocol (GFPGAN, CodeFormer, RestoreFormer ...)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from likeness.errors import ConfigError, InputError
from likeness.types import FloatArray, Restored
from likeness.weights.external import ExternalNet

OUTPUT = 512  # the size at which published face restorers write


class ExternalExpert:
    """See `Expert`; reads crops of `size` pixels on the FFHQ template.

    Args:
        net: the loaded network.
        size: edge of its crops; None: 512 over its factor, which is what published restorers are trained for.
    """

    name = "external"

    def __init__(self, net: ExternalNet, size: int | None = None) -> None:
        self.net, self.sha256 = net, net.sha256
        self.input_size = size or OUTPUT // net.scale
        self.output_size = self.input_size * net.scale

    def restore(self, crops: Sequence[FloatArray]) -> list[Restored]:
        """Restores (size, size, 3) float32 crops; such networks state no confidence.

        Raises:
            InputError: if a crop has another shape.
            ConfigError: if the network cannot read crops of this size.
        """
        if not crops:
            return []
        size = self.input_size
        for crop in crops:
            if crop.shape != (size, size, 3):
                raise InputError(f"external expert: got a crop of shape {crop.shape}, expected ({size}, {size}, 3)")
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(self.net.device, torch.float32)
        try:
            images = self.net.run(batch)
        except (RuntimeError, ValueError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
                raise
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"expert.size: {self.net.architecture} cannot read {size} px crops ({reason}); give its own size"
            ) from error
        arrays = images.float().permute(0, 2, 3, 1).cpu().numpy()
        return [Restored(np.ascontiguousarray(image)) for image in arrays]
