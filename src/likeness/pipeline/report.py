"""The report: what was given, what was done to every face, and what it cost. Its types are in report_types.py."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.report_types import FaceRecord, FaceTotals, FrameRecord, ProfileRecord, ReferenceRecord, Report
from likeness.pipeline.routing import IMPLAUSIBLE
from likeness.pipeline.state import FrameResult, GuardedFace, RoutedFace, pasted
from likeness.stages.background.base import BackgroundPlan
from likeness.stages.route import TURNED
from likeness.types import FaceProfile, FloatArray, Frame, MediaInfo

Data = TypeVar("Data")

SCHEMA_VERSION: Final = 1
SMALLEST = 20  # width in source pixels from which the summary says how to include a small face


def face_record(face: RoutedFace) -> FaceRecord:
    """One face as plain data; lengths in source pixels, identity distances Euclidean."""
    p, d = face.profile, face.decision
    guarded = face if isinstance(face, GuardedFace) else None
    verdict = None if guarded is None else guarded.verdict
    confidence = guarded.restored.confidence if guarded else None
    return {
        "face": face.number,
        "track": None if face.track is None else face.track.id,
        "box": [round(float(x), 2) for x in face.face.boxes[0]],
        "score": round(float(face.face.scores[0]), 4),
        "landmarks": [[round(float(c), 2) for c in point] for point in face.face.landmarks[0]],
        "inside": round(face.crop.inside, 3),
        "w": round(p.width, 2),
        "qvol": round(p.qvol, 2),
        "sharpness": round(p.sharpness, 2),
        "detail": round(p.detail, 2),
        "blockiness": round(p.blockiness, 3),
        "noise": round(p.noise, 3),
        "quality": round(p.quality, 4),
        "profile": profile_record(p),
        "route": d.route,
        "reason": d.reason,
        "expert": d.expert,
        "gate": None
        if d.gate is None
        else {
            "probability": round(d.gate.probability, 4),
            "leave": round(d.gate.leave, 4),
            "features": {name: round(value, 4) for name, value in d.gate.features.items()},
        },
        "identity_distance": None if guarded is None or guarded.distance is None else round(guarded.distance, 4),
        "guard": None
        if verdict is None
        else {
            "verdict": verdict.verdict,
            "distance": round(verdict.distance, 4),
            "final_distance": round(verdict.final_distance, 4),
            "bound": None if verdict.bound is None else round(verdict.bound, 4),
            "alpha": verdict.alpha,
        },
        "confidence": None if confidence is None else round(float(confidence.mean()), 4),
        "alpha": round(guarded.alpha, 4) if guarded else 0.0,
        "propagated": guarded is not None and guarded.frames_since_restore > 0,
        "invented": 0.0 if guarded is None or face.unknown is None else round(float(face.unknown.mean()), 4),
        "milliseconds": round(face.milliseconds, 2),
        "notes": list(face.notes),
    }


def profile_record(profile: FaceProfile) -> ProfileRecord:
    """What was measured beside width and sharpness, as plain data."""
    p = profile
    return {
        "resolution": round(p.resolution, 3),
        "exposure": round(p.exposure, 3),
        "entropy": round(p.entropy, 2),
        "crushed": round(p.crushed, 4),
        "burnt": round(p.burnt, 4),
        "imbalance": round(p.imbalance, 3),
        "yaw": round(p.pose.yaw, 1),
        "pitch": round(p.pose.pitch, 1),
        "roll": round(p.pose.roll, 1),
        "symmetry": round(p.symmetry, 3),
        "high_band": round(p.high_band, 2),
        "jpeg_quality": p.jpeg_quality,
        "remarks": list(p.remarks),
        "obstructions": {name: round(v, 4) for name, v in p.obstructions.fractions.items()} if p.obstructions else {},
    }


def frame_record(frame: Frame, faces: Sequence[FaceRecord]) -> FrameRecord:
    """One line of the frames log: the frame and the records of its faces; times in seconds."""
    return {"schema": SCHEMA_VERSION, "frame": frame.index, "time": float(frame.time), "faces": list(faces)}


@dataclass
class Spread:
    """How far the embeddings of one face lie apart over its frames; its size does not grow.

    Attributes:
        count: embeddings.
        total: (D,) their sum.
        squares: sum of their squared lengths.
    """

    count: int = 0
    total: npt.NDArray[np.float64] | float = 0.0
    squares: float = 0.0

    def add(self, embedding: FloatArray) -> None:
        """One more."""
        exact = embedding.astype(np.float64)
        self.count, self.total, self.squares = self.count + 1, self.total + exact, self.squares + float(exact @ exact)

    def join(self, other: Spread) -> None:
        """All of another."""
        self.count, self.total = self.count + other.count, self.total + other.total
        self.squares += other.squares

    def value(self) -> float | None:
        """Root mean square distance to their mean; None for fewer than two."""
        if self.count < 2:
            return None
        return float(max(0.0, self.squares / self.count - np.square(self.total / self.count).sum()) ** 0.5)


@dataclass
class Tally:
    """Totals of one file, added up while it streams; its size does not grow with the file's length.

    Attributes:
        frames: processed.
        invented: sum over the frames of the fraction that was filled.
        seconds: by stage.
        fallbacks: how often each happened.
        errors: how often each was met and passed over.
        faces: last record of every face (photos) or track (clips), by number.
        spreads: of the restored face's embeddings, by the same number.
        changed: whether any face was restored, or the background.
        background: what was done to it.
    """

    frames: int = 0
    invented: float = 0.0
    seconds: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faces: dict[int, FaceTotals] = field(default_factory=dict)
    spreads: dict[int, Spread] = field(default_factory=dict)
    changed: bool = False
    background: BackgroundPlan | None = None

    def add(self, result: FrameResult) -> list[FaceRecord]:
        """Adds one frame; returns its face records."""
        self.frames, self.invented = self.frames + 1, self.invented + result.invented
        self.seconds.update(result.seconds)
        self.background = result.background
        self.changed = self.changed or result.background.strength > 0 or result.invented > 0
        records = [face_record(face) for face in result.faces]
        for record, face in zip(records, result.faces, strict=True):
            self.fallbacks.update(note.partition(":")[0] for note in face.notes)  # figures would make each unique
            used = pasted(face)
            self.changed = self.changed or used is not None
            key = face.track.id if face.track else face.number
            before = self.faces.get(key)
            restored, propagated = used is not None, used is not None and record["propagated"]
            spread = self.spreads.setdefault(key, Spread())
            if isinstance(face, GuardedFace) and face.final_embedding is not None:
                spread.add(face.final_embedding)
            rms = spread.value()
            self.faces[key] = {
                **record,
                "frames": 1 + (before["frames"] if before else 0),
                "restored_frames": restored + (before["restored_frames"] if before else 0),
                "propagated_frames": propagated + (before["propagated_frames"] if before else 0),
                "identity_spread": None if rms is None else round(rms, 4),
                "card": None,
                "best_frames": [],
            }
        return records

    def join(self, later: Tally, numbers: Mapping[int, int]) -> None:
        """Adds the totals of a later part of the file; its faces get other `numbers`."""
        self.frames += later.frames
        self.seconds.update(later.seconds)
        self.fallbacks.update(later.fallbacks)
        self.errors.update(later.errors)
        self.changed, self.background = self.changed or later.changed, self.background or later.background
        for number, face in later.faces.items():
            key = numbers[number]
            before, spread = self.faces.get(key), self.spreads.setdefault(key, Spread())
            spread.join(later.spreads[number])
            rms = spread.value()
            self.faces[key] = {
                **face,
                "track": key,
                "frames": face["frames"] + (before["frames"] if before else 0),
                "restored_frames": face["restored_frames"] + (before["restored_frames"] if before else 0),
                "propagated_frames": face["propagated_frames"] + (before["propagated_frames"] if before else 0),
                "identity_spread": None if rms is None else round(rms, 4),
            }


def peak_memory_mb() -> float | None:
    """Largest resident size of this process so far, in MB; None on Windows, which has no such call."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


