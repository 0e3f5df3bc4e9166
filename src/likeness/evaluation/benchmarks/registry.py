"""Opens the benchmarks of aligned faces by name.

To add one, write a function from options and progress to a `Benchmark` and enter it in `OPENERS`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path

from likeness.evaluation.benchmarks.base import Benchmark
from likeness.evaluation.benchmarks.faces import open_faces, open_groups, open_widths
from likeness.evaluation.benchmarks.lfw import LandmarkFinder, Pair, open_lfw, open_lfw_frames, open_view_2
from likeness.evaluation.config import EvaluateConfig
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

Progress = Callable[[int], None]


def _faces(options: EvaluateConfig, progress: Progress) -> Benchmark:
    root = options.data.folder(None, "faces")
    if options.benchmark.widths:
        return open_widths(root, options.benchmark.widths, options.limit)
    return open_faces(root, options.limit)


def _fairness(options: EvaluateConfig, progress: Progress) -> Benchmark:
    return open_groups(options.data.folder(None, "faces"), options.limit)


def _lfw(options: EvaluateConfig, progress: Progress) -> Benchmark:
    return open_lfw(_lfw_folder(options), _finder(options, progress), options.benchmark.count, options.limit)


def _lfw_frames(options: EvaluateConfig, progress: Progress) -> Benchmark:
    return open_lfw_frames(_lfw_folder(options), _finder(options, progress), options.benchmark.count, options.limit)


OPENERS: Mapping[str, Callable[[EvaluateConfig, Progress], Benchmark]] = {
    "faces": _faces,
    "fairness": _fairness,
    "lfw": _lfw,
    "lfw_frames": _lfw_frames,
}


def open_pairs(options: EvaluateConfig, progress: Progress) -> tuple[list[Pair], Benchmark, Benchmark | None]:
    """LFW's View 2; see `open_view_2`."""
    return open_view_2(_lfw_folder(options), _finder(options, progress), options.limit)


def _lfw_folder(options: EvaluateConfig) -> Path | None:
    return options.data.folder(options.data.lfw, "lfw")


def _finder(options: EvaluateConfig, progress: Progress) -> LandmarkFinder:
    """Its cache is named by the detector's settings and weights, so landmarks of another one are not read."""
    key = f"{MtcnnDetector.name} {DetectConfig()} {importlib.metadata.version('facenet-pytorch')}"
    cache = Path(options.cache) / f"lfw-landmarks-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    return LandmarkFinder(MtcnnDetector, cache, progress)
