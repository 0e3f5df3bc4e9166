"""The protocol for clips: degrade the whole clip, restore it as infer.py does, compare every frame with the truth.

All methods and strengths advance together over the true clip, so memory does not grow with its length.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from likeness.data.degradations.video import sample_clip_params, write_degraded_clip
from likeness.errors import DataError
from likeness.evaluation.clips import TrueClip, TrueFace, rate_of, true_frames
from likeness.evaluation.measures import Measures
from likeness.evaluation.scores import Run, Scores
from likeness.media.files import atomic_output
from likeness.media.video import VideoReader
from likeness.metrics.psnr import psnr
from likeness.metrics.temporal import (
    identity_spread,
    jitter,
    neighbour_distance,
    temporal_error,
    temporal_mse,
    warping_error,
)
from likeness.ops.flow import Motion, motion
from likeness.ops.geometry import EYE_DISTANCE_256, similarity
from likeness.pipeline.clips import restore_clip
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.state import FrameResult, Models
from likeness.pipeline.steps import process
from likeness.stages.align import align_with, face_width
from likeness.types import FloatArray, Frame, Pixels
from likeness.weights.files import file_hash

CROP = 256
CHUNK = 8
FRAME = 0  # the size under which figures of whole frames are kept
PIPELINE = "pipeline"
COUNTED = 0.9  # share of the faces that a pipeline must restore for a clip to count
_NEAR = 0.25  # of its width: how far a restored face may lie from the true one
_MEAN = 5  # frames of the temporal mean

Output = tuple[Pixels, Sequence[FloatArray]]  # an enlarged frame, and the landmarks of the faces restored in it
ClipMethod = Callable[[Iterator[Frame], int], Iterator[Output]]


def enlarged(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
    """Bicubic enlargement: the row that all others are compared with."""
    for frame in frames:
        yield _enlarge(frame.pixels, factor), ()


def temporal_mean(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
    """The mean of five neighbouring frames, enlarged: blur that wins a plain T-MSE."""
    around: deque[Pixels] = deque(maxlen=_MEAN)
    reach = _MEAN // 2
    pending = 0
    for frame in frames:
        around.append(frame.pixels)
        pending += 1
        if pending > reach:
            yield _mean(around, factor), ()
    for _ in range(min(pending, reach)):
        if len(around) > reach + 1:
            around.popleft()
        yield _mean(around, factor), ()


def per_frame(models: Models, config: RestorerConfig) -> ClipMethod:
    """The pipeline on every frame by itself: nothing is remembered."""

    def run(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
        for frame in frames:
            faces = models.detector.detect([frame.pixels])[0]
            yield _output(process(frame.pixels, faces, models, config, "video", factor), factor)

    return run


def pipeline(models: Models, config: RestorerConfig) -> ClipMethod:
    """The pipeline as infer.py runs it."""

    def run(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
        for _, result in restore_clip(frames, models, config, "video", factor):
            yield _output(result, factor)

    return run


@dataclass(frozen=True)
class ClipResult:
    """What was found on one clip.

    Attributes:
        values: by strength, method and size (256: the stabilised faces, 0: the whole frame) the means over frames;
            `restored` is the share of the true faces in whose place a method restored one.
        seconds: spent by strength and method, decoding included.
        frames: how many there are.
        inputs: by strength, SHA-256 of the degraded file.
    """

    values: Mapping[Run, Mapping[str, float]]
    seconds: Mapping[tuple[str, str], float]
    frames: int
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Track:
    """What is collected of one face by one method."""

    landmarks: list[npt.NDArray[np.floating]] = field(default_factory=list)
    embedding: list[npt.NDArray[np.floating]] = field(default_factory=list)
    judged: list[npt.NDArray[np.floating]] = field(default_factory=list)
    before: FloatArray | None = None  # the last crop, 0..255


@dataclass
class _Row:
    """What is collected of one method at one strength."""

    frames: Iterator[Output]
    values: dict[str, list[float]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)
    tracks: dict[int, _Track] = field(default_factory=dict)
    before: FloatArray | None = None
    seconds: float = 0.0


def evaluate_clip(
    clip: TrueClip,
    faces: Sequence[TrueFace],
    methods: Mapping[str, ClipMethod],
    strengths: Sequence[str],
    measures: Measures,
    folder: Path,
    seed: int = 0,
    count: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ClipResult:
    """Every figure of one clip.

    Args:
        clip: the truth.
        faces: of it, from `true_faces`.
        methods: name to what restores, `input` among them.
        strengths: names of clip recipes.
        measures: what measures the face crops; with a detector.
        folder: keeps the degraded clips.
        seed: of the degradation.
        count: at most so many frames; None for all.
        progress: told how many frames were done.
    """
    rows: dict[tuple[str, str], _Row] = {}
    hashes = {}
    for strength in strengths:
        file = poor_clip(clip, faces, strength, folder, seed, count)
        hashes[strength] = file_hash(file)
        for name, method in methods.items():
            rows[strength, name] = _Row(method(iter(VideoReader(file)), clip.factor))
    truth = _Row((frame, ()) for frame in true_frames(clip, count))
    index = 0
    while chunk := list(islice(truth.frames, CHUNK)):
        _measure(chunk, index, faces, truth, rows, measures)
        index += len(chunk)
        if progress:
            progress(len(chunk))
    values = {run: v for key, row in rows.items() for run, v in _means(key, row, truth).items()}
    return ClipResult(values, {key: row.seconds for key, row in rows.items()}, index, hashes)


def poor_clip(
    clip: TrueClip, faces: Sequence[TrueFace], strength: str, folder: Path, seed: int, count: int | None
) -> Path:
    """The clip degraded by a recipe; made once, then found in `folder`.

    Raises:
        DataError: if no face was found in it: the recipe's numbers are for a face's scale.
    """
    if not faces:
        part = "any frame" if count is None else f"the first {count} frames"
        raise DataError(f"video: no face was found in {part} of {clip.file}; take more with benchmark.frames")
    rng = np.random.default_rng([seed, *clip.name.encode(), *strength.encode()])
    drawn = sample_clip_params(strength, rng)
    scale = 2 * EYE_DISTANCE_256 / float(np.median([f.width for f in faces]))
    told = f"{file_hash(clip.file)} {drawn} {clip.factor} {scale:.4f} {seed} {count}"
    file = folder / f"{clip.file.stem}-{strength}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.mp4"
    if not file.is_file():
        with atomic_output(file) as partial:
            write_degraded_clip(true_frames(clip, count), drawn, clip.factor, scale, rate_of(clip), rng, partial)
    return file


def _measure(
    chunk: Sequence[Output],
    start: int,
    faces: Sequence[TrueFace],
    truth: _Row,
    rows: Mapping[tuple[str, str], _Row],
    measures: Measures,
) -> None:
    pixels = [frame.astype(np.float32) for frame, _ in chunk]
    earlier = [truth.before, *pixels[:-1]]
    moved = [None if b is None else motion(b, now) for b, now in zip(earlier, pixels, strict=True)]
    present = [(i, k, p) for i in range(len(chunk)) for k, f in enumerate(faces) if (p := f.at(start + i)) is not None]
    crops = _crops(pixels, present)
    seen = measures.truth(_batch(crops)) if crops else None
    if seen is not None:
        _collect(truth, present, measures.vectors(seen))
    before = _before(truth, present, crops)
    motions = [None if b is None else motion(b, c) for b, c in zip(before, crops, strict=True)]
    for row in rows.values():
        began = time.perf_counter()
        outputs = list(islice(row.frames, len(chunk)))
        row.seconds += time.perf_counter() - began
        theirs = [np.asarray(o, np.float32) for o, _ in outputs]
        for i, (b, now) in enumerate(zip([row.before, *theirs[:-1]], theirs, strict=True)):
            _add(row.whole, {"psnr": float(psnr(_batch([now]), _batch([pixels[i]])))})
            _add(row.whole, _temporal(b, now, earlier[i], pixels[i], moved[i]))
        row.before = theirs[-1]
        if seen is not None:
            own = _crops(theirs, present)
            values, vectors = measures.compare(_batch(own), seen)
            for metric, found in values.items():
                row.values.setdefault(metric, []).extend(found.tolist())
            last = _before(row, present, own)
            for j, (b, now) in enumerate(zip(last, own, strict=True)):
                _add(row.values, _temporal(b, now, before[j], crops[j], motions[j]))
            _collect(row, present, vectors)
        for i, _, points in present:
            near = [np.linalg.norm(points.mean(0) - q.mean(0)) for q in outputs[i][1]]
            width = face_width(points.astype(np.float32))
            row.values.setdefault("restored", []).append(float(bool(near) and min(near) < _NEAR * width))
    truth.before = pixels[-1]


def _temporal(
    before: FloatArray | None,
    now: FloatArray,
    true_before: FloatArray | None,
    true_now: FloatArray,
    moved: Motion | None,
) -> dict[str, float]:
    if before is None or true_before is None or moved is None:
        return {}
    tmse = temporal_mse(before, now)
    return {
        "tmse": tmse,
        "tmse_excess": tmse - temporal_mse(true_before, true_now),
        "tmse_gt": temporal_error(before, now, true_before, true_now),
        "warping": warping_error(before, now, moved),
    }


def _before(
    row: _Row, present: Sequence[tuple[int, int, npt.NDArray[np.floating]]], crops: Sequence[FloatArray]
) -> list[FloatArray | None]:
    """The last crop of each face; remembers the new ones."""
    found = []
    for (_, k, _), crop in zip(present, crops, strict=True):
        track = row.tracks.setdefault(k, _Track())
        found.append(track.before)
        track.before = crop
    return found


def _collect(
    row: _Row,
    present: Sequence[tuple[int, int, npt.NDArray[np.floating]]],
    vectors: Mapping[str, npt.NDArray[np.floating]],
) -> None:
    for j, (_, k, _) in enumerate(present):
        track = row.tracks.setdefault(k, _Track())
        for name, store in (
            ("landmarks", track.landmarks),
            ("embedding", track.embedding),
            ("judged", track.judged),
        ):
            if name in vectors:
                store.append(vectors[name][j])


def _means(key: tuple[str, str], row: _Row, truth: _Row) -> dict[Run, dict[str, float]]:
    strength, method = key
    face = {name: float(np.nanmean(v)) for name, v in row.values.items() if np.isfinite(v).any()}
    tracks = [(row.tracks[k], truth.tracks[k]) for k in row.tracks]
    shaking = [jitter(np.stack(t.landmarks)) / jitter(np.stack(g.landmarks)) for t, g in tracks if len(t.landmarks) > 2]
    face["jitter"] = float(np.nanmean(shaking)) if np.isfinite(shaking).any() else float("nan")
    for name, store in (("", "embedding"), ("judge_", "judged")):
        series = [np.stack(s) for t, _ in tracks if len(s := getattr(t, store)) > 1]
        if series:
            face[f"{name}neighbour"] = float(np.mean([neighbour_distance(s) for s in series]))
            face[f"{name}spread"] = float(np.mean([identity_spread(s) for s in series]))
    whole = {name: float(np.nanmean(v)) for name, v in row.whole.items()}
    return {Run(strength, method, CROP): face, Run(strength, method, FRAME): whole}


def gather(clips: Sequence[TrueClip], found: Sequence[ClipResult]) -> tuple[Scores, list[str]]:
    """Clips as the units of `Scores`; those of one group become one, their mean, so that intervals are honest.

    Returns:
        The scores, and a line for each clip that does not count at a strength, as the pipeline restored too few of
        its faces there.
    """
    groups = list(dict.fromkeys(c.group for c in clips))
    count = len(groups)
    sizes = {CROP: np.ones(count, bool), FRAME: np.ones(count, bool)}
    scores, notes = Scores(groups, np.full(count, "clips"), sizes), []
    left_out = set()
    for clip, result in zip(clips, found, strict=True):
        for run, values in result.values.items():
            if run.method == PIPELINE and run.size == CROP and values["restored"] < COUNTED:
                left_out.add((clip.name, run.recipe))
                share = f"{100 * values['restored']:.0f} %"
                notes.append(f"{clip.name} does not count at {run.recipe}: {share} of its faces were restored.")
    for run in found[0].values:
        for metric in dict.fromkeys(m for f in found for m in f.values[run]):
            means = np.full(count, np.nan)
            for g, group in enumerate(groups):
                own = [
                    f.values[run].get(metric, np.nan)
                    for c, f in zip(clips, found, strict=True)
                    if c.group == group and (c.name, run.recipe) not in left_out
                ]
                if np.isfinite(own).any():
                    means[g] = np.nanmean(own)
            scores.put(run, np.arange(count), {metric: means}, {})
    return scores, notes


def _crops(
    frames: Sequence[FloatArray], present: Sequence[tuple[int, int, npt.NDArray[np.floating]]]
) -> list[FloatArray]:
    """Each face of each frame, moved to the template by the true landmarks; (256, 256, 3), 0..255."""
    found = []
    for i, _, points in present:
        pixels = np.rint(np.clip(frames[i], 0, 255)).astype(np.uint8)
        found.append(align_with(pixels, similarity(points, CROP), CROP).image * np.float32(255))
    return found


def _batch(pictures: Sequence[FloatArray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures) / np.float32(255)).permute(0, 3, 1, 2).clamp(0, 1)


def _add(store: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        store.setdefault(name, []).append(value)


def _enlarge(pixels: Pixels, factor: int) -> Pixels:
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)


def _mean(frames: Sequence[Pixels] | deque[Pixels], factor: int) -> Pixels:
    mean = np.mean([f.astype(np.float32) for f in frames], axis=0)
    return _enlarge(np.rint(mean).astype(np.uint8), factor)


def _output(result: FrameResult, factor: int) -> Output:
    # Pixel centres: the source's 0 lies at (factor - 1) / 2 of the enlarged frame.
    points = [(f.face.landmarks[0] + 0.5) * factor - 0.5 for f in result.faces if f.final is not None]
    return result.pixels, [p.astype(np.float32) for p in points]
