"""The table of dark faces, on experts and pictures whose figures are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from experiments.exposure.exposure import Figures, change_table, compare, eye_window, main, survey, table
from likeness.errors import ConfigError
from likeness.ops.geometry import template
from likeness.stages.restore.base import BaseExpert
from likeness.stages.restore.exposure import REFERENCE
from likeness.types import FloatArray, Restored


class Glows(BaseExpert):
    """Doubles what lies below a quarter, as if it could not be dark."""

    name, input_size, output_size, sha256 = "glows", 256, 512, ""

    def _restore(self, crops: Sequence[FloatArray], conditions: object) -> list[Restored]:
        return [Restored(cv2.resize(np.where(c < 0.25, 2 * c, c), (512, 512))) for c in crops]


@pytest.fixture
def embedder() -> Any:
    class Mean(torch.nn.Module):
        def embed_aligned(self, crop: torch.Tensor) -> torch.Tensor:
            return crop.mean((2, 3))

    net = Mean()
    net.fc = torch.nn.Linear(1, 1)
    return net


def test_ratio_of_a_face_a_tenth_too_bright_is_1_1(embedder: Any) -> None:
    truth = np.full((256, 256, 3), 0.2, np.float32)
    got = compare(truth * np.float32(1.1), truth, embedder)
    assert got.eyes == pytest.approx(1.1, rel=1e-4)
    assert got.face == pytest.approx(1.1, rel=1e-4)
    assert got.psnr == pytest.approx(-20 * np.log10(0.02), abs=1e-3)
    assert got.distance == pytest.approx(0.02 * np.sqrt(3), rel=1e-3)


def test_eye_window_covers_the_eyes_only(embedder: Any) -> None:
    truth = np.full((256, 256, 3), 0.2, np.float32)
    image = truth.copy()
    image[eye_window(256)] *= 1.5
    assert compare(image, truth, embedder).eyes == pytest.approx(1.5, rel=1e-4)
    x, y = template(256)[:2].round().astype(int).T
    assert eye_window(256)[y, x].all()
    assert 0.015 < eye_window(256).mean() < 0.04
    assert not eye_window(256)[150:].any()


def test_normalising_undoes_an_expert_that_brightens_dark_faces(embedder: Any) -> None:
    dark = np.full((256, 256, 3), REFERENCE / 4, np.float32)
    figures, images = survey(Glows(), [dark], [dark], embedder)
    assert figures["as it is"][0].face == pytest.approx(2)
    assert figures["normalised"][0].face == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose([i.mean() for i in images[0]], [REFERENCE / 2, REFERENCE / 4], rtol=1e-4)


def test_tables_state_means_ranges_and_counts_within_the_bar() -> None:
    before = [Figures(30.0, 1.2, 1.0, 0.5), Figures(32.0, 1.04, 1.0, 0.5)]
    after = [Figures(31.0, 1.0, 1.0, 0.4), Figures(33.0, 0.96, 1.06, 0.3)]
    figures = {("expert_f", "mild", "as it is"): before, ("expert_f", "mild", "normalised"): after}
    rows = table(figures)
    assert rows[2].startswith("| expert_f | mild | as it is | 31.00 [30.00, 32.00] | 1.120 [")
    assert "1.04 to 1.20 | 1 of 2 |" in rows[2]
    assert "0.96 to 1.00 | 2 of 2 |" in rows[3]
    assert "1.00 to 1.06 | 1 of 2 |" in rows[3]
    assert change_table(figures)[2] == "| expert_f | mild | 1.000 [1.000, 1.000] | -0.150 [-0.200, -0.100] |"


@pytest.mark.parametrize("word", ["darkest=0", "darkest=0.5", "faces=0", "brightest=1.2", "experts=[gate]"])
def test_options_out_of_range_are_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith("error: ")
