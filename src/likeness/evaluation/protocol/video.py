"""The protocol for clips: degrade the whole clip, restore it as infer.py does, compare every frame with the truth.

All methods and strengths advance together over the true clip, so memory does not grow with its length.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likeness.data.degradations.video import sample_clip_params, write_degraded_clip
from likeness.errors import DataError
from likeness.evaluation.benchmarks.base import CROP
from likeness.evaluation.benchmarks.video import TrueClip, TrueFace, true_frames
from likeness.evaluation.methods.base import PIPELINE
from likeness.evaluation.methods.video import ClipMethod, Output
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.scores import Run, Scores
from likeness.media.files import atomic_output
from likeness.media.video_reader import VideoReader
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
from likeness.ops.geometry import EYE_DISTANCE_256, face_width, similarity
from likeness.ops.mask import template_mask
from likeness.ops.tensors import stack_crops
from likeness.stages.align import align_with
from likeness.types import FloatArray
from likeness.weights.files import file_hash

FRAME = 0  # the size under which figures of whole frames are kept
COUNTED = 0.9  # fraction of the faces that a pipeline must restore for a clip to count
_CHUNK = 8
_NEAR = 0.25  # of its width: how far a restored face may lie from the true one

Points = npt.NDArray[np.floating]
Present = tuple[int, int, Points]  # a face of a chunk: position of the frame, number of the face, (5, 2) landmarks


@dataclass(frozen=True)
class ClipResult:
    """The figures of one clip.

    Attributes:
        values: by strength, method and size (256: the stabilised faces, 0: the whole frame) the means over frames;
            `restored` is the fraction of the true faces in whose place a method restored one.
        seconds: by strength and method, decoding included.
        frames: their number.
        inputs: by strength, SHA-256 of the degraded file.
    """

    values: Mapping[Run, Mapping[str, float]]
    seconds: Mapping[tuple[str, str], float]
    frames: int
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Track:
    """One face's landmarks and embeddings by one method, frame by frame."""

    landmarks: list[Points] = field(default_factory=list)
    embedding: list[Points] = field(default_factory=list)
    judged: list[Points] = field(default_factory=list)
    last: FloatArray | None = None  # crop, 0..255


@dataclass
class _Series:
    """The output frames of one method at one strength, or of the truth, and their figures frame by frame."""

    frames: Iterator[Output]
    face_values: dict[str, list[float]] = field(default_factory=dict)
    frame_values: dict[str, list[float]] = field(default_factory=dict)
    tracks: dict[int, _Track] = field(default_factory=dict)
    last: FloatArray | None = None
    seconds: float = 0.0

    def take(self, count: int) -> tuple[list[FloatArray], list[Sequence[FloatArray]]]:
        """The next frames, 0..255, and the landmarks of the faces restored in each."""
        start = time.perf_counter()
        outputs = list(islice(self.frames, count))
        self.seconds += time.perf_counter() - start
        return [np.asarray(pixels, np.float32) for pixels, _ in outputs], [points for _, points in outputs]

    def replace_crops(self, present: Sequence[Present], crops: Sequence[FloatArray]) -> list[FloatArray | None]:
        """The last crop of each face; keeps the new ones."""
        last = []
        for (_, face, _), crop in zip(present, crops, strict=True):
            track = self.tracks.setdefault(face, _Track())
            last.append(track.last)
            track.last = crop
        return last

    def add_vectors(self, present: Sequence[Present], vectors: Mapping[str, Points]) -> None:
        """Appends landmarks and embeddings to the tracks."""
        for j, (_, face, _) in enumerate(present):
            track = self.tracks.setdefault(face, _Track())
            for name in ("landmarks", "embedding", "judged"):
                if name in vectors:
                    getattr(track, name).append(vectors[name][j])


@dataclass(frozen=True)
class _Chunk:
    """A few true frames, their faces, and the motion up to each of them.

    Attributes:
        frames, last_frames, frame_motions: frames, the one before each, and the motion between them.
        present, crops, last_crops, crop_motions: the same of the faces in them.
    """

    frames: Sequence[FloatArray]
    last_frames: Sequence[FloatArray | None]
    frame_motions: Sequence[Motion | None]
    present: Sequence[Present]
    crops: Sequence[FloatArray]
    last_crops: Sequence[FloatArray | None]
    crop_motions: Sequence[Motion | None]


