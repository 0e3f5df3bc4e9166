"""The HTTP API under /v1, health and metrics."""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from sse_starlette.sse import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from likeness.errors import ConfigError, InputError, OutputError
from likeness.media.files import atomic_output, kind_of
from likeness.types import MediaKind
from likeness.web.guard import refuse
from likeness.web.jobs import RESULTS, UNFINISHED, Job, Jobs, QueueFull, stored_suffix
from likeness.web.options import config_of, parse_options
from likeness.web.views import JobView, Problem, view
from likeness.web.work import AFTER, BEFORE

ARCHIVE = "all.zip"
RETRY_AFTER = 10  # seconds
EVENT_SECONDS = 0.3  # between looks at a job
ROLES = {"result": "restored", "compare": "compare", "cards": "cards"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (401, 404, 409, 413, 415, 422, 429, 507)
}


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


JobsHere = Annotated[Jobs, Depends(_jobs)]


def _job(id: str, jobs: JobsHere) -> Job:
    job = jobs.get(id)
    if job is None:
        raise HTTPException(404, "no such job; it may have been deleted")
    return job


JobHere = Annotated[Job, Depends(_job)]
Upload = Annotated[UploadFile, File(description="a photo, video or GIF")]
Truth = Annotated[UploadFile | None, File(description="the true picture or clip, to compare with")]
Options = Annotated[str, Form(description='a JSON object such as {"upscale": 2, "faces.min": 60}')]

router = APIRouter(prefix="/v1", responses=PROBLEMS, form_limits={"max_files": 2, "max_fields": 1})


@router.post("/jobs", status_code=202)
def create_job(
    jobs: JobsHere, response: Response, file: Upload, reference: Truth = None, options: Options = "{}"
) -> JobView:
    """Queues a photo, video or GIF."""
    job = _accept(jobs, file, reference, options)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return view(jobs, job)


@router.post("/restore", response_class=FileResponse)
async def restore(request: Request, jobs: JobsHere, file: Upload, options: Options = "{}") -> Response:
    """Restores a small photo and answers with the result; nothing of it is kept."""
    limit: int = request.app.state.settings.sync_mb
    if (file.size or 0) > limit * 2**20:
        raise HTTPException(413, f"the photo is larger than {limit} MB; use POST /v1/jobs")
    job = await run_in_threadpool(_accept, jobs, file, None, options, "photo")
    try:
        # No thread waits: clients that do would use up all there are.
        while (now := jobs.get(job.id)) and now.status in UNFINISHED and not await request.is_disconnected():
            await asyncio.sleep(0.02)
        job = now or job
        return await run_in_threadpool(_result, jobs, job)
    finally:
        await run_in_threadpool(jobs.delete, job.id)


def _result(jobs: Jobs, job: Job) -> Response:
    path, report = jobs.output(job, "restored"), jobs.report(job)
    if job.status != "done" or path is None or report is None:
        raise HTTPException(422, job.error or f"the job was {job.status}")
    headers = {"Content-Disposition": _disposition(job, path), "X-Likeness-Summary": str(report["summary"])}
    return Response(path.read_bytes(), media_type=_media_type(path), headers=headers)


@router.get("/jobs/{id}")
def get_job(job: JobHere, jobs: JobsHere) -> JobView:
    """State and progress."""
    return view(jobs, job)


@router.get("/jobs/{id}/events", response_class=EventSourceResponse)
async def events(job: JobHere, jobs: JobsHere) -> EventSourceResponse:
    """Server-sent events: the job whenever it changes, until it ends."""

    async def stream() -> AsyncIterator[dict[str, str]]:
        last = None
        while (now := jobs.get(job.id)) is not None:
            shown = await run_in_threadpool(view, jobs, now)
            key = shown.model_dump_json(exclude={"seconds"})
            if key != last:
                last = key
                yield {"event": "job", "data": shown.model_dump_json()}
            if now.status not in UNFINISHED:
                return
            await asyncio.sleep(EVENT_SECONDS)

    return EventSourceResponse(stream(), headers={"X-Accel-Buffering": "no"})


def _file_route(name: str, find: Callable[[Jobs, Job], Path | None]) -> None:
    @router.get(f"/jobs/{{id}}/{name}", response_class=FileResponse, name=name)
    def fetch(job: JobHere, jobs: JobsHere) -> FileResponse:
        path = _finished(jobs, job, find)
        return FileResponse(
            path, media_type=_media_type(path), headers={"Content-Disposition": _disposition(job, path)}
        )

    fetch.__doc__ = f"The file `{name}`; ranges are supported."


def _finished(jobs: Jobs, job: Job, find: Callable[[Jobs, Job], Path | None]) -> Path:
    if job.status in UNFINISHED:
        raise HTTPException(409, f"the job is {job.status}; wait until it is done", {"Retry-After": "1"})
    path = find(jobs, job)
    if path is None or not path.is_file():
        raise HTTPException(404, job.error or "the job has no such file")
    return path


for _name, _role in ROLES.items():
    _file_route(_name, lambda jobs, job, role=_role: jobs.output(job, role))  # type: ignore[misc]
for _name, _file in (("before", BEFORE), ("after", AFTER)):
    _file_route(_name, lambda jobs, job, file=_file: jobs.folder(job) / RESULTS / file)  # type: ignore[misc]


@router.get("/jobs/{id}/report")
def report(job: JobHere, jobs: JobsHere) -> dict[str, Any]:
    """What was done to every face."""
    _finished(jobs, job, lambda jobs, job: jobs.output(job, "report"))
    return jobs.report(job) or {}


