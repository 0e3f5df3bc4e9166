"""The smallest networks that fit each other: a prior, Expert-F, and Expert-T over both."""

import torch

from likeness.nets.expert_f import ExpertFConfig
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import ExpertTConfig
from likeness.nets.prior import PriorConfig

PRIOR = PriorConfig(codes=16, code_width=4, heads=2, widths=(12, 8, 8, 4), encoder=(0, 1, 1), decoder=(1, 1, 1))
FIRST = ExpertFConfig(widths=(8, 8, 12), encoder=(2, 2, 2), decoder=(1, 1), skips=(4, 8), fourier=4)
TINY = ExpertTConfig(
    width=12, heads=2, quality=3, read=1, render=1, channels=(8, 8, 8, 12), hidden=(8, 8, 8), code_width=4,
    decoded=(12, 8, 8),
)  # fmt: skip


def randomised(config: ExpertTConfig, seed: int = 0) -> ExpertT:
    """A network without zero weights, so that every part has an effect."""
    torch.manual_seed(seed)
    net = ExpertT(config).eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.1)
    return net
