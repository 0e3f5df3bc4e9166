"""What the workers of `local.Pool` do: restore one file within limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from likeness.errors import ConfigError, InputError
from likeness.media.files import kind_of
from likeness.media.readers import open_reader
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.restorer import FileResult, Restorer
from likeness.scale.local import Progress, Work


@dataclass(frozen=True)
class RestoreTask:
    """One file to restore; see `Restorer.file`."""

    source: Path
    folder: Path
    config: RestorerConfig
    reference: Path | None = None


@dataclass(frozen=True)
class Limits:
    """What one job may use. None: no limit.

    Attributes:
        pixels: of one frame of the input.
        frames: of the input.
        seconds: wall-clock time of the job.
        memory_mb: private memory of a worker; enforced on Linux only.
    """

    pixels: int | None = None
    frames: int | None = None
    seconds: float | None = None
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value <= 0:
                raise ConfigError(f"limits: got {name}={value}, expected above 0")


@dataclass(frozen=True)
class RestoreWork:
    """Loads the networks that `config` names; the function it returns restores one file.

    A task whose options need other networks loads them, and keeps them until another task needs others.
    """

    config: RestorerConfig
    limits: Limits = Limits()

    def __call__(self) -> Work[RestoreTask, FileResult]:
        """Called once in every worker."""
        if self.limits.pixels is not None:
            Image.MAX_IMAGE_PIXELS = max(1, self.limits.pixels // 2)  # Pillow refuses beyond twice this number
        restorer = Restorer(self.config)
        restorer.models  # noqa: B018  (loads them now, not with the first task)

        def work(task: RestoreTask, progress: Progress) -> FileResult:
            nonlocal restorer
            restorer = restorer.with_config(task.config)
            for path in filter(None, (task.source, task.reference)):
                check_size(path, self.limits)

            def advance(done: int, total: int | None, faces: int) -> None:
                progress(done, total, faces)
                _check_frames(task.source, max(done, total or 0), self.limits)

            photo = kind_of(task.source) == "photo"  # its steps are tiles, not frames
            return restorer.file(task.source, task.folder, task.reference, progress if photo else advance)

        return work


def check_size(path: Path, limits: Limits) -> None:
    """Refuses a clip that is too large or too long before any of its frames is decoded; photos are Pillow's to refuse.

    Raises:
        InputError: beyond a limit, or unreadable.
    """
    kind = kind_of(path)
    if kind == "photo":
        return
    with open_reader(path, kind) as reader:
        info = reader.info
    if limits.pixels is not None and info.width * info.height > limits.pixels:
        raise InputError(
            f"{path}: has {info.width} x {info.height} pixels, above {limits.pixels / 1e6:g} megapixels; reduce it"
        )
    _check_frames(path, info.frames or 0, limits)


def _check_frames(path: Path, frames: int, limits: Limits) -> None:
    if limits.frames is not None and frames > limits.frames:
        raise InputError(f"{path}: has more than {limits.frames} frames, the limit; cut it into shorter clips")
