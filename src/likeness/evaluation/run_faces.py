"""Aligned faces, degraded and restored: every face at 256 and 512, and verification on LFW's View 2."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from rich.progress import Progress

from likeness.errors import ConfigError
from likeness.evaluation import fairness, guarding, provenance, recognition, tables
from likeness.evaluation.benchmarks import Benchmark, open_faces, open_groups, open_widths
from likeness.evaluation.choices import Choice, add_choice, add_cost, by_cost, by_gate, by_rule
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.figures import plot, plot_fidelity, plot_routes
from likeness.evaluation.lfw import open_lfw, open_view_2
from likeness.evaluation.measures import Measures
from likeness.evaluation.methods import METHODS, Method, MethodContext
from likeness.evaluation.protocol import evaluate_methods
from likeness.evaluation.scores import Scores
from likeness.evaluation.setup import (
    Results,
    Tick,
    below_root,
    describe,
    make_measures,
    parts_folder,
    progress_bar,
    ticking,
    write_texts,
    writing,
)
from likeness.evaluation.sheets import write_sheets
from likeness.evaluation.summary import Row, summarise
from likeness.log import get_logger
from likeness.metrics.landmarks import Detector
from likeness.nets.face_embedder import load_embedder
from likeness.nets.gate import Gate
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.identity import guard_bounds, read_calibration
from likeness.stages.route import RouteBounds, RouteConfig, route
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

log = get_logger(__name__)


def evaluate_faces(options: EvaluateConfig) -> Results:
    """Evaluates methods on a benchmark and writes tables, timings and figures into `cfg.output`.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    weights = {name: getattr(options.weights, name) for name in ("expert_f", "expert_t", "prior", "srnet")}
    weights["external"] = options.external.weights
    context = MethodContext(options.device, weights, options.external.size)
    methods = METHODS.make([m for m in options.methods if m not in CHOICES], context)
    measures, files, notes = make_measures(options)
    chosen = [m for m in options.methods if m in CHOICES]
    files["calibration"] = released("calibration")
    if "gate" in chosen:
        files["gate"] = Path(options.weights.gate) if options.weights.gate else released("gate")
    hashes = provenance.weight_hashes(files)
    for method in methods:
        hashes |= method.weights
    folder = Path(options.output)
    with progress_bar() as bar:
        benchmark = OPENERS[options.benchmark.name](options, MtcnnDetector, ticking(bar, "align", options.limit))
        _check(benchmark, methods, chosen)
        facts = _facts(options, benchmark, hashes, notes)
        scores = _score(options, benchmark, methods, options.recipes, measures, facts, bar)
        if chosen:
            add_cost(scores)
        for name in chosen:
            add_choice(scores, name, CHOICES[name](files.get("gate")))
        rows = summarise(scores, benchmark.views, options.seed)
        write(folder, rows, scores, facts, f"{benchmark.name}, recipe {options.recipe}", notes)
        if options.sheets and not benchmark.whole:
            with writing(Path(options.sheets)):
                write_sheets(Path(options.sheets), benchmark, methods, scores, options.recipes, options.seed)
        if benchmark.name == "fairness":
            with writing(folder):
                write_texts(folder, {"groups.md": fairness.to_markdown(rows, facts)})
        if options.benchmark.verification:
            _verify(options, methods, chosen, measures, hashes, notes, folder, bar, files.get("gate"))
    log.info("%s, %d faces: %s", benchmark.name, len(benchmark), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _check(benchmark: Benchmark, methods: Sequence[Method], chosen: Sequence[str]) -> None:
    """Raises ConfigError where a method cannot take what the benchmark gives."""
    given = "frames" if benchmark.whole else "crops"
    wrong = [m.name for m in methods if m.takes not in (given, "either")] + (list(chosen) if benchmark.whole else [])
    if wrong:
        fitting = "input, pipeline" if benchmark.whole else "any but pipeline"
        raise ConfigError(f"methods: got {', '.join(wrong)} with benchmark={benchmark.name}, expected {fitting}")


def _score(
    options: EvaluateConfig,
    benchmark: Benchmark,
    methods: Sequence[Method],
    recipes: Sequence[str],
    measures: Measures,
    facts: dict[str, Any],
    bar: Progress,
    guard: guarding.Guard | None = None,
) -> Scores:
    """Runs the protocol, going on where the same one was interrupted; adds the inputs' hashes to `facts`."""
    tick = ticking(bar, benchmark.name, len(benchmark) * len(methods) * len(recipes))
    late = () if benchmark.whole else CHOICES  # in whole frames it is the pipeline that asks the gate
    with parts_folder(options, facts, [benchmark.name, *(m.name for m in methods), *recipes], late) as parts:
        scores = evaluate_methods(
            benchmark, methods, recipes, measures, options.seed, options.batch_size, tick, parts, guard
        )
    facts["inputs sha256"] = {recipe: scores.input_hash(recipe) for recipe in recipes}
    return scores


def _verify(
    options: EvaluateConfig,
    methods: Sequence[Method],
    chosen: Sequence[str],
    measures: Measures,
    hashes: Mapping[str, str],
    notes: Sequence[str],
    folder: Path,
    bar: Progress,
    gate: Path | None,
) -> None:
    """View 2 with the same methods; writes verification.md, .csv and a ROC plot a recipe.

    Of the choices between experts rule and gate: the oracle needs figures that are not measured here.
    """
    pairs, seconds, firsts = open_view_2(
        _lfw_folder(options),
        MtcnnDetector,
        _landmark_cache(options),
        options.benchmark.mean_landmarks,
        options.limit,
        ticking(bar, "align", None),
    )
    lean = replace(measures, detector=None, lpips=None)
    facts = _facts(options, seconds, hashes, notes)
    guard = guarding.make_guard(
        load_embedder().to(options.device), guard_bounds(read_calibration(released("calibration")))
    )
    scores = _score(options, seconds, methods, options.recipes, lean, facts, bar, guard)
    for name in (n for n in chosen if n != "oracle"):
        add_choice(scores, name, CHOICES[name](gate))
    others = _score(options, firsts, (), (), lean, _facts(options, firsts, hashes, notes), bar) if firsts else None
    rows = recognition.recognise(pairs, scores, others, options.seed)
    title = f"Verification on LFW, recipe {options.recipe}"
    threshold = recognition.judge_threshold(rows)
    told = [] if threshold is None else guarding.guarded(scores, threshold, options.seed)
    for row in told:
        log.info(
            "%s, %s: the guard accepts %.1f %% of the faces; %.1f %% are accepted and rejected by the judge",
            row.recipe,
            row.method,
            100 * row.accepted.value,
            100 * row.deceived.value,
        )
    section = "" if threshold is None else guarding.to_markdown(told, threshold)
    texts = {
        "verification.md": recognition.to_markdown(rows, facts, title, section),
        "verification.csv": recognition.to_csv(rows, facts),
    }
    with writing(folder):
        write_texts(folder, texts)
        for recipe in options.recipes:
            recognition.plot(rows, pairs, recipe, folder / f"roc-{recipe}.png")


def _facts(
    options: EvaluateConfig, benchmark: Benchmark, hashes: Mapping[str, str], notes: Sequence[str]
) -> dict[str, Any]:
    about = {benchmark.name: f"{len(benchmark)} images", **benchmark.facts}
    return describe(options, about, benchmark.data_hash, hashes, notes, options.recipes)


def _bounds() -> RouteBounds:
    fitted = read_calibration(released("calibration"))["route"]
    return RouteBounds(*(fitted[name] for name in ("q_low", "detail_low", "blockiness_high", "noise_high")))


CHOICES: Mapping[str, Callable[[Path | None], Choice]] = {
    "rule": lambda _: by_rule(RouteConfig(), _bounds()),
    "gate": lambda file: by_gate(cast(Gate, load_network("gate", file)[0].eval())),
    "oracle": lambda _: by_cost,
}


def _faces(options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None) -> Benchmark:
    root = below_root(options, "faces")
    if options.benchmark.widths:
        return open_widths(root, options.benchmark.widths, options.limit)
    return open_faces(root, options.limit)


def _fairness(options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None) -> Benchmark:
    return open_groups(below_root(options, "faces"), options.limit)


def _lfw(
    options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None, whole: bool = False
) -> Benchmark:
    return open_lfw(
        _lfw_folder(options),
        detector,
        _landmark_cache(options),
        options.benchmark.mean_landmarks,
        options.benchmark.count,
        options.limit,
        progress,
        whole,
    )


def _lfw_frames(options: EvaluateConfig, detector: Callable[[], Detector], progress: Tick | None) -> Benchmark:
    return _lfw(options, detector, progress, whole=True)


def _lfw_folder(options: EvaluateConfig) -> Path | None:
    return Path(options.data.lfw) if options.data.lfw else below_root(options, "lfw")


def _landmark_cache(options: EvaluateConfig) -> Path:
    """Named by the detector's settings and weights, so that landmarks of another one are not taken for its own."""
    told = f"{MtcnnDetector.name} {DetectConfig()} {importlib.metadata.version('facenet-pytorch')}"
    return Path(options.cache) / f"lfw-landmarks-{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"


OPENERS: Mapping[str, Callable[[EvaluateConfig, Callable[[], Detector], Tick | None], Benchmark]] = {
    "faces": _faces,
    "fairness": _fairness,
    "lfw": _lfw,
    "lfw_frames": _lfw_frames,
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
    with writing(folder):
        write_texts(folder, texts)
        for view in dict.fromkeys(r.view for r in rows):
            here, name = [r for r in rows if r.view == view], view.replace(", ", "-")
            plot(here, f"{title}: {view}", folder / f"{name}.png")
            plot_fidelity(here, f"{title}: {view}", folder / f"{name}-fidelity.png")
        bounds = _bounds()
        routed = {r: p for r, p in scores.profiles.items() if len(p)}
        plot_routes(routed, lambda p: route(p, RouteConfig(), bounds).route, title, folder / "routes.png")