def evaluate_clip(
    clip: TrueClip,
    faces: Sequence[TrueFace],
    methods: Mapping[str, ClipMethod],
    inputs: Mapping[str, Path],
    measures: Measures,
    progress: Callable[[int], None] = lambda count: None,
) -> ClipResult:
    """Every figure of one clip.

    Args:
        clip: the truth.
        faces: of it, from `true_faces`.
        methods: by name; `input` is among them.
        inputs: degraded clip by strength, from `degraded_clip`.
        measures: of the face crops; with a detector.
        progress: called with the number of frames just done.
    """
    series = {
        (strength, name): _Series(method(iter(VideoReader(file)), clip.factor))
        for strength, file in inputs.items()
        for name, method in methods.items()
    }
    truth = _Series((frame, ()) for frame in true_frames(clip))
    index = 0
    while frames := truth.take(_CHUNK)[0]:
        chunk = _next_chunk(truth, frames, faces, index)
        _measure(chunk, truth, list(series.values()), measures)
        index += len(frames)
        progress(len(frames))
    values = {run: v for key, one in series.items() for run, v in _means(key, one, truth).items()}
    seconds = {key: one.seconds for key, one in series.items()}
    return ClipResult(values, seconds, index, {strength: file_hash(file) for strength, file in inputs.items()})


def degraded_clip(clip: TrueClip, faces: Sequence[TrueFace], strength: str, folder: Path, seed: int = 0) -> Path:
    """The clip degraded by a recipe for clips; written once, then read from `folder`.

    Raises:
        DataError: if it has no face: the recipe's numbers are for a face's scale.
    """
    if not faces:
        part = "any frame" if clip.count is None else f"the first {clip.count} frames"
        raise DataError(f"video: no face was found in {part} of {clip.file}; take more with benchmark.frames")
    rng = np.random.default_rng([seed, *clip.name.encode(), *strength.encode()])
    params = sample_clip_params(strength, rng)
    scale = 2 * EYE_DISTANCE_256 / float(np.median([f.width for f in faces]))
    key = f"{file_hash(clip.file)} {params} {clip.factor} {scale:.4f} {seed} {clip.count}"
    file = folder / f"{clip.file.stem}-{strength}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.mp4"
    if not file.is_file():
        with atomic_output(file) as partial:
            write_degraded_clip(true_frames(clip), params, clip.factor, scale, clip.rate, rng, partial)
    return file


def gather(clips: Sequence[TrueClip], results: Sequence[ClipResult]) -> tuple[Scores, list[str]]:
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
    for clip, result in zip(clips, results, strict=True):
        for run, values in result.values.items():
            if run.method == PIPELINE and run.size == CROP and values["restored"] < COUNTED:
                left_out.add((clip.name, run.recipe))
                percent = f"{100 * values['restored']:.0f} %"
                notes.append(f"{clip.name} does not count at {run.recipe}: {percent} of its faces were restored.")
    for run in results[0].values:
        for metric in dict.fromkeys(m for r in results for m in r.values[run]):
            means = np.full(count, np.nan)
            for g, group in enumerate(groups):
                figures = [
                    r.values[run].get(metric, np.nan)
                    for c, r in zip(clips, results, strict=True)
                    if c.group == group and (c.name, run.recipe) not in left_out
                ]
                if np.isfinite(figures).any():
                    means[g] = np.nanmean(figures)
            scores.put(run, np.arange(count), {metric: means}, {})
    return scores, notes


def _next_chunk(truth: _Series, frames: Sequence[FloatArray], faces: Sequence[TrueFace], start: int) -> _Chunk:
    """The truth's part of the comparison; `start` is the number of the first frame."""
    last_frames = [truth.last, *frames[:-1]]
    truth.last = frames[-1]
    present = [
        (i, k, points)
        for i in range(len(frames))
        for k, face in enumerate(faces)
        if (points := face.at(start + i)) is not None
    ]
    crops = _crops(frames, present)
    last_crops = truth.replace_crops(present, crops)
    return _Chunk(
        frames, last_frames, _motions(last_frames, frames), present, crops, last_crops, _motions(last_crops, crops)
    )


