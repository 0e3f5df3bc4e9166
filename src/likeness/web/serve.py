"""`likeness serve`: one server with the page at / and the API under /v1."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from likeness import __version__
from likeness.errors import ConfigError
from likeness.pipeline.config import from_overrides
from likeness.scale.local import Pool
from likeness.scale.restoring import Limits
from likeness.web.api import HANDLED, answer_error, health, router
from likeness.web.guard import Guard, JsonFormatter
from likeness.web.jobs import Jobs
from likeness.web.work import WebWork

_LOG = logging.getLogger(__name__)


@dataclass
class ServeConfig:
    """How the server runs. The token is not an option: LIKENESS_TOKEN holds it, out of the sight of `ps`.

    Attributes:
        host, port: where it listens.
        workers: processes, each with its networks.
        jobs: folder of the jobs; empty: a temporary one, deleted at the end.
        ttl: seconds that a finished job is kept.
        queue: jobs that may wait.
        upload_mb: of one request.
        sync_mb: of a photo for POST /v1/restore.
        megapixels: of one frame.
        frames: of a clip.
        seconds: of work on one job.
        memory_mb: of one worker; enforced on Linux only; 0: no limit.
        page: serve the page, too.
        insecure: allow a host other than this machine without a token.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    workers: int = 1
    jobs: str = ""
    ttl: float = 3600
    queue: int = 50
    upload_mb: int = 512
    sync_mb: int = 16
    megapixels: float = 50
    frames: int = 20_000
    seconds: float = 3600
    memory_mb: int = 8000
    page: bool = True
    insecure: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "ttl", "queue", "upload_mb", "sync_mb", "megapixels", "frames", "seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected above 0")

    @property
    def limits(self) -> Limits:
        """Of one job."""
        return Limits(int(self.megapixels * 1e6), self.frames, self.seconds, self.memory_mb or None)


def settings_of(words: Sequence[str]) -> tuple[ServeConfig, list[str]]:
    """Splits `key=value` words into the server's and those of the restoration, which all jobs start from.

    Raises:
        ConfigError: for a value that makes no sense, or an unknown option.
    """
    names = {field.name for field in fields(ServeConfig)}
    own = [w for w in words if w.partition("=")[0] in names]
    rest = [w for w in words if w not in own]
    node = OmegaConf.structured(ServeConfig)
    for word in own:
        key, _, value = word.partition("=")
        try:
            OmegaConf.update(node, key, value)
        except OmegaConfBaseException as error:
            raise ConfigError(f"serve: {word}: {str(error).splitlines()[0]}") from error
    settings: ServeConfig = OmegaConf.to_object(node)  # type: ignore[assignment]
    from_overrides(rest)
    return settings, rest


def is_local(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(settings: ServeConfig, token: str) -> None:
    """Refuses an open server.

    Raises:
        ConfigError: for a host other than this machine without a token, unless insecure.
    """
    if not (token or settings.insecure or is_local(settings.host)):
        raise ConfigError(
            f"host: got {settings.host} without a token, so that anybody could use the server; "
            "set LIKENESS_TOKEN, or give insecure=true"
        )


def create_app(settings: ServeConfig, owner: Sequence[str], jobs: Jobs, token: str = "") -> FastAPI:
    """The application; `jobs` is closed when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPIOffline(
        title="Likeness", version=__version__, description="Restores faces without changing the person.",
        lifespan=lifespan, redoc_url=None,
    )  # fmt: skip
    app.state.jobs, app.state.settings = jobs, settings
    app.include_router(router)
    app.include_router(health)
    for kind in HANDLED:
        app.add_exception_handler(kind, answer_error)
    if settings.page:
        from likeness.web.page import mount_page

        mount_page(app, jobs, token, settings.upload_mb)
    local = is_local(settings.host) and not token and not settings.insecure
    app.add_middleware(Guard, token=token, local=local, body=settings.upload_mb * 2**20)
    return app


def serve(words: Sequence[str]) -> int:
    """Runs until it is told to stop (SIGTERM, Ctrl-C); running jobs go on with the next start.

    Raises:
        ConfigError: for options that make no sense, or an open server.
    """
    settings, owner = settings_of(words)
    token = os.environ.get("LIKENESS_TOKEN", "")
    check_access(settings, token)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s") if sys.stderr.isatty() else JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    _LOG.info("the networks load; then open http://%s:%d in a browser", settings.host, settings.port)
    with tempfile.TemporaryDirectory(prefix="likeness-") as temporary:
        root = Path(settings.jobs or temporary).absolute()
        _keep_temporary_files_in(root)
        work = WebWork(from_overrides(owner), settings.limits)
        pool = Pool(work, settings.workers, settings.seconds, settings.limits.memory_mb)
        jobs = Jobs(root, pool, owner, settings.queue, settings.ttl)
        app = create_app(settings, owner, jobs, token)
        uvicorn.run(
            app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=10,
        )  # fmt: skip
    return 0


def _keep_temporary_files_in(root: Path) -> None:
    """Uploads pass through temporary files; they lie in the jobs' root, where its limits and its deletion hold."""
    folder = root / ".temporary"
    shutil.rmtree(folder, ignore_errors=True)  # of a killed server
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)
    os.environ["TMPDIR"] = os.environ["GRADIO_TEMP_DIR"] = str(folder)  # of the workers, and of Gradio
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
