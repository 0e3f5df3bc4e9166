"""Compares somebody else's face restorer with ours on held-out faces.

python examples/evaluate_external.py GFPGANv1.4.pth DATA RESULTS [LIMIT]

The first argument is a network that spandrel loads. DATA holds faces/manifest.csv, which
`python -m likeness.tasks.prepare src=PHOTOS dst=DATA/faces` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from likeness.evaluation.config import BenchmarkConfig, DataConfig, EvaluateConfig, ExternalConfig
from likeness.evaluation.run import evaluate


def main(weights: str, data: str, results: str, limit: str = "100") -> None:
    """Writes the tables, with intervals and provenance, and sheets of the best and worst faces."""
    folder = Path(results)
    evaluate(
        EvaluateConfig(
            benchmark=BenchmarkConfig(name="faces"),
            data=DataConfig(root=data),
            external=ExternalConfig(weights=weights),
            recipe="heavy",
            methods=["input", "external", "expert_f", "expert_t"],
            limit=int(limit),
            cache=str(folder / "cache"),
            output=str(folder / "tables"),
            sheets=str(folder / "sheets"),
        )
    )
    print((folder / "tables" / "table.md").read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
