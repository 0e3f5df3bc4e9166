"""Evaluates restoration methods: `python evaluate.py benchmark=faces recipe=all methods=[input,expert_f]`."""

from __future__ import annotations

import sys

try:
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig

    from likeness.errors import LikenessError
    from likeness.evaluation.config import EvaluateConfig
    from likeness.evaluation.run import evaluate
    from likeness.log import get_logger
except ModuleNotFoundError as missing:
    sys.exit(f"error: evaluate.py needs {missing.name}; pip install 'likeness[eval]'")

ConfigStore.instance().store(name="evaluate_options", node=EvaluateConfig)


@hydra.main(version_base="1.3", config_path="configs", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Runs `likeness.evaluation.run.evaluate`; a known error becomes one line and its exit code."""
    try:
        evaluate(cfg)
    except LikenessError as error:
        get_logger("likeness").error(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
