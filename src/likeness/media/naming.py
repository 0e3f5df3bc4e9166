"""Names of files: input suffixes, output file names, what lies beside a result, and what is never overwritten."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.errors import OutputError
from likeness.types import Frame, MediaKind

PHOTO_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .tif .tiff .bmp .avif .heic .heif".split()  # noqa: SIM905
)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .mts .wmv .flv .3gp .ogv".split()  # noqa: SIM905
)
GIF_SUFFIXES = frozenset({".gif"})
MEDIA_SUFFIXES = PHOTO_SUFFIXES | VIDEO_SUFFIXES | GIF_SUFFIXES  # that promise a medium; the content decides

# What is written: Pillow's format by suffix (the first suffix of a format is its usual one), containers of videos, and
# animations.
PHOTO_FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".avif": "AVIF",
}  # fmt: skip
ALPHA_FORMATS = frozenset({"PNG", "WEBP", "TIFF", "AVIF"})
DEEP_FORMATS = frozenset({"PNG"})  # 16 bits a channel
_NAME_LIMIT = 255  # bytes in a file name; Windows and macOS take as many characters
VIDEO_CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")
ANIMATION_SUFFIXES = (".gif", ".webp", ".png", ".apng")


def photo_suffix(suffix: str, frame: Frame, format: str) -> str:
    """The suffix of a photo's result.

    Args:
        suffix: of the source.
        frame: the photo; its depth and alpha decide.
        format: of the source by its content, "jpeg", "png" ...

    Returns:
        `suffix` where its format holds the frame, else the usual suffix of the source's format, else ".png" for PNM, 16
        bits or alpha and ".jpg" for the rest.
    """
    usual = next((name for name, known in PHOTO_FORMATS.items() if known == format.upper()), "")
    plain = frame.alpha is None and frame.pixels.dtype == np.uint8 and format != "ppm"  # which is lossless
    return next((name for name in (suffix, usual) if _holds(name, frame)), ".jpg" if plain else ".png")


def _holds(suffix: str, frame: Frame) -> bool:
    format = PHOTO_FORMATS.get(suffix.lower())
    if format is None or (frame.alpha is not None and format not in ALPHA_FORMATS):
        return False
    return frame.pixels.dtype == np.uint8 or format in DEEP_FORMATS


def video_suffix(suffix: str) -> str:
    """The suffix of a video's result: MP4, MOV, MKV and WebM stay, M4V becomes MP4, all others become MKV."""
    suffix = ".mp4" if suffix.lower() == ".m4v" else suffix.lower()
    return suffix if suffix in VIDEO_CONTAINERS else ".mkv"


def fitted(stem: str, ending: str) -> str:
    """`stem + ending`; a stem that would make the name too long is cut, and a hash of it keeps cut names apart."""
    if len(os.fsencode(stem + ending)) <= _NAME_LIMIT:
        return stem + ending
    ending = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
    while stem and len(os.fsencode(stem + ending)) > _NAME_LIMIT:
        stem = stem[:-1]
    return stem + ending


def folder_name(source: Path, ending: str = "") -> str:
    """The folder of a source's results: its stem and `ending`, or its whole name where the stem is nothing but dots."""
    return fitted(source.stem if source.stem.strip(".") else source.name, ending)


def target_name(source: Path, kind: MediaKind) -> str:
    """The result's name: that of the source, with another suffix only where the source's is not written.

    A photo's suffix may still change with what it holds, see `photo_suffix`.
    """
    if kind == "video":
        return fitted(source.stem, video_suffix(source.suffix))
    if kind == "gif" and source.suffix.lower() not in ANIMATION_SUFFIXES:
        return fitted(source.stem, ".webp" if source.suffix.lower() == ".avif" else ".gif")
    return source.name


@dataclass(frozen=True)
class OutputNames:
    """Paths of a result and of the files beside it, named after the source.

    For `a.mp4`: a.mp4 restored, a_compare.mp4, a_faces.png, a_face0_1.png, a_report.json,
    a_frames.jsonl.

    Attributes:
        source: the input.
        restored: the result.
    """

    source: Path
    restored: Path

    def compare(self, suffix: str) -> Path:
        """before | after, in a file of the result's kind."""
        return self._beside(f"compare{suffix}")

    @property
    def cards(self) -> Path:
        """One card a face."""
        return self._beside("faces.png")

    def shot(self, face: int, rank: int) -> Path:
        """One of the best shots of a face of a clip, 1 = the best."""
        return self._beside(f"face{face}_{rank}.png")

    @property
    def frames(self) -> Path:
        """The log of a clip's frames, one JSON object a line."""
        return self._beside("frames.jsonl")

    @property
    def report(self) -> Path:
        """The report as JSON."""
        return self._beside("report.json")

    @property
    def segments(self) -> Path:
        """The hidden folder in which `resume=true` keeps finished segments."""
        return self.restored.with_name(fitted(f".{self.restored.name}", ".segments"))

    @property
    def notes(self) -> list[str]:
        """For a person, whether names were cut."""
        name = self.report.name
        if name == f"{self.source.stem}_report.json":
            return []
        return [f"the name is too long for the files beside the result, which begin with {name[: -len('report.json')]}"]

    def with_suffix(self, suffix: str) -> Path:
        """The result's path with another suffix."""
        return self.restored.with_name(fitted(self.restored.stem, suffix))

    def _beside(self, ending: str) -> Path:
        return self.restored.with_name(fitted(self.source.stem, f"_{ending}"))


def check_target(source: Path, target: Path, kind: MediaKind) -> None:
    """Checks that a result may be written to `target`.

    Raises:
        OutputError: if an animation's `target` is no animation, or `target` is `source` itself.
    """
    if kind == "gif" and target.suffix.lower() not in ANIMATION_SUFFIXES:
        raise OutputError(f"{target}: {source} is an animated picture; give the suffix .gif, .webp or .png")
    refuse_overwrite(source, target)


def require_inside(path: Path, folder: Path) -> None:
    """Raises OutputError unless `path`, with all links followed, lies below `folder`."""
    if folder.resolve() not in path.resolve().parents:
        raise OutputError(f"{path}: leads out of the output folder {folder}; remove the link or choose another output")


def refuse_overwrite(source: str | Path, target: str | Path) -> None:
    """Raises OutputError if `target` is the file `source`, also through links or another spelling of the path."""
    source, target = Path(source), Path(target)
    same = source.resolve() == target.resolve()
    if source.exists() and target.exists():
        same = same or os.path.samefile(source, target)
    if same:
        raise OutputError(f"{target}: is the input itself, which is never overwritten; choose another output")
