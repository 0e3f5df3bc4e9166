"""`evaluate(cfg)`: opens what is asked for, runs the protocol, writes the tables."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from likeness.errors import ConfigError, OutputError, WeightsError
from likeness.evaluation import provenance, recognition, tables
from likeness.evaluation.benchmarks import Benchmark, open_faces, open_widths
from likeness.evaluation.choices import Choice, add_choice, add_cost, by_cost, by_rule
from likeness.evaluation.config import EvaluateConfig, from_hydra
from likeness.evaluation.figures import plot, plot_fidelity, plot_routes
from likeness.evaluation.lfw import open_lfw, open_view_2
from likeness.evaluation.measures import Measures
from likeness.evaluation.methods import METHODS, Method, MethodContext
from likeness.evaluation.protocol import evaluate_methods
from likeness.evaluation.scores import Scores
from likeness.evaluation.sheets import write_sheets
from likeness.evaluation.summary import Row, summarise
from likeness.log import get_logger
from likeness.metrics.identity import judge_file, load_judge
from likeness.metrics.landmarks import Detector
from likeness.metrics.lpips import backbone_file, load_lpips
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.ops import geometry
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.identity import read_calibration
from likeness.stages.route import RouteBounds, RouteConfig, route
from likeness.weights.manifest import released

log = get_logger(__name__)

Tick = Callable[[int], None]

_MIN_FACE = 64.0  # a face fills about half of an aligned crop, so smaller ones need not be looked for


@dataclass(frozen=True)
class Results:
    """What an evaluation found and where it was written.

    Attributes:
        rows: means, intervals, differences.
        scores: figures per image.
        provenance: where they come from.
        folder: holds the tables.
    """

    rows: list[Row]
    scores: Scores
    provenance: Mapping[str, Any]
    folder: Path


def evaluate(cfg: DictConfig | EvaluateConfig) -> Results:
    """Evaluates methods on a benchmark and writes tables, timings and figures into `cfg.output`.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    options = cfg if isinstance(cfg, EvaluateConfig) else from_hydra(cfg)
    weights = {name: getattr(options.weights, name) for name in ("expert_f", "expert_t", "prior", "srnet")}
    weights["external"] = options.external.weights
    context = MethodContext(options.device, weights, options.external.size)
    methods = METHODS.make([m for m in options.methods if m not in CHOICES], context)
    measures, files, notes = make_measures(options)
    chosen = [m for m in options.methods if m in CHOICES]
    files["calibration"] = released("calibration")
    hashes = provenance.weight_hashes(files)
    for method in methods:
        hashes |= method.weights
    folder = Path(options.output)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        benchmark = open_benchmark(options, MtcnnDetector, _tick(bar, "align", options.limit))
        facts = describe(options, benchmark, hashes, notes)
        scores = _score(options, benchmark, methods, options.recipes, measures, facts, bar)
        if chosen:
            add_cost(scores)
        for name in chosen:
            add_choice(scores, name, CHOICES[name]())
        rows = summarise(scores, benchmark.views, options.seed)
        write(folder, rows, scores, facts, f"{benchmark.name}, recipe {options.recipe}", notes)
        if options.sheets:
            with _writing(Path(options.sheets)):
                write_sheets(Path(options.sheets), benchmark, methods, scores, options.recipes, options.seed)
        if options.benchmark.verification:
            _verify(options, methods, measures, hashes, notes, folder, bar)
    log.info("%s, %d faces: %s", benchmark.name, len(benchmark), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _score(
    options: EvaluateConfig,
    benchmark: Benchmark,
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    facts: dict[str, Any],
    bar: Progress,
) -> Scores:
    """Runs the protocol, going on where the same one was interrupted; adds the inputs' hashes to `facts`."""
    same = {**facts, "command": "", "sources": provenance.source_hash(), "methods": [m.name for m in methods]}
    key = hashlib.sha256(json.dumps([same, list(recipes), options.batch_size]).encode()).hexdigest()[:16]
    parts = Path(options.cache) / f"scores-{key}"
    total = len(benchmark) * len(methods) * len(recipes)
    tick = _tick(bar, benchmark.name, total)
    scores = evaluate_methods(benchmark, methods, recipes, measures, options.seed, options.batch_size, tick, parts)
    shutil.rmtree(parts)  # finished: the next run measures, and times, anew
    facts["inputs sha256"] = {recipe: scores.input_hash(recipe) for recipe in recipes}
    return scores


def _verify(
    options: EvaluateConfig,
    methods: Sequence[Method],
    measures: Measures,
    hashes: Mapping[str, str],
    notes: Sequence[str],
    folder: Path,
    bar: Progress,
) -> None:
    """View 2 with the same methods; writes verification.md, .csv and a ROC plot a recipe."""
    pairs, seconds, firsts = open_view_2(
        _lfw_folder(options),
        MtcnnDetector,
        _landmark_cache(options),
        options.benchmark.mean_landmarks,
        options.limit,
        _tick(bar, "align", None),
    )
    lean = replace(measures, detector=None, lpips=None)
    facts = describe(options, seconds, hashes, notes)
    scores = _score(options, seconds, methods, options.recipes, lean, facts, bar)
    others = _score(options, firsts, (), (), lean, describe(options, firsts, hashes, notes), bar) if firsts else None
    rows = recognition.recognise(pairs, scores, others, options.seed)
    title = f"Verification on LFW, recipe {options.recipe}"
    texts = {
        "verification.md": recognition.to_markdown(rows, facts, title),
        "verification.csv": recognition.to_csv(rows, facts),
    }
    with _writing(folder):
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for recipe in options.recipes:
            recognition.plot(rows, pairs, recipe, folder / f"roc-{recipe}.png")


def _bounds() -> RouteBounds:
    fitted = read_calibration(released("calibration"))["route"]
    return RouteBounds(*(fitted[name] for name in ("q_low", "detail_low", "blockiness_high", "noise_high")))


CHOICES: Mapping[str, Callable[[], Choice]] = {
    "rule": lambda: by_rule(RouteConfig(), _bounds()),
    "oracle": lambda: by_cost,
}


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


def open_benchmark(
    options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None = None
) -> Benchmark:
    """Opens the benchmark that the options name.

    Raises:
        ConfigError: if there is none of that name.
        DataError: if its data is missing.
    """
    if options.benchmark.name not in OPENERS:
        raise ConfigError(f"benchmark: got '{options.benchmark.name}', expected one of {', '.join(OPENERS)}")
    return OPENERS[options.benchmark.name](options, detector, progress)


def _below_root(options: EvaluateConfig, folder: str) -> Path | None:
    return Path(options.data.root) / folder if options.data.root else None


def _faces(options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None) -> Benchmark:
    root = _below_root(options, "faces")
    if options.benchmark.widths:
        return open_widths(root, options.benchmark.widths, options.limit)
    return open_faces(root, options.limit)


def _lfw(options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None) -> Benchmark:
    return open_lfw(
        _lfw_folder(options),
        detector,
        _landmark_cache(options),
        options.benchmark.mean_landmarks,
        options.benchmark.count,
        options.limit,
        progress,
    )


def _lfw_folder(options: EvaluateConfig) -> Path | None:
    return Path(options.data.lfw) if options.data.lfw else _below_root(options, "lfw")


def _landmark_cache(options: EvaluateConfig) -> Path:
    """Named by the detector's settings and weights, so that landmarks of another one are not taken for its own."""
    told = f"{MtcnnDetector.name} {DetectConfig()} {importlib.metadata.version('facenet-pytorch')}"
    return Path(options.cache) / f"lfw-landmarks-{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"


OPENERS = {"faces": _faces, "lfw": _lfw}


def describe(
    options: EvaluateConfig, benchmark: Benchmark, hashes: Mapping[str, str], notes: Sequence[str]
) -> dict[str, Any]:
    """The provenance of the tables, without anything that changes when the command is repeated."""
    judged = "not measured" if "judge" not in hashes else "flip-sum" if options.judge_flip else "one view"
    return {
        "command": provenance.command(),
        "commit": provenance.commit(),
        "benchmark": {benchmark.name: f"{len(benchmark)} images", **benchmark.facts},
        "data sha256": benchmark.data_hash,
        "recipes": list(options.recipes),
        "seed": options.seed,
        "resolution": "input 256; measured after rounding to 8 bits; 512 to 256 by 2 x 2 mean; identity at 256",
        "template at 512": geometry.TEMPLATE_512.tolist(),
        "judge": judged,
        "not measured": list(notes),
        "weights sha256": dict(hashes),
        "versions": provenance.versions(),
        "device": provenance.machine(options.device),
    }


def write(
    folder: Path, rows: Sequence[Row], scores: Scores, facts: Mapping[str, Any], title: str, notes: Sequence[str] = ()
) -> None:
    """Writes table.md, table.csv, table.json, images.csv, timing.csv, the figures of each view, and routes.png.

    Raises:
        OutputError: if the folder cannot be written.
    """
    texts = {
        "table.md": tables.to_markdown(rows, facts, title, notes),
        "table.csv": tables.to_csv(rows, facts),
        "table.json": tables.to_json(rows, facts),
        "images.csv": tables.images_csv(scores, facts),
        "timing.csv": tables.timing_csv(scores, facts),
    }
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for view in dict.fromkeys(r.view for r in rows):
            here, name = [r for r in rows if r.view == view], view.replace(", ", "-")
            plot(here, f"{title}: {view}", folder / f"{name}.png")
            plot_fidelity(here, f"{title}: {view}", folder / f"{name}-fidelity.png")
        bounds = _bounds()
        routed = {r: p for r, p in scores.profiles.items() if len(p)}
        plot_routes(routed, lambda p: route(p, RouteConfig(), bounds).route, title, folder / "routes.png")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"evaluate: cannot write to {folder} ({error.strerror}); choose another output=DIR"
        ) from error


def _tick(bar: Progress, name: str, total: int | None) -> Tick:
    task = bar.add_task(name, total=total, visible=False)  # shown when there is something to tell
    return lambda done: bar.update(task, advance=done, visible=True)