@dataclass(frozen=True)
class Run:
    """Everything that a report tells of one file.

    Attributes:
        info, source: the input.
        outputs: paths by role.
        config: all options.
        upscale: the chosen factor.
        tally: totals.
        weights: sha256 by name.
        device: where the networks ran.
        seconds: in all, with the comparison against the reference.
        notes: for a person.
        reference: figures against the true file, if there is one.
    """

    info: MediaInfo
    source: str
    outputs: Mapping[str, str]
    config: RestorerConfig
    upscale: int
    tally: Tally
    weights: Mapping[str, str]
    device: str
    seconds: float
    notes: Sequence[str]
    reference: Mapping[str, Any] | None = None


def build(run: Run) -> Report:
    """The whole report as plain data; no key `reference` without one."""
    from likeness import __version__

    info, tally = run.info, run.tally
    working = run.seconds - tally.seconds.get("reference", 0.0)
    faces = [tally.faces[key] for key in sorted(tally.faces)]
    report: Report = {
        "schema": SCHEMA_VERSION,
        "likeness": __version__,
        "input": {
            "file": run.source,
            "kind": info.kind,
            "format": info.format,
            "width": info.width,
            "height": info.height,
            "frames": info.frames,
            "fps": None if info.fps is None else str(info.fps),
            "seconds": None if info.duration is None else round(float(info.duration), 3),
            "codec": info.codec,
            "audio": list(info.audio),
            "loop": info.loop,
        },
        "outputs": dict(run.outputs),
        "settings": _plain(run.config),
        "upscale": run.upscale,
        "background": tally.background and _plain(tally.background),
        "weights": dict(run.weights),
        "device": run.device,
        "machine": platform.machine(),
        "faces": faces,
        "totals": {
            "frames": tally.frames,
            "faces": len(faces),
            "restored": sum(f["restored_frames"] > 0 for f in faces),
            "invented": round(tally.invented / max(tally.frames, 1), 5),
            "seconds": round(run.seconds, 3),
            "seconds_by_stage": {name: round(value, 3) for name, value in sorted(tally.seconds.items())},
            "frames_per_second": round(tally.frames / max(working, 1e-6), 2),
            "peak_memory_mb": peak_memory_mb(),
            "fallbacks": dict(tally.fallbacks),
            "errors": dict(tally.errors),
        },
        "notes": list(run.notes),
        "summary": summary(faces),
    }
    if run.reference is not None:
        report["reference"] = cast(ReferenceRecord, dict(run.reference))
    return report


