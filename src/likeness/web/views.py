"""What the API answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import floor
from typing import Any, Literal

from pydantic import BaseModel, Field

from likeness.pipeline.routing import IMPLAUSIBLE
from likeness.web.jobs import Job, Jobs


class JobProgress(BaseModel):
    """Steps done: frames of a clip, tiles of a photo."""

    done: int
    total: int | None = Field(description="null where it is not known")
    faces: int = Field(description="found so far in a clip")


class FaceView(BaseModel):
    """One face of the result."""

    number: int
    width: float = Field(description="twice the eye distance, in pixels of the input")
    restored: bool
    words: str = Field(description="what was done, for a person")
    identity_distance: float | None = Field(description="between input and result; below 0.6: one person")


class JobView(BaseModel):
    """A job."""

    id: str
    name: str
    status: Literal["pending", "running", "done", "failed", "cancelled"]
    position: int | None = Field(description="jobs before it in the queue; null once it runs")
    progress: JobProgress
    seconds: float = Field(description="running so far, or in all")
    error: str | None
    summary: str | None = Field(description="one line for a person")
    faces: list[FaceView]
    files: list[str] = Field(description="what can be fetched: /v1/jobs/{id}/{file}")


class Problem(BaseModel):
    """An error."""

    detail: str


def view(jobs: Jobs, job: Job) -> JobView:
    """The job as clients see it."""
    report = jobs.report(job) if job.status == "done" else None
    end = job.finished or time.time()
    return JobView(
        id=job.id,
        name=job.name,
        status=job.status,  # type: ignore[arg-type]
        position=jobs.position(job.id),
        progress=JobProgress(done=job.done, total=job.total, faces=job.faces),
        seconds=0.0 if job.started is None else round(end - job.started, 2),
        error=job.error,
        summary=report["summary"] if report else None,
        faces=[face_view(n, face) for n, face in enumerate(report["faces"])] if report else [],
        files=[{"restored": "result"}.get(role, role) for role in job.outputs if role != "frames"],
    )


def face_view(number: int, face: Mapping[str, Any]) -> FaceView:
    """One face of a report."""
    return FaceView(
        number=number,
        width=face["w"],
        restored=face["restored_frames"] > 0,
        words=in_words(face),
        identity_distance=face["identity_distance"],
    )


def in_words(face: Mapping[str, Any]) -> str:
    """What happened to a face of a report, in words that need no manual."""
    width = floor(face["w"])
    if face["restored_frames"] > 0:
        verdict = str((face["guard"] or {}).get("verdict"))
        kept = {
            "same": "; checked: still the same person",
            "reduced": "; kept closer to the original, so that the person stays the same",
            "undecided": "; too blurred to check whether it is the same person",
        }
        part = (
            ""
            if face["restored_frames"] == face["frames"]
            else f" in {face['restored_frames']} of {face['frames']} frames"
        )
        return f"restored{part} ({width} px){kept.get(verdict, '')}"
    if face["route"] == "skip" and face["reason"].startswith("too small"):
        return f"left alone: too small ({width} px)"
    if face["route"] == "resize" and face["gate"] is not None:
        return f"left alone: restoring would not improve it ({width} px)"
    if face["route"] == "resize":
        return f"left alone: already good ({width} px)"
    if face["reason"].startswith(IMPLAUSIBLE):
        return "left alone: eyes and mouth could not be placed; half hidden, turned away, or no face"
    return f"left alone: {face['reason']}"


def include_from(report: Mapping[str, Any]) -> int | None:
    """The bound `route.skip_below` that includes the faces that were too small; None where there are none."""
    small = [f["w"] for f in report["faces"] if f["route"] == "skip" and f["reason"].startswith("too small")]
    return max(1, floor(min(small))) if small else None
