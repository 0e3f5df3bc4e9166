"""What the server's workers do beyond restoring: pictures that a browser shows. Imports no server."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from likeness.media.files import atomic_output
from likeness.media.image_writer import write_image
from likeness.media.images import ImageMeta, read_image
from likeness.ops.color import to_float, to_integer
from likeness.ops.resize import resize
from likeness.pipeline.restorer import FileResult
from likeness.scale.local import Progress, Work
from likeness.scale.restoring import RestoreTask, RestoreWork
from likeness.types import Frame, Pixels

LONGEST = 1600  # pixels of a preview's longer side
BEFORE, AFTER = "before.jpg", "after.jpg"


@dataclass(frozen=True)
class WebWork(RestoreWork):
    """`RestoreWork`, and previews of photos: before and after at one size, JPEG whatever the source was."""

    def __call__(self) -> Work[RestoreTask, FileResult]:
        """Called once in every worker."""
        cv2.setNumThreads(1)
        restore = super().__call__()

        def work(task: RestoreTask, progress: Progress) -> FileResult:
            result = restore(task, progress)
            if result.report["input"]["kind"] == "photo":
                write_previews(task, result)
            return result

        return work


def write_previews(task: RestoreTask, result: FileResult) -> None:
    """Writes `BEFORE` and `AFTER` into the task's folder."""
    after = read_image(result.outputs["restored"]).frame.pixels
    height, width = after.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    for name, pixels in ((BEFORE, read_image(task.source).frame.pixels), (AFTER, after)):
        with atomic_output(task.folder / name) as partial:
            write_image(partial, Frame(_small(pixels, size)), ImageMeta())


def _small(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return to_integer(resize(to_float(pixels), *size))