def _plain(value: Data) -> Data:
    """A dataclass as the dicts that JSON can hold; its own type describes them."""
    return cast(Data, asdict(cast(Any, value)))


def summary(faces: Sequence[Mapping[str, Any]]) -> str:
    """One line for a person: "2 faces: 1 restored, 1 too small (28 px); route.skip_below=25 includes small ones".

    Examples:
        >>> small = {"route": "skip", "reason": "too small: width 28 px < 32", "w": 28.2, "expert": None}
        >>> summary([small | {"restored_frames": 0}])
        '1 face: 1 too small (28 px); route.skip_below=25 includes small ones'
    """
    if not faces:
        return "no faces found"
    restored = [f for f in faces if f["restored_frames"] > 0]
    rest = [f for f in faces if f["restored_frames"] == 0]
    parts = []
    if restored:
        limited = sum(f["guard"] is not None and f["guard"]["verdict"] == "reduced" for f in restored)
        details = [f"{limited} kept closer to the original"] if limited else []
        propagated = sum(f["propagated_frames"] for f in restored)
        if propagated:
            fraction = propagated / sum(f["restored_frames"] for f in restored)
            details.append(f"{fraction:.0%} of their frames propagated from the last restored one")
        parts.append(f"{len(restored)} restored" + (f" ({', '.join(details)})" if details else ""))
    small = [f for f in rest if f["route"] == "skip" and f["reason"].startswith("too small")]
    if small:
        parts.append(f"{len(small)} too small ({', '.join(str(floor(f['w'])) for f in small[:4])} px)")
    enlarged = [f for f in rest if f["route"] == "resize" and f["expert"] is None]
    left = sum(f["gate"] is not None for f in enlarged)
    good = len(enlarged) - left
    if good:
        parts.append(f"{good} already good")
    if left:
        parts.append(f"{left} better left alone")
    unused = sum(f["expert"] is not None for f in rest)
    if unused:
        parts.append(f"{unused} left as it was" if unused == 1 else f"{unused} left as they were")
    doubtful = sum(f["reason"].startswith(IMPLAUSIBLE) for f in rest)
    if doubtful:
        parts.append(f"{doubtful} left alone (half hidden, turned away, or no face)")
    turned = sum(f["reason"].startswith(TURNED) for f in rest)
    if turned:
        parts.append(f"{turned} left alone (turned away)")
    others = len(rest) - len(small) - good - left - unused - doubtful - turned
    if others:
        parts.append(f"{others} not chosen")
    line = f"{len(faces)} face{'s' if len(faces) != 1 else ''}: {', '.join(parts)}"
    included = [f["w"] for f in small if f["w"] >= SMALLEST]
    if included:
        line = f"{line}; route.skip_below={5 * int(min(included) // 5)} includes small ones"
    return f"{line}; gate.leave_threshold=1 restores those left alone" if left else line
