"""The figures of the tables: their keys, headings and digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricInfo:
    """How a figure is shown.

    Attributes:
        name: key in CSV and JSON.
        label: heading in tables and figures.
        better: arrow of the heading.
        digits: decimals in Markdown.
        change: the difference against the input is given in the figure's unit or in percent.
    """

    name: str
    label: str
    better: Literal["↑", "↓", "→ 1", "→ 0", "-"]
    digits: int
    change: Literal["unit", "percent"] = "unit"


METRICS = (
    MetricInfo("psnr", "PSNR dB", "↑", 2),
    MetricInfo("ssim", "SSIM", "↑", 4),
    MetricInfo("gmsd", "GMSD", "↓", 4, "percent"),
    MetricInfo("lpips", "LPIPS-squeeze", "↓", 4, "percent"),
    MetricInfo("lpips_face", "LPIPS of the face", "↓", 4, "percent"),
    MetricInfo("sharpness", "sharpness ratio", "→ 1", 3),
    MetricInfo("distance", "embedder distance", "↓", 4, "percent"),
    MetricInfo("retained", "fraction below distance 0.6", "↑", 3),  # dlib: the same person
    MetricInfo("judge", "judge cosine", "↑", 4),
    MetricInfo("landmarks", "landmark distance px at 512", "↓", 2),
    MetricInfo("iris", "iris colour ΔE", "↓", 2),
    MetricInfo("drift_l", "drift of L", "↓", 2),
    MetricInfo("drift_a", "drift of a", "↓", 2),
    MetricInfo("drift_b", "drift of b", "↓", 2),
    MetricInfo("cost", "cost", "↓", 4),  # of an expert or of a choice between them
)
# Of a clip: changes from frame to frame on 0..255, on the stabilised faces or the whole frame.
CLIP_METRICS = (
    MetricInfo("tmse_gt", "T-MSE of the error", "↓", 2, "percent"),
    MetricInfo("tmse_excess", "T-MSE excess", "→ 0", 2),
    MetricInfo("tmse", "T-MSE", "-", 2),
    MetricInfo("warping", "warping error", "↓", 2, "percent"),
    MetricInfo("warping_rim", "warping, head mask's rim", "↓", 2, "percent"),
    MetricInfo("warping_face", "warping, face", "↓", 2, "percent"),
    MetricInfo("jitter", "landmark jitter over the truth's", "→ 1", 3),
    MetricInfo("neighbour", "embedder distance of neighbours", "↓", 4, "percent"),
    MetricInfo("judge_neighbour", "judge distance of neighbours", "↓", 4, "percent"),
    MetricInfo("spread", "embedder spread", "↓", 4, "percent"),
    MetricInfo("judge_spread", "judge spread", "↓", 4, "percent"),
    MetricInfo("restored", "fraction of faces restored", "-", 3),
)
# Of a photo without a truth, measured on the face's own pixels, as the router does.
REAL_METRICS = (
    MetricInfo("real_sharpness", "sharpness", "-", 0, "percent"),
    MetricInfo("detail", "detail %", "-", 2),
    MetricInfo("noise", "noise", "-", 2),
    MetricInfo("blocks", "blockiness", "-", 2),
)
PER_IMAGE = (*METRICS, *CLIP_METRICS, *REAL_METRICS)
# Figures of a set, not of an image.
LATTICE = MetricInfo("lattice", "lattice", "↓", 2)
SPECKS = MetricInfo("specks", "specks over the truth's", "→ 1", 2)  # at 512
STREAKS = MetricInfo("streaks", "streaks over the truth's", "→ 1", 2)  # at 512
FRECHET = MetricInfo("frechet", "Fréchet distance of embeddings", "↓", 4)
KERNEL = MetricInfo("kernel", "kernel distance of embeddings", "↓", 5)
COLUMNS = (*PER_IMAGE, LATTICE, SPECKS, STREAKS, FRECHET, KERNEL)
