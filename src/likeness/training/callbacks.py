"""Callbacks that Lightning does not have: an image panel and a plot of the learning curves.

The EMA (moving average) of the weights is Lightning's callback; configs/callbacks/default.yaml sets its decay.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image


class ImagePanel(Callback):
    """After validation, saves the first faces as input | restored | truth, as a PNG and to W&B if it is used.

    Args:
        folder: of the PNG, which each validation overwrites.
        rows: number of faces.
    """

    def __init__(self, folder: str, rows: int = 4) -> None:
        self.folder, self.rows = Path(folder), rows

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the module's `panel`, if there is one."""
        panel = getattr(pl_module, "panel", None)
        if panel is None or trainer.sanity_checking:
            return
        rows = (panel[: self.rows].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        picture = np.concatenate(list(rows))
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.folder / "panel.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/panel", [picture], step=trainer.global_step)


class LearningCurves(Callback):
    """Plots every column of the CSV log when the training ends.

    Args:
        log: the CSV logger's `metrics.csv`.
        figure: the PNG to write.
    """

    def __init__(self, log: str, figure: str) -> None:
        self.metrics, self.figure = Path(log), Path(figure)

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plots the log, if there is one."""
        if self.metrics.is_file():
            draw_curves(self.metrics, self.figure)


def read_curves(log: Path) -> dict[str, tuple[list[int], list[float]]]:
    """The columns of a Lightning CSV log: name to (steps, values)."""
    curves: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    with log.open(newline="") as handle:
        for row in csv.DictReader(handle):
            for name, value in row.items():
                if name not in ("step", "epoch") and value:
                    curves[name][0].append(int(row["step"]))
                    curves[name][1].append(float(value))
    return dict(curves)


def draw_curves(log: Path, figure: Path) -> None:
    """Plots the losses and validation metrics of a CSV log, one small plot each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curves = {name: curve for name, curve in read_curves(log).items() if name != "images"}
    if not curves:
        return
    columns = 4
    rows = -(-len(curves) // columns)
    plot, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    for axis, (name, (steps, values)) in zip(axes.flat, sorted(curves.items()), strict=False):
        axis.plot(steps, values, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    plot.tight_layout()
    figure.parent.mkdir(parents=True, exist_ok=True)
    plot.savefig(figure, dpi=80)
    plt.close(plot)
