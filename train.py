"""Trains a network: `python train.py experiment=expert_f`; the options are in configs/train.yaml."""

from __future__ import annotations

import sys

try:
    import hydra
    from omegaconf import DictConfig

    from likeness.errors import LikenessError
    from likeness.training.quiet import quiet
    from likeness.training.run import train
except ModuleNotFoundError as missing:
    sys.exit(f"error: train.py needs {missing.name}; pip install 'likeness[train]'")


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    """Composes the config and trains; a LikenessError is printed as one line."""
    quiet()
    try:
        train(cfg)
    except LikenessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
