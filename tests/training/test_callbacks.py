"""The image panel and the learning curves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from likeness.training.callbacks import ImagePanel, LearningCurves, draw_curves, read_curves

LOG = """step,epoch,loss,val/cost
0,0,0.5,
1,0,0.25,
1,0,,-0.1
2,1,0.125,
"""


def trainer(checking: bool = False) -> Any:
    return SimpleNamespace(sanity_checking=checking, loggers=[], global_step=3)


def test_read_curves_returns_the_columns_with_their_steps(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(LOG)
    assert read_curves(tmp_path / "metrics.csv") == {"loss": ([0, 1, 2], [0.5, 0.25, 0.125]), "val/cost": ([1], [-0.1])}


def test_learning_curves_are_plotted_when_the_training_ends(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(LOG)
    figure = tmp_path / "new/curves.png"
    LearningCurves(str(tmp_path / "metrics.csv"), str(figure)).on_fit_end(trainer(), None)  # type: ignore[arg-type]
    with Image.open(figure) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(pixels, 2) > 60).sum() > 50, "there is no coloured line"


def test_without_a_log_nothing_is_plotted(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch\n")
    draw_curves(tmp_path / "metrics.csv", tmp_path / "a.png")
    LearningCurves(str(tmp_path / "none.csv"), str(tmp_path / "a.png")).on_fit_end(trainer(), None)  # type: ignore[arg-type]
    assert not (tmp_path / "a.png").exists()


def test_panel_shows_the_first_faces_clipped(tmp_path: Path) -> None:
    panel = torch.zeros(3, 3, 4, 12)
    panel[0], panel[1, 0], panel[2] = 1.5, 0.5, -1
    ImagePanel(str(tmp_path), rows=2).on_validation_end(trainer(), SimpleNamespace(panel=panel))  # type: ignore[arg-type]
    with Image.open(tmp_path / "panel.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (8, 12, 3)
    assert (pixels[:4] == 255).all()
    assert (pixels[4:] == [128, 0, 0]).all()


def test_without_a_panel_or_in_a_sanity_check_nothing_is_written(tmp_path: Path) -> None:
    callback = ImagePanel(str(tmp_path))
    callback.on_validation_end(trainer(), SimpleNamespace(panel=None))  # type: ignore[arg-type]
    callback.on_validation_end(trainer(checking=True), SimpleNamespace(panel=torch.zeros(1, 3, 4, 12)))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
