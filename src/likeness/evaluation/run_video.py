"""Clips, degraded as a whole and restored as infer.py does: still figures, and how steady they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likeness.data.degradations.video import CLIP_RECIPES
from likeness.errors import ConfigError
from likeness.evaluation import provenance, tables
from likeness.evaluation.benchmarks import View, content_hash
from likeness.evaluation.clips import TrueClip, open_clips, true_faces, true_frames
from likeness.evaluation.config import EvaluateConfig
from likeness.evaluation.figures import plot
from likeness.evaluation.scores import Run
from likeness.evaluation.setup import (
    Results,
    below_root,
    describe,
    make_measures,
    parts_folder,
    progress_bar,
    ticking,
    write_texts,
    writing,
)
from likeness.evaluation.summary import summarise
from likeness.evaluation.video import (
    CROP,
    FRAME,
    PIPELINE,
    ClipMethod,
    ClipResult,
    enlarged,
    evaluate_clip,
    gather,
    per_frame,
    pipeline,
    temporal_mean,
)
from likeness.log import get_logger
from likeness.media.video import VideoReader
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.models import load_models
from likeness.pipeline.state import Models
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector

log = get_logger(__name__)

ALONE = "per_frame"
NAMES = ("input", "temporal_mean", ALONE, PIPELINE)
VIEWS = (View("faces, 256", CROP), View("frames", FRAME))


def evaluate_video(options: EvaluateConfig) -> Results:
    """Evaluates the pipeline on clips and writes tables, timings and figures into `options.output`.

    Raises:
        LikenessError: one line that says which option, data or weights are missing or wrong.
    """
    clips = open_clips(
        Path(options.data.clips) if options.data.clips else below_root(options, "clips_good"),
        options.benchmark.groups,
        options.limit,
    )
    strengths = list(CLIP_RECIPES) if options.recipe == "all" else [options.recipe]
    measures, files, notes = make_measures(options)
    methods, used = _methods(options)
    about = {"video": f"{len(clips)} clips", "frames of each": options.benchmark.frames or "all"}
    data = content_hash([c.file for c in clips], [c.name for c in clips])
    facts = describe(options, about, data, {**provenance.weight_hashes(files), **used}, notes, strengths)
    found = []
    with progress_bar() as bar, parts_folder(options, facts, [*methods, *strengths]) as parts:
        for clip in clips:
            part = parts / f"{clip.name}.json"
            if part.is_file():
                found.append(_read(part))
                continue
            count = options.benchmark.frames
            finder = MtcnnDetector(DetectConfig())
            faces = true_faces(true_frames(clip, count), finder)
            tick = ticking(bar, clip.name, count or VideoReader(clip.file).info.frames)
            poor = Path(options.cache) / "clips"
            found.append(evaluate_clip(clip, faces, methods, strengths, measures, poor, options.seed, count, tick))
            parts.mkdir(parents=True, exist_ok=True)
            part.write_text(_told(found[-1]))
    facts["inputs sha256"] = {
        f"{c.name} {s}": h for c, f in zip(clips, found, strict=True) for s, h in f.inputs.items()
    }
    return _write(options, clips, found, facts, notes)


def _methods(options: EvaluateConfig) -> tuple[dict[str, ClipMethod], Mapping[str, str]]:
    """What is compared, and the hashes of the weights under it.

    Raises:
        ConfigError: for an unknown name, a wrong option of a variant, or without the input, which all are compared
            with.
    """
    variants = options.benchmark.variants
    known = [*NAMES, *variants]
    if not set(options.methods) <= set(known) or NAMES[0] not in options.methods or set(NAMES) & set(variants):
        raise ConfigError(
            f"methods: got {options.methods}, expected {NAMES[0]} and others out of {', '.join(known)}, each name once"
        )
    made: dict[str, ClipMethod] = {"input": enlarged, "temporal_mean": temporal_mean}
    hashes: dict[str, str] = {}
    w = options.weights
    named = {name: getattr(w, name) for name in ("expert_f", "expert_t", "prior")}
    shared = [f"device={options.device}", *(f"weights.{name}={file}" for name, file in named.items() if file)]
    loaded: dict[tuple[str, ...], tuple[Models, RestorerConfig]] = {}
    for name in (m for m in options.methods if m not in made):
        own = tuple(variants.get(name, []))
        if own not in loaded:
            config = from_overrides([*shared, *own])
            loaded[own] = load_models(config), config
        made[name] = (per_frame if name == ALONE else pipeline)(*loaded[own])
        hashes |= loaded[own][0].hashes
    return {name: made[name] for name in options.methods}, hashes


def _write(
    options: EvaluateConfig,
    clips: Sequence[TrueClip],
    found: Sequence[ClipResult],
    facts: Mapping[str, Any],
    notes: Sequence[str],
) -> Results:
    scores, uncounted = gather(clips, found)
    rows = summarise(scores, VIEWS, options.seed)
    title, said = f"video, recipe {options.recipe}", [*notes, *uncounted]
    folder = Path(options.output)
    texts = {
        "table.md": tables.to_markdown(rows, facts, title, said),
        "table.csv": tables.to_csv(rows, facts),
        "table.json": tables.to_json(rows, facts),
        "clips.csv": tables.as_csv(_lines(clips, found), facts),
        "timing.csv": tables.as_csv(_timings(clips, found), facts),
    }
    if ALONE in options.methods:
        against = summarise(scores, VIEWS, options.seed, ALONE)
        texts["per_frame.md"] = tables.to_markdown(against, facts, title, said, ALONE)
    with writing(folder):
        write_texts(folder, texts)
        for view in VIEWS:
            here = [r for r in rows if r.view == view.name]
            plot(here, f"{title}: {view.name}", folder / f"{view.name.replace(', ', '-')}.png")
    for note in uncounted:
        log.warning(note)
    log.info("video, %d clips: %s", len(clips), folder / "table.md")
    return Results(rows, scores, facts, folder)


def _lines(clips: Sequence[TrueClip], found: Sequence[ClipResult]) -> list[dict[str, Any]]:
    """A line for each clip, strength, method and size."""
    names = list(dict.fromkeys(m for f in found for values in f.values.values() for m in values))
    return [
        {"clip": clip.name, "group": clip.group, "frames": result.frames, **run._asdict()}
        | {m: tables.figure(values.get(m, float("nan"))) for m in names}
        for clip, result in zip(clips, found, strict=True)
        for run, values in result.values.items()
    ]


def _timings(clips: Sequence[TrueClip], found: Sequence[ClipResult]) -> list[dict[str, Any]]:
    return [
        {
            "clip": clip.name,
            "recipe": strength,
            "method": method,
            "frames": result.frames,
            "frames_per_second": f"{result.frames / seconds:.2f}",
        }
        for clip, result in zip(clips, found, strict=True)
        for (strength, method), seconds in result.seconds.items()
    ]


def _told(result: ClipResult) -> str:
    values = [[list(run), dict(v)] for run, v in result.values.items()]
    seconds = [[list(key), s] for key, s in result.seconds.items()]
    return json.dumps({"values": values, "seconds": seconds, "frames": result.frames, "inputs": dict(result.inputs)})


def _read(file: Path) -> ClipResult:
    plain = json.loads(file.read_text())
    values = {Run(*run): v for run, v in plain["values"]}
    return ClipResult(values, {(a, b): s for (a, b), s in plain["seconds"]}, plain["frames"], plain["inputs"])
