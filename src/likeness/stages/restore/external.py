"""Any face restorer that spandrel loads, as an `Expert` (GFPGAN, CodeFormer, RestoreFormer ...)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from likeness.errors import ConfigError
from likeness.ops.tensors import stack_crops
from likeness.stages.restore.base import BaseExpert
from likeness.types import Conditions, FloatArray, Restored
from likeness.weights.external import ExternalNet

OUTPUT = 512  # the size at which published face restorers write


class ExternalExpert(BaseExpert):
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

    def _restore(self, crops: Sequence[FloatArray], conditions: Sequence[Conditions] | None) -> list[Restored]:
        """Such networks state no confidence.

        Raises:
            ConfigError: if the network cannot read crops of this size.
        """
        batch = stack_crops(crops, self.net.device)
        try:
            images = self.net.run(batch)
        except (RuntimeError, ValueError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
                raise
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"expert.size: {self.net.architecture} cannot read {self.input_size} px crops ({reason}); "
                "give the size that it was trained on"
            ) from error
        arrays = images.float().permute(0, 2, 3, 1).cpu().numpy()
        return [Restored(np.ascontiguousarray(image)) for image in arrays]
