"""Two faces, and the frozen networks under a tiny Expert-T."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.synthetic_faces import draw_face
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t_data import Frozen
from likeness.nets.prior import Prior
from tests.tiny import FIRST, PRIOR


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.from_numpy(np.stack([draw_face(256, s) for s in (1, 2)])).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def frozen(faces: Tensor) -> Frozen:
    torch.manual_seed(0)
    prior, first = Prior(PRIOR), ExpertF(FIRST)
    torch.nn.init.normal_(prior.decoder.leave256.weight, std=0.05)
    torch.nn.init.normal_(first.leave256.weight, std=0.05)
    prior.train()(faces)  # starts the codes
    return Frozen(prior.eval().requires_grad_(False), first.eval().requires_grad_(False))
