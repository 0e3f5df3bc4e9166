"""Confidence against error, on experts whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from experiments.confidence.confidence import Cells, ConfidenceOptions, cells_of, run, survey, table
from likeness.errors import ConfigError
from likeness.types import FloatArray, Restored


class Stub:
    """Returns the crop with an error that grows from left to right; its confidence falls or rises with it."""

    name, input_size, output_size, sha256 = "stub", 256, 512, ""

    def __init__(self, sign: float | None) -> None:
        self.sign = sign

    def restore(self, crops: list[FloatArray], conditions: object = None) -> list[Restored]:
        ramp = np.tile(np.linspace(0, 0.2, 512, dtype=np.float32), (512, 1))
        image = cv2.resize(crops[0], (512, 512)) + ramp[..., None]
        sure = None if self.sign is None else 0.5 - self.sign * cv2.resize(ramp, (64, 64))
        return [Restored(image, sure)]


@pytest.fixture
def crops() -> list[FloatArray]:
    return [np.full((256, 256, 3), v, np.float32) for v in (0.2, 0.5)]


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 1.0), (-1.0, -1.0)])
def test_correlation_has_the_sign_of_the_confidence(sign: float, expected: float, crops: list[FloatArray]) -> None:
    cells = survey(Stub(sign), crops, crops)
    np.testing.assert_allclose(cells.correlations(), expected, atol=1e-3)
    sure, errors = cells.binned(4)
    assert list(sure) == sorted(sure)
    assert (errors[0] > errors[-1]) == (sign > 0)
    np.testing.assert_allclose(cells.error.mean(), 0.1, atol=1e-3)


def test_constant_confidence_has_no_correlation(crops: list[FloatArray]) -> None:
    assert np.isnan(survey(Stub(0.0), crops, crops).correlations()).all()


def test_expert_without_confidence_is_refused(crops: list[FloatArray]) -> None:
    with pytest.raises(ConfigError, match="stub has no confidence"):
        survey(Stub(None), crops, crops)


def test_cells_are_means_of_their_pixels() -> None:
    rng = np.random.default_rng(0)
    sure, image, truth = rng.random((64, 64)), rng.random((256, 256, 3)), rng.random((256, 256, 3))
    got = cells_of(*(a.astype(np.float32) for a in (sure, image, truth)))
    np.testing.assert_allclose(got[0], sure.reshape(32, 2, 32, 2).mean((1, 3)).ravel(), atol=1e-6)
    np.testing.assert_allclose(
        got[1], np.abs(image - truth).reshape(32, 8, 32, 8, 3).mean((1, 3, 4)).ravel(), atol=1e-6
    )


def test_table_states_error_of_outer_tenths() -> None:
    sure = np.linspace(0, 1, 1024)[None]
    rows = table({("e", "mild"): Cells(sure, 1 - sure)})
    assert rows[2].startswith("| e | mild | 0.500 [0.500, 0.500] | 1.00 [1.00, 1.00] | 0.95")
    assert rows[2].endswith("0.0494 |")


@pytest.mark.parametrize("experts", [[], ["gate"]], ids=["none", "unknown"])
def test_unknown_experts_are_refused(experts: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected some of expert_f, expert_t"):
        run(ConfidenceOptions(experts=experts))
