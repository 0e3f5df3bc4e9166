"""What every benchmark needs around its protocol: what measures, provenance, files, progress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from likeness.errors import OutputError, WeightsError
from likeness.evaluation import provenance
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.measures import Measures
from likeness.evaluation.scores import Scores
from likeness.evaluation.summary import Row
from likeness.log import get_logger
from likeness.metrics.identity import judge_file, load_judge
from likeness.metrics.lpips import backbone_file, load_lpips
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.ops import geometry
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

log = get_logger(__name__)

Tick = Callable[[int], None]

_MIN_FACE = 64.0  # a face fills about half of an aligned crop, so smaller ones need not be looked for


@dataclass(frozen=True)
class Results:
    """What an evaluation found and where it was written.

    Attributes:
        rows: means, intervals, differences.
        scores: figures per image, or per clip.
        provenance: where they come from.
        folder: holds the tables.
    """

    rows: list[Row]
    scores: Scores
    provenance: Mapping[str, Any]
    folder: Path


def make_measures(options: EvaluateConfig) -> tuple[Measures, dict[str, Path], list[str]]:
    """Loads what measures; a network that was not asked for by file and is not at hand is left out.

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


def below_root(options: EvaluateConfig, folder: str) -> Path | None:
    """A folder of the data; None where no data is named."""
    return Path(options.data.root) / folder if options.data.root else None


def describe(
    options: EvaluateConfig,
    about: Mapping[str, Any],
    data_hash: str,
    hashes: Mapping[str, str],
    notes: Sequence[str],
    recipes: Sequence[str],
) -> dict[str, Any]:
    """The provenance of the tables, without anything that changes when the command is repeated.

    Args:
        options: of the evaluation.
        about: the benchmark's name and what there is to know of its data.
        data_hash: SHA-256 over that data.
        hashes: SHA-256 of every weight file.
        notes: what is not measured.
        recipes: how the data is degraded.
    """
    judged = "not measured" if "judge" not in hashes else "flip-sum" if options.judge_flip else "one view"
    return {
        "command": provenance.command(),
        "commit": provenance.commit(),
        "benchmark": dict(about),
        "data sha256": data_hash,
        "recipes": list(recipes),
        "seed": options.seed,
        "resolution": "input 256; measured after rounding to 8 bits; 512 to 256 by 2 x 2 mean; identity at 256",
        "template at 512": geometry.TEMPLATE_512.tolist(),
        "judge": judged,
        "not measured": list(notes),
        "weights sha256": dict(hashes),
        "versions": provenance.versions(),
        "device": provenance.machine(options.device),
    }


@contextmanager
def parts_folder(
    options: EvaluateConfig, facts: Mapping[str, Any], names: Sequence[str], late: Collection[str] = ()
) -> Iterator[Path]:
    """The folder that keeps finished parts of one evaluation, until all of it is done, or for good with `keep`.

    Its name changes with everything that decides a figure of a part, the package's own sources among them.

    Args:
        options: of the evaluation.
        facts: its provenance.
        names: benchmark, methods and recipes of the parts.
        late: weights that decide no part, as they are used when all are complete.
    """
    weights = {use: digest for use, digest in facts["weights sha256"].items() if use not in late}
    # The sources' hash stands for the commit: one that changes none of them changes no figure.
    told = {**facts, "command": "", "commit": "", "weights sha256": weights}
    same = [told, asdict(options.benchmark), list(names), options.batch_size, provenance.source_hash()]
    folder = Path(options.cache) / f"scores-{sha256(json.dumps(same).encode()).hexdigest()[:16]}"
    yield folder
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)  # finished: the next run measures, and times, anew


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes the folder; what cannot be written becomes OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(
            f"evaluate: cannot write to {folder} ({error.strerror}); choose another output=DIR"
        ) from error


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes each text under its file name; call it within `writing`."""
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def progress_bar() -> Progress:
    """A bar with what is done, how much there is, and how long it will take."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def ticking(bar: Progress, name: str, total: int | None) -> Tick:
    """A line of the bar; call the result with how many were done."""
    task = bar.add_task(name, total=total, visible=False)  # shown when there is something to tell
    return lambda done: bar.update(task, advance=done, visible=True)
