"""Aligned faces, degraded and restored: every face at 256 and 512, and verification on LFW's View 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from likeness.errors import ConfigError
from likeness.evaluation.benchmarks.base import Benchmark
from likeness.evaluation.benchmarks.registry import OPENERS, open_pairs
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.methods.base import INPUT, PIPELINE, Method, MethodContext
from likeness.evaluation.methods.crops import METHODS
from likeness.evaluation.methods.routing import CHOICES, add_choice, add_cost, released_bounds
from likeness.evaluation.protocol.faces import Batches, evaluate_methods
from likeness.evaluation.protocol.guard import make_guard
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.protocol.setup import add_task, make_measures, parts_folder, progress_bar
from likeness.evaluation.report import fairness, guard, provenance, tables, verification
from likeness.evaluation.report.figures import plot, plot_fidelity, plot_routes
from likeness.evaluation.report.files import write_texts, writing
from likeness.evaluation.report.results import Results
from likeness.evaluation.report.sheets import write_sheets
from likeness.evaluation.report.summary import Row, summarise
from likeness.evaluation.scores import Scores
from likeness.log import get_logger
from likeness.nets.face_embedder import load_embedder
from likeness.stages.identity import guard_bounds, read_calibration
from likeness.stages.route import RouteConfig, route
from likeness.weights.manifest import released

log = get_logger(__name__)


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation.

    Attributes:
        options: all of them.
        methods: that restore.
        choices: rows that choose between them.
        measures: the networks that measure.
        hashes: SHA-256 of every weight file.
        notes: what is not measured.
        gate: weight file of the gate, if it is among the choices.
        bar: shows the progress.
    """

    options: EvaluateConfig
    methods: Sequence[Method]
    choices: Sequence[str]
    measures: Measures
    hashes: Mapping[str, str]
    notes: Sequence[str]
    gate: Path | None
    bar: Progress

    def describe(self, benchmark: Benchmark) -> dict[str, Any]:
        """The provenance of a benchmark's tables."""
        about = {benchmark.name: f"{len(benchmark)} images", **benchmark.facts}
        options = self.options
        return provenance.describe(options, about, benchmark.data_hash, self.hashes, self.notes, options.recipes)

    def score(
        self,
        benchmark: Benchmark,
        methods: Sequence[Method],
        recipes: Sequence[str],
        measures: Measures,
        facts: dict[str, Any],
    ) -> Scores:
        """Runs the protocol, or goes on where it was interrupted; adds the inputs' hashes to `facts`."""
        options = self.options
        progress = add_task(self.bar, benchmark.name, len(benchmark) * len(methods) * len(recipes))
        names = [benchmark.name, *(m.name for m in methods), *recipes]
        unused = () if benchmark.whole_frames else CHOICES  # in whole frames the pipeline runs the gate
        with parts_folder(options, facts, names, unused) as folder:
            batches = Batches(options.batch_size, folder, progress)
            scores = evaluate_methods(benchmark, methods, recipes, measures, options.seed, batches)
        facts["inputs sha256"] = {recipe: scores.input_hash(recipe) for recipe in recipes}
        return scores


def evaluate_faces(options: EvaluateConfig) -> Results:
    """Evaluates methods on aligned faces and writes tables, timings and figures into the output folder.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    context = MethodContext(options.device, options.method_weights, options.external.size)
    methods = METHODS.make([m for m in options.methods if m not in CHOICES], context)
    choices = [m for m in options.methods if m in CHOICES]
    measures, files, notes = make_measures(options)
    files["calibration"] = released("calibration")
    if "gate" in choices:
        files["gate"] = Path(options.weights.gate) if options.weights.gate else released("gate")
    hashes = provenance.weight_hashes(files)
    for method in methods:
        hashes |= method.weights
    folder = options.output_folder
    with progress_bar() as bar:
        run = _Evaluation(options, methods, choices, measures, hashes, notes, files.get("gate"), bar)
        benchmark = OPENERS[options.benchmark.name](options, add_task(bar, "align", options.limit))
        _check(benchmark, methods, choices)
        facts = run.describe(benchmark)
        scores = run.score(benchmark, methods, options.recipes, measures, facts)
        if choices:
            add_cost(scores)
        for name in choices:
            add_choice(scores, name, CHOICES[name](run.gate))
        rows = summarise(scores, benchmark.views, options.seed)
        _write(folder, rows, scores, facts, f"{benchmark.name}, recipe {options.recipe}", notes)
        sheets = options.sheets_folder
        if sheets and not benchmark.whole_frames:
            with writing(sheets, "sheets"):
                write_sheets(sheets, benchmark, methods, scores, options.recipes, options.seed)
        if benchmark.name == "fairness":
            with writing(folder):
                write_texts(folder, {"groups.md": fairness.to_markdown(rows, facts)})
        if options.benchmark.verification:
            _verify(run, folder)
    log.info("%s, %d faces: %s", benchmark.name, len(benchmark), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _check(benchmark: Benchmark, methods: Sequence[Method], choices: Sequence[str]) -> None:
    """Raises ConfigError where a method cannot take what the benchmark gives."""
    given = "frames" if benchmark.whole_frames else "crops"
    wrong = [m.name for m in methods if m.takes not in (given, "either")]
    wrong += choices if benchmark.whole_frames else []
    if wrong:
        fitting = f"{INPUT}, {PIPELINE}" if benchmark.whole_frames else f"any but {PIPELINE}"
        raise ConfigError(f"methods: got {', '.join(wrong)} with benchmark={benchmark.name}, expected {fitting}")


def _verify(run: _Evaluation, folder: Path) -> None:
    """View 2 with the same methods; writes verification.md, .csv and a ROC plot a recipe.

    Of the choices between experts rule and gate: the oracle needs figures that are not measured here.
    """
    options = run.options
    pairs, seconds, firsts = open_pairs(options, add_task(run.bar, "align", None))
    bounds = guard_bounds(read_calibration(released("calibration")))
    shipped_guard = make_guard(load_embedder().to(options.device), bounds)
    lean = replace(run.measures, detector=None, lpips=None, guard=shipped_guard)
    facts = run.describe(seconds)
    scores = run.score(seconds, run.methods, options.recipes, lean, facts)
    for name in (n for n in run.choices if n != "oracle"):
        add_choice(scores, name, CHOICES[name](run.gate))
    others = run.score(firsts, (), (), lean, run.describe(firsts)) if firsts else None
    rows = verification.verification_rows(pairs, scores, others, options.seed)
    threshold = verification.judge_threshold(rows)
    section = ""
    if threshold is not None:
        section = guard.to_markdown(guard.guard_rows(scores, threshold, options.seed), threshold)
    title = f"Verification on LFW, recipe {options.recipe}"
    texts = {
        "verification.md": verification.to_markdown(rows, facts, title, section),
        "verification.csv": verification.to_csv(rows, facts),
    }
    with writing(folder):
        write_texts(folder, texts)
        for recipe in options.recipes:
            verification.plot(rows, pairs, recipe, folder / f"roc-{recipe}.png")


def _write(
    folder: Path, rows: Sequence[Row], scores: Scores, facts: Mapping[str, Any], title: str, notes: Sequence[str]
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
            shown, name = [r for r in rows if r.view == view], view.replace(", ", "-")
            plot(shown, f"{title}: {view}", folder / f"{name}.png")
            plot_fidelity(shown, f"{title}: {view}", folder / f"{name}-fidelity.png")
        bounds = released_bounds()
        profiles = {r: p for r, p in scores.profiles.items() if len(p)}
        plot_routes(profiles, lambda p: route(p, RouteConfig(), bounds).route, title, folder / "routes.png")