@router.get("/jobs/{id}/zip", response_class=FileResponse)
def archive(job: JobHere, jobs: JobsHere) -> FileResponse:
    """The result, the comparison and the cards in one file."""
    _finished(jobs, job, lambda jobs, job: jobs.output(job, "restored"))
    packed = jobs.folder(job) / ARCHIVE
    if not packed.exists():
        with atomic_output(packed) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
            for role in ROLES.values():
                if path := jobs.output(job, role):
                    file.write(path, file_name(job, path))
    disposition = f"attachment; filename*=UTF-8''{quote(Path(job.name).stem)}.zip"
    return FileResponse(packed, media_type="application/zip", headers={"Content-Disposition": disposition})


@router.get("/zip/{ids}", response_class=StreamingResponse)
def archives(ids: str, jobs: JobsHere) -> StreamingResponse:
    """What the zips of several jobs hold, in one; their ids are joined by commas."""
    found = [_job(id, jobs) for id in dict.fromkeys(ids.split(","))]
    packed = tempfile.TemporaryFile()  # noqa: SIM115  (has no name, and is gone once it is sent)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for number, job in enumerate(found, 1):
            _finished(jobs, job, lambda jobs, job: jobs.output(job, "restored"))
            for role in ROLES.values():
                if path := jobs.output(job, role):
                    file.write(path, f"{number} {Path(job.name).stem}/{file_name(job, path)}")
    headers = {"Content-Disposition": 'attachment; filename="restored.zip"', "Content-Length": str(packed.tell())}
    packed.seek(0)
    return StreamingResponse(iter(partial(packed.read, 2**20), b""), 200, headers, "application/zip")


@router.delete("/jobs/{id}", status_code=204)
def delete_job(job: JobHere, jobs: JobsHere) -> None:
    """Cancels the job and deletes its files."""
    jobs.delete(job.id)


health = APIRouter()


@health.get("/healthz")
async def healthz() -> dict[str, str]:
    """The server runs."""
    return {"status": "ok"}


@health.get("/readyz")
async def readyz(request: Request, response: Response) -> dict[str, int]:
    """200 when a worker has its networks loaded, else 503."""
    ready = request.app.state.jobs.pool.ready
    response.status_code = 200 if ready else 503
    return {"workers": ready}


@health.get("/metrics")
def metrics(request: Request) -> Response:
    """For Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(request.app.state.jobs))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Figures(Collector):
    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    def collect(self) -> list[Metric]:
        """Jobs by status, and workers."""
        kept = GaugeMetricFamily("likeness_jobs", "Jobs that are kept, by status", labels=["status"])
        ended = SummaryMetricFamily(
            "likeness_job_seconds", "Work on jobs that ended since the start", labels=["status"]
        )
        for status, count in self.jobs.counts().items():
            kept.add_metric([status], count)
            if status not in UNFINISHED:
                ended.add_metric([status], self.jobs.ended[status], self.jobs.worked[status])
        pool = self.jobs.pool
        return [
            kept,
            ended,
            GaugeMetricFamily("likeness_workers_ready", "Workers with their networks loaded", value=pool.ready),
            CounterMetricFamily("likeness_workers_replaced", "Workers replaced since the start", value=pool.replaced),
        ]


def _accept(
    jobs: Jobs, file: UploadFile, reference: UploadFile | None, options: str, only: MediaKind | None = None
) -> Job:
    words = parse_options(options)
    config_of(jobs.owner, words)
    jobs.check_room()
    folder = jobs.new_folder()
    try:
        source = _store(file, folder, "input", only)
        truth = None if reference is None else _store(reference, folder, "reference", only)
        return jobs.accept(folder, file.filename or "", source, words, truth)
    except BaseException:
        jobs.discard(folder)
        raise


def _store(file: UploadFile, folder: Path, stem: str, only: MediaKind | None) -> str:
    path = folder / f"{stem}{stored_suffix(file.filename or '')}"
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)
    try:
        kind = kind_of(path)  # by its first bytes; nothing is decoded here
    except InputError as error:
        raise HTTPException(415, str(error).replace(str(path), stem)) from error
    if only is not None and kind != only:
        raise HTTPException(415, f"{stem}: is a {kind}, expected a {only}; use POST /v1/jobs")
    return path.name


def file_name(job: Job, path: Path) -> str:
    """The name under which a file is downloaded: the client's stem, and what the file is."""
    rest = path.name.removeprefix("input")
    return Path(job.name).stem + (f"_restored{rest}" if rest == path.suffix else rest)


def _disposition(job: Job, path: Path) -> str:
    return f"inline; filename*=UTF-8''{quote(file_name(job, path))}"


def _media_type(path: Path) -> str:
    known = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
             ".webp": "image/webp", ".avif": "image/avif", ".tif": "image/tiff", ".tiff": "image/tiff",
             ".bmp": "image/bmp", ".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
             ".mkv": "video/x-matroska", ".json": "application/json"}  # fmt: skip
    return known.get(path.suffix.lower(), "application/octet-stream")


async def answer_error(request: Request, error: Exception) -> Response:
    """Every error as a sentence."""
    if isinstance(error, HTTPException):
        if isinstance(error.__cause__, OSError):  # FastAPI calls an upload malformed that it could not store
            return await answer_error(request, error.__cause__)
        return await http_exception_handler(request, error)
    if isinstance(error, RequestValidationError):
        faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return refuse(422, f"{faults}; see /docs for the fields")
    if isinstance(error, QueueFull):
        return refuse(429, str(error), {"Retry-After": str(RETRY_AFTER)})
    if isinstance(error, OSError) and error.errno not in FULL:
        raise error
    if isinstance(error, (OutputError, OSError)):
        return refuse(507, "the server has no room for the upload; try again later")
    return refuse(422, str(error))


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HANDLED = (HTTPException, RequestValidationError, ConfigError, InputError, OutputError, QueueFull, OSError)