def _measure(chunk: _Chunk, truth: _Series, series: Sequence[_Series], measures: Measures) -> None:
    """Adds the figures of a chunk to every series."""
    true_crops = measures.truth(_batch(chunk.crops)) if chunk.crops else None
    if true_crops is not None:
        truth.add_vectors(chunk.present, measures.vectors(true_crops))
    for one in series:
        frames, restored_faces = one.take(len(chunk.frames))
        for i, (last, now) in enumerate(zip([one.last, *frames[:-1]], frames, strict=True)):
            true_now = chunk.frames[i]
            _append(one.frame_values, {"psnr": float(psnr(_batch([now]), _batch([true_now])))})
            temporal = _temporal(last, now, chunk.last_frames[i], true_now, chunk.frame_motions[i])
            _append(one.frame_values, temporal)
        one.last = frames[-1]
        if true_crops is not None:
            crops = _crops(frames, chunk.present)
            values, vectors = measures.compare(_batch(crops), true_crops)
            for metric, figures in values.items():
                one.face_values.setdefault(metric, []).extend(figures.tolist())
            last_crops = one.replace_crops(chunk.present, crops)
            for j, (last, now) in enumerate(zip(last_crops, crops, strict=True)):
                moved = chunk.crop_motions[j]
                _append(one.face_values, _temporal(last, now, chunk.last_crops[j], chunk.crops[j], moved))
                _append(one.face_values, _regional_warping(last, now, moved))
            one.add_vectors(chunk.present, vectors)
        for i, _, points in chunk.present:
            distances = [np.linalg.norm(points.mean(0) - p.mean(0)) for p in restored_faces[i]]
            near = bool(distances) and min(distances) < _NEAR * face_width(points.astype(np.float32))
            _append(one.face_values, {"restored": float(near)})


def _temporal(
    last: FloatArray | None,
    now: FloatArray,
    true_last: FloatArray | None,
    true_now: FloatArray,
    true_motion: Motion | None,
) -> dict[str, float]:
    if last is None or true_last is None or true_motion is None:
        return {}
    tmse = temporal_mse(last, now)
    return {
        "tmse": tmse,
        "tmse_excess": tmse - temporal_mse(true_last, true_now),
        "tmse_gt": temporal_error(last, now, true_last, true_now),
        "warping": warping_error(last, now, true_motion),
    }


def _regional_warping(last: FloatArray | None, now: FloatArray, moved: Motion | None) -> dict[str, float]:
    """Shimmer at the head mask's rim shows as a warping error above the face's."""
    if last is None or moved is None:
        return {}
    head, face = template_mask(CROP, "head"), template_mask(CROP, "face")
    regions = {"warping_rim": (head > 0) & (head < 1), "warping_face": face > 0}
    return {
        name: warping_error(last, now, moved._replace(visible=moved.visible & region))
        for name, region in regions.items()
    }


def _means(key: tuple[str, str], series: _Series, truth: _Series) -> dict[Run, dict[str, float]]:
    strength, method = key
    face = {name: float(np.nanmean(v)) for name, v in series.face_values.items() if np.isfinite(v).any()}
    tracks = [(series.tracks[k], truth.tracks[k]) for k in series.tracks]
    ratios = [jitter(np.stack(t.landmarks)) / jitter(np.stack(g.landmarks)) for t, g in tracks if len(t.landmarks) > 2]
    face["jitter"] = float(np.nanmean(ratios)) if np.isfinite(ratios).any() else float("nan")
    for prefix, name in (("", "embedding"), ("judge_", "judged")):
        vectors = [np.stack(v) for t, _ in tracks if len(v := getattr(t, name)) > 1]
        if vectors:
            face[f"{prefix}neighbour"] = float(np.mean([neighbour_distance(v) for v in vectors]))
            face[f"{prefix}spread"] = float(np.mean([identity_spread(v) for v in vectors]))
    frame = {name: float(np.nanmean(v)) for name, v in series.frame_values.items()}
    return {Run(strength, method, CROP): face, Run(strength, method, FRAME): frame}


def _motions(last: Sequence[FloatArray | None], now: Sequence[FloatArray]) -> list[Motion | None]:
    return [None if a is None else motion(a, b) for a, b in zip(last, now, strict=True)]


def _crops(frames: Sequence[FloatArray], present: Sequence[Present]) -> list[FloatArray]:
    """Each face of each frame, moved to the template by the true landmarks; (256, 256, 3), 0..255."""
    crops = []
    for i, _, points in present:
        pixels = np.rint(np.clip(frames[i], 0, 255)).astype(np.uint8)
        crops.append(align_with(pixels, similarity(points, CROP), CROP).image * np.float32(255))
    return crops


def _batch(pictures: Sequence[FloatArray]) -> Tensor:
    return stack_crops([picture / np.float32(255) for picture in pictures], torch.device("cpu")).clamp(0, 1)


def _append(store: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        store.setdefault(name, []).append(value)
