"""What every benchmark needs around its protocol: the measuring networks, a folder for finished parts, progress."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import likeness
from likeness.errors import WeightsError
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.protocol.measures import Measures
from likeness.log import get_logger
from likeness.metrics.identity import judge_file, load_judge
from likeness.metrics.lpips import backbone_file, load_lpips
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

log = get_logger(__name__)

Advance = Callable[[int], None]  # called with the number of items just done

_MIN_FACE = 64.0  # a face fills about half of an aligned crop, so smaller ones are not searched


def make_measures(options: EvaluateConfig) -> tuple[Measures, dict[str, Path], list[str]]:
    """Loads the networks that measure; one that was not named by file and is not at hand is left out.

    Returns:
        The measures, their weight files by use, and one line for each figure that is left out.

    Raises:
        WeightsError: if a file that was named cannot be used.
    """
    files = {"embedder": weights_file()}
    notes: list[str] = []

    def find(use: str, named: str | None, default: Callable[[], Path]) -> Path | None:
        try:
            files[use] = Path(named) if named else default()
        except WeightsError as error:
            notes.append(f"Not measured: {error}")
            log.warning(notes[-1])
            return None
        if not files[use].is_file():
            raise WeightsError(f"{use}: {files[use]} does not exist; check the path")
        return files[use]

    backbone = find("LPIPS-squeeze", options.weights.lpips, backbone_file)
    recogniser = find("judge", options.judge, judge_file)
    embedder = load_embedder().to(options.device)
    measures = Measures(
        embedder.embed_aligned,
        MtcnnDetector(DetectConfig(min_face=_MIN_FACE)),
        load_lpips(backbone).to(options.device) if backbone else None,
        load_judge(recogniser, options.judge_flip) if recogniser else None,
        options.device,
    )
    return measures, files, notes


@contextmanager
def parts_folder(
    options: EvaluateConfig, facts: Mapping[str, Any], names: Sequence[str], unused: Collection[str] = ()
) -> Iterator[Path]:
    """The folder of the finished parts of one evaluation, removed at its end unless `options.keep`.

    Its name changes with everything that decides a figure of a part, the package's sources among them.

    Args:
        options: of the evaluation.
        facts: its provenance.
        names: benchmark, methods and recipes of the parts.
        unused: weights that decide no part, as they are used when all are complete.
    """
    weights = {use: digest for use, digest in facts["weights sha256"].items() if use not in unused}
    # The sources' hash stands for the commit: one that changes none of them changes no figure.
    plain = {**facts, "command": "", "commit": "", "weights sha256": weights}
    key = [plain, asdict(options.benchmark), list(names), options.batch_size, _source_hash()]
    folder = Path(options.cache) / f"scores-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    yield folder
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)  # finished: the next run measures, and times, anew


def _source_hash() -> str:
    """SHA-256 over the package's sources: whether two runs had the same code, committed or not."""
    digest = hashlib.sha256()
    root = Path(likeness.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def progress_bar() -> Progress:
    """A bar that shows what is done, how much there is, and how long it will take."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def add_task(bar: Progress, name: str, total: int | None) -> Advance:
    """Adds a line to the bar, hidden until its first step; returns what advances it."""
    task = bar.add_task(name, total=total, visible=False)
    return lambda count: bar.update(task, advance=count, visible=True)
