"""Clips, degraded as a whole and restored as infer.py does: figures of single frames and of how steady they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likeness.evaluation.benchmarks.base import CROP, View, content_hash
from likeness.evaluation.benchmarks.video import TrueClip, open_clips, true_faces, true_frames
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.methods.base import MethodContext
from likeness.evaluation.methods.video import PER_FRAME, make_clip_methods
from likeness.evaluation.protocol.setup import add_task, make_measures, parts_folder, progress_bar
from likeness.evaluation.protocol.video import FRAME, ClipResult, degraded_clip, evaluate_clip, gather
from likeness.evaluation.report import provenance, tables
from likeness.evaluation.report.figures import plot
from likeness.evaluation.report.files import write_texts, writing
from likeness.evaluation.report.results import Results
from likeness.evaluation.report.summary import summarise
from likeness.evaluation.scores import Run
from likeness.log import get_logger
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

log = get_logger(__name__)

VIEWS = (View("faces, 256", CROP), View("frames", FRAME))


def evaluate_video(options: EvaluateConfig) -> Results:
    """Evaluates the pipeline on clips and writes tables, timings and figures into the output folder.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    benchmark = options.benchmark
    folder = options.data.folder(options.data.clips, "clips_good")
    clips = open_clips(folder, benchmark.groups, options.limit, benchmark.frames)
    measures, files, notes = make_measures(options)
    context = MethodContext(options.device, options.method_weights)
    methods, hashes = make_clip_methods(options.methods, benchmark.variants, context)
    about = {"video": f"{len(clips)} clips", "frames of each": benchmark.frames or "all"}
    digest = content_hash([c.file for c in clips], [c.name for c in clips])
    hashes = {**provenance.weight_hashes(files), **hashes}
    facts = provenance.describe(options, about, digest, hashes, notes, options.recipes)
    results = []
    with progress_bar() as bar, parts_folder(options, facts, [*methods, *options.recipes]) as parts:
        for clip in clips:
            part = parts / f"{clip.name}.json"
            if not part.is_file():
                faces = true_faces(true_frames(clip), MtcnnDetector(DetectConfig()))
                degraded = Path(options.cache) / "clips"
                inputs = {s: degraded_clip(clip, faces, s, degraded, options.seed) for s in options.recipes}
                advance = add_task(bar, clip.name, clip.length)
                result = evaluate_clip(clip, faces, methods, inputs, measures, advance)
                parts.mkdir(parents=True, exist_ok=True)
                part.write_text(_to_json(result))
            results.append(_from_json(part))
    facts["inputs sha256"] = {
        f"{clip.name} {strength}": digest
        for clip, result in zip(clips, results, strict=True)
        for strength, digest in result.inputs.items()
    }
    return _write(options, clips, results, facts, notes)


def _write(
    options: EvaluateConfig,
    clips: Sequence[TrueClip],
    results: Sequence[ClipResult],
    facts: Mapping[str, Any],
    notes: Sequence[str],
) -> Results:
    scores, uncounted = gather(clips, results)
    rows = summarise(scores, VIEWS, options.seed)
    title, every_note = f"video, recipe {options.recipe}", [*notes, *uncounted]
    folder = options.output_folder
    texts = {
        "table.md": tables.to_markdown(rows, facts, title, every_note),
        "table.csv": tables.to_csv(rows, facts),
        "table.json": tables.to_json(rows, facts),
        "clips.csv": tables.as_csv(_lines(clips, results), facts),
        "timing.csv": tables.as_csv(_timings(clips, results), facts),
    }
    if PER_FRAME in options.methods:
        against = summarise(scores, VIEWS, options.seed, PER_FRAME)
        texts["per_frame.md"] = tables.to_markdown(against, facts, title, every_note, PER_FRAME)
    with writing(folder):
        write_texts(folder, texts)
        for view in VIEWS:
            shown = [r for r in rows if r.view == view.name]
            plot(shown, f"{title}: {view.name}", folder / f"{view.name.replace(', ', '-')}.png")
    for note in uncounted:
        log.warning(note)
    log.info("video, %d clips: %s", len(clips), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _lines(clips: Sequence[TrueClip], results: Sequence[ClipResult]) -> list[dict[str, Any]]:
    """A line for each clip, strength, method and size."""
    names = list(dict.fromkeys(m for r in results for values in r.values.values() for m in values))
    return [
        {"clip": clip.name, "group": clip.group, "frames": result.frames, **run._asdict()}
        | {m: tables.figure(values.get(m, float("nan"))) for m in names}
        for clip, result in zip(clips, results, strict=True)
        for run, values in result.values.items()
    ]


def _timings(clips: Sequence[TrueClip], results: Sequence[ClipResult]) -> list[dict[str, Any]]:
    return [
        {
            "clip": clip.name,
            "recipe": strength,
            "method": method,
            "frames": result.frames,
            "frames_per_second": f"{result.frames / seconds:.2f}",
        }
        for clip, result in zip(clips, results, strict=True)
        for (strength, method), seconds in result.seconds.items()
    ]


def _to_json(result: ClipResult) -> str:
    values = [[list(run), dict(v)] for run, v in result.values.items()]
    seconds = [[list(key), s] for key, s in result.seconds.items()]
    return json.dumps({"values": values, "seconds": seconds, "frames": result.frames, "inputs": dict(result.inputs)})


def _from_json(file: Path) -> ClipResult:
    plain = json.loads(file.read_text())
    values = {Run(*run): v for run, v in plain["values"]}
    return ClipResult(values, {(a, b): s for (a, b), s in plain["seconds"]}, plain["frames"], plain["inputs"])
