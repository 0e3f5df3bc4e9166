"""What a face costs: `python -m likeness.tasks.bench` writes experiments/bench.

Milliseconds of Expert-F's forward pass and of the embedder, batch 1, fp32 and bf16, median and
spread over runs, on a machine that is named.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.errors import LikenessError
from likeness.evaluation import provenance
from likeness.nets.face_embedder import load_embedder
from likeness.stages.restore.expert_f import load_expert_f
from likeness.tasks.arguments import parse


@dataclass
class BenchOptions:
    """Options of the command.

    Attributes:
        dst: folder of the table.
        runs: timed runs, after three that warm up.
        threads: torch's threads, 0 = its own choice.
    """

    dst: str = "experiments/bench"
    runs: int = 30
    threads: int = 0


def timed(function: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of each of `runs` calls, after three that are not counted."""
    for _ in range(3):
        function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        options = parse(BenchOptions, sys.argv[1:] if arguments is None else arguments, __doc__ or "")
        if options.threads:
            torch.set_num_threads(options.threads)
        crop = np.random.default_rng(0).random((256, 256, 3), np.float32)
        rows = []
        for name, bf16 in (("fp32", False), ("bf16", True)):
            expert = load_expert_f(bf16=bf16)
            rows.append(("Expert-F, one face", name, timed(lambda e=expert: e.restore([crop]), options.runs)))  # type: ignore[misc]
        embedder, chip = load_embedder(), torch.rand(1, 3, 256, 256)
        with torch.inference_mode():
            rows.append(("embedder, one view", "fp32", timed(lambda: embedder.embed_aligned(chip), options.runs)))
    except LikenessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    lines = ["| what | precision | median ms | least | largest |", "|---|---|---|---|---|"]
    for what, precision, times in rows:
        lines.append(f"| {what} | {precision} | {statistics.median(times):.1f} | {min(times):.1f} | {max(times):.1f} |")
    facts = {
        "command": provenance.command(),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine("cpu"),
    }
    folder = Path(options.dst)
    folder.mkdir(parents=True, exist_ok=True)
    text = ["# Cost of a face", "", *lines, "", "```json", json.dumps(facts, indent=1), "```", ""]
    (folder / "table.md").write_text("\n".join(text))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
