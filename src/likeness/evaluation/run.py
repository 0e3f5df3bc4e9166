"""`evaluate(cfg)`: checks the options and runs the benchmark that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omegaconf import DictConfig

from likeness.errors import ConfigError
from likeness.evaluation.config import EvaluateConfig, from_hydra
from likeness.evaluation.run_faces import evaluate_faces
from likeness.evaluation.run_real import evaluate_real
from likeness.evaluation.run_video import evaluate_video
from likeness.evaluation.setup import Results

BENCHMARKS: Mapping[str, Callable[[EvaluateConfig], Results]] = {
    "faces": evaluate_faces,
    "fairness": evaluate_faces,
    "lfw": evaluate_faces,
    "lfw_frames": evaluate_faces,
    "real": evaluate_real,
    "video": evaluate_video,
}


def evaluate(cfg: DictConfig | EvaluateConfig) -> Results:
    """Evaluates methods on a benchmark and writes tables, timings and figures into `cfg.output`.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    options = cfg if isinstance(cfg, EvaluateConfig) else from_hydra(cfg)
    if options.benchmark.name not in BENCHMARKS:
        raise ConfigError(f"benchmark: got '{options.benchmark.name}', expected one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[options.benchmark.name](options)
