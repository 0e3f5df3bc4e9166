"""Makes a data set of your photos, trains Expert-F on it from the released weights, and exports the result.

python examples/train_on_your_photos.py PHOTOS OUT [key=value ...]

The options are those of train.py; without any, two hours on a CPU: experiment=expert_f init=data/weights/...
Afterwards: likeness restore photo.jpg weights.expert_f=OUT/my_expert.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from likeness.tasks.export import ExportOptions, export
from likeness.tasks.prepare import PrepareOptions, prepare
from likeness.training.run import train

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ("experiment=expert_f", f"init='{ROOT}/data/weights/expert_f.safetensors'")


def main(photos: str, out: str, *options: str) -> Path:
    """Prepares, trains and exports; returns the file of weights."""
    faces = prepare(PrepareOptions(src=photos, dst=f"{out}/faces", val=0.2)).parent
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", list(options or OPTIONS))
    cfg.data.root, cfg.paths.logs = str(faces), f"{out}/logs"
    train(cfg)
    checkpoint = Path(cfg.paths.output) / "checkpoints" / "best.ckpt"
    return export(ExportOptions(ckpt=str(checkpoint), dst=f"{out}/my_expert.safetensors"))


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
