"""The gate's figures against hand-made faces, and its probabilities against scikit-learn's calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness.errors import ConfigError, InputError
from likeness.nets.gate import FEATURES, Gate, GateConfig, fit_temperature, gate_features, outcomes, symmetry
from likeness.ops.geometry import template
from likeness.types import Profile

PROFILE = Profile(width=80, qvol=200, sharpness=150, detail=6, blockiness=2, noise=4)


def test_the_figures_in_their_order() -> None:
    found = gate_features(PROFILE, 1.3, template(512))
    assert dict(zip(FEATURES, found.tolist(), strict=True)) == pytest.approx(
        {
            "width": 80,
            "sharpness": 150,
            "noise": 4,
            "blockiness": 2,
            "norm": 1.3,
            "symmetry": symmetry(template(256)),
            "detail": 6,
        },
        rel=1e-6,
    )


def test_a_turned_head_is_less_symmetric_whatever_its_place() -> None:
    frontal = np.array([(-30, 0), (30, 0), (0, 40), (-20, 70), (20, 70)], float)
    turned = frontal.copy()
    turned[2, 0] = 20
    assert symmetry(frontal) == 0
    left, right = np.hypot(50, 40), np.hypot(10, 40)
    assert symmetry(turned) == pytest.approx((left - right) / (left + right))
    c, s = 2 * np.cos(0.4), 2 * np.sin(0.4)
    assert symmetry(turned @ np.array([[c, s], [-s, c]]) + 99) == pytest.approx(symmetry(turned))
    with pytest.raises(InputError, match=r"expected \(5, 2\)"):
        symmetry(turned[:3])


def test_a_hundredfold_sharpness_is_a_step_not_a_cliff() -> None:
    torch.manual_seed(0)
    net = Gate(GateConfig(8))
    rows = torch.tensor([[80.0, s, 4, 2, 1.3, 0.1, 6] for s in (1, 10, 100, 1000)])
    net.fit_scale(rows)
    scaled = {}
    net.layers.register_forward_pre_hook(lambda _, given: scaled.update(x=given[0]))
    before = rows.clone()
    net(rows)
    assert torch.equal(rows, before)
    steps = scaled["x"][:, 1].diff()
    assert float(steps.max() / steps.min()) < 1.5
    torch.testing.assert_close(scaled["x"].mean(0), torch.zeros(7), atol=1e-4, rtol=0)


def test_probabilities_are_tempered_logits() -> None:
    torch.manual_seed(0)
    net = Gate()
    features = np.stack([gate_features(PROFILE, 1.3, template(512)), gate_features(PROFILE, 0.3, template(512))])
    net.temperature.copy_(torch.tensor([2.5, 0.5]))
    with torch.no_grad():
        expected = 1 / (1 + np.exp(-net(torch.from_numpy(features)).numpy() / np.array([2.5, 0.5])))
    assert expected.shape == (2, 2)
    np.testing.assert_allclose(net.probabilities(features), expected, rtol=1e-5)


def test_outcomes_say_which_expert_and_whether_the_input_costs_less() -> None:
    costs = torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.2]])
    assert outcomes(costs).tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_fit_recovers_the_temperature_of_the_outcomes(true: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, generator=generator)
    better = (torch.rand(20_000, generator=generator) < (logits / true).sigmoid()).float()
    assert fit_temperature(logits, better) == pytest.approx(true, rel=0.05)


def test_an_empty_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gate\.hidden: got 0"):
        GateConfig(0)
