"""`evaluate(cfg)`: checks the options and runs the benchmark that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omegaconf import DictConfig

from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.registry import OPENERS
from likeness.evaluation.config import EvaluateConfig, from_hydra
from likeness.evaluation.report.results import Results
from likeness.evaluation.run_faces import evaluate_faces
from likeness.evaluation.run_photos import evaluate_photos
from likeness.evaluation.run_pictures import evaluate_pictures
from likeness.evaluation.run_video import evaluate_video

BENCHMARKS: Mapping[str, Callable[[EvaluateConfig], Results | None]] = {
    **dict.fromkeys(OPENERS, evaluate_faces),
    "pictures": evaluate_pictures,
    "real": evaluate_photos,
    "video": evaluate_video,
}


def evaluate(cfg: DictConfig | EvaluateConfig) -> Results | None:
    """Evaluates methods on a benchmark and writes tables, timings and figures into the output folder.

    Returns:
        The figures; None from `pictures`, which writes its tables alone.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    options = cfg if isinstance(cfg, EvaluateConfig) else from_hydra(cfg)
    if options.benchmark.name not in BENCHMARKS:
        raise ConfigError(f"benchmark: got '{options.benchmark.name}', expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[options.benchmark.name](options)
