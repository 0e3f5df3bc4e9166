"""The public API: one `Restorer` for arrays, photos, videos, GIFs and folders."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from likeness.errors import ConfigError, InputError
from likeness.media.files import atomic_output, kind_of, refuse_overwrite
from likeness.media.gif import GifReader, GifWriter
from likeness.media.images import ImageMeta, read_image, write_image
from likeness.media.video import VideoReader, VideoWriter, output_suffix
from likeness.pipeline.cards import Card, card_of, draw_cards, side_by_side
from likeness.pipeline.clips import restore_clip
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.models import load_models
from likeness.pipeline.reference import Comparison
from likeness.pipeline.report import Tally, build
from likeness.pipeline.steps import Clock, FaceResult, FrameResult, Models, process
from likeness.stages.background import choose_upscale
from likeness.stages.background import enlarge as enlarge_background
from likeness.types import Faces, Frame, MediaKind, Pixels, check_pixels
from likeness.weights.files import file_hash
from likeness.weights.manifest import released

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class FileResult:
    """What became of one file: its outputs by role ("restored", "compare", "cards", "report", "frames")."""

    outputs: Mapping[str, Path]
    report: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The line for a person."""
        return str(self.report["summary"])


class Restorer:
    """Restores faces. Models load on first use; it keeps nothing of any picture, so threads may share it.

    Args:
        config: all options; or give single ones as keywords, dots as in `Restorer(**{"faces.min": 60})`.

    Example:
        >>> from likeness import Restorer
        >>> restorer = Restorer(upscale=2)  # doctest: +SKIP
        >>> result = restorer.image(array)  # doctest: +SKIP
    """

    def __init__(self, config: RestorerConfig | None = None, **options: Any) -> None:
        if config is not None and options:
            raise ConfigError(f"Restorer: got a config and also {', '.join(options)}; give one or the other")
        self.config = config or from_overrides([f"{key}={value}" for key, value in options.items()])
        self._models: Models | None = None
        self._lock = Lock()

    @property
    def models(self) -> Models:
        """The networks, loaded once."""
        with self._lock:
            if self._models is None:
                self._models = load_models(self.config)
            return self._models

    def image(self, pixels: Pixels, faces: Faces | None = None) -> FrameResult:
        """Restores one picture.

        Args:
            pixels: HWC RGB, uint8 or uint16; not changed.
            faces: where they are; found by the detector if not given.

        Returns:
            The enlarged, restored pixels and what happened to each face.

        Raises:
            InputError: if it is no such array.
        """
        check_pixels(pixels)
        upscale = choose_upscale(self.config.upscale, "photo", pixels.shape[1], pixels.shape[0])
        clock = Clock()
        with clock.stage("detect"):
            found = self.models.detector.detect([pixels])[0] if faces is None else faces
        return process(pixels, found, self.models, self.config, "photo", upscale, clock=clock)

    def file(
        self, path: Path | str, folder: Path | str, reference: Path | str | None = None, progress: Progress | None = None
    ) -> FileResult:
        """Restores one photo, video or GIF into `folder`, beside a comparison, cards and the report.

        Raises:
            LikenessError: with one clear line; nothing half-written is left.
        """
        source, target = Path(path), Path(folder)
        kind = kind_of(source)
        name = source.name if kind != "video" else source.stem + output_suffix(source)
        refuse_overwrite(source, target / name)
        job = _Job(self, source, target, target / name, kind, reference, progress)
        return job.photo() if kind == "photo" else job.clip()

    def video(self, path: Path | str, out: Path | str, progress: Progress | None = None) -> Mapping[str, Any]:
        """Restores one video (or GIF) to the file `out`; returns the report.

        Raises:
            InputError: if `path` is a photo.
        """
        source, target = Path(path), Path(out)
        kind = kind_of(source)
        if kind == "photo":
            raise InputError(f"{source}: is a photo, expected a video or GIF; use Restorer.file or Restorer.image")
        refuse_overwrite(source, target)
        job = _Job(self, source, target.parent, target, kind, None, progress)
        return job.stream(frames_log=None, compare=None)

    def weights_hashes(self) -> dict[str, str]:
        """sha256 of every weight file in use."""
        hashes = {name: getattr(expert, "sha256", "") for name, expert in self.models.experts.items()}
        return hashes | {"calibration": file_hash(self.config.weights.calibration or released("calibration"))}


class _Job:
    """One file on its way through; everything that belongs to it alone."""

    def __init__(
        self,
        restorer: Restorer,
        source: Path,
        folder: Path,
        target: Path,
        kind: MediaKind,
        reference: Path | str | None,
        progress: Progress | None,
    ) -> None:
        self.restorer, self.config, self.source, self.folder = restorer, restorer.config, source, folder
        self.target, self.kind, self.progress = target, kind, progress
        self.reference = Path(reference) if reference else None
        self.tally, self.cards = Tally(), dict[int, Card]()
        self.notes: list[str] = []
        self.start = time.perf_counter()

    @property
    def wants_compare(self) -> bool:
        return self.config.compare == "yes" or (self.config.compare == "auto" and self.kind != "video")

    def beside(self, ending: str) -> Path:
        """A file beside the result, named after the source."""
        return self.folder / f"{self.source.stem}_{ending}"

    def photo(self) -> FileResult:
        """A still picture."""
        picture = read_image(self.source)
        frame = picture.frame
        self.notes.extend(picture.notes)
        result = self.restorer.image(frame.pixels)
        upscale = result.pixels.shape[0] // frame.pixels.shape[0]
        self._count(result.faces, result.seconds, None)
        outputs = {"restored": self.target}
        with atomic_output(self.target) as partial:
            if not self.tally.changed and upscale == 1:
                shutil.copyfile(self.source, partial)
                self.notes.append("nothing to restore: the file was copied")
            else:
                alpha = None if frame.alpha is None else enlarge_background(frame.alpha, upscale)
                write_image(partial, Frame(result.pixels, alpha=alpha), picture.meta)
        if self.wants_compare:
            outputs["compare"] = self.beside(f"compare{self.target.suffix}")
            with atomic_output(outputs["compare"]) as partial:
                write_image(partial, Frame(side_by_side(frame.pixels, result.pixels)), picture.meta)
        comparison = None
        if self.reference is not None:
            comparison = Comparison(self.restorer.models, self.config.weights.lpips)
            comparison.add(result.pixels, read_image(self.reference).frame.pixels, frame.pixels)
        return self._write(self._report(picture.info, outputs, upscale, comparison), outputs)

    def clip(self) -> FileResult:
        """A video or GIF."""
        outputs = {"restored": self.target, "frames": self.beside("frames.jsonl")}
        compare = None
        if self.wants_compare:
            compare = outputs["compare"] = self.beside(f"compare{self.target.suffix}")
        return self._write(self.stream(outputs["frames"], compare), outputs)

    def stream(self, frames_log: Path | None, compare: Path | None) -> dict[str, Any]:
        """Reads, restores and writes frame by frame; returns the report's data."""
        config, comparison = self.config, None
        if self.reference is not None:
            comparison = Comparison(self.restorer.models, config.weights.lpips)
        with ExitStack() as stack:
            reader = stack.enter_context(_reader(self.source, self.kind))
            info = reader.info
            upscale = choose_upscale(config.upscale, self.kind, info.width, info.height)
            size = (info.width * upscale, info.height * upscale)
            partial = stack.enter_context(atomic_output(self.target))
            side = stack.enter_context(atomic_output(compare)) if compare else None
            log_path = stack.enter_context(atomic_output(frames_log)) if frames_log else None
            truth = stack.enter_context(_reader(self.reference, kind_of(self.reference))) if self.reference else None
            truths = iter(truth) if truth else None
            with ExitStack() as writers:
                writer = writers.enter_context(_writer(partial, self.source, self.kind, reader, *size))
                second = None
                if side:
                    second = writers.enter_context(
                        _writer(side, self.source, self.kind, reader, 2 * size[0] + 4, size[1])
                    )
                log = writers.enter_context(log_path.open("w")) if log_path else None
                for frame, result in restore_clip(reader, self.restorer.models, config, self.kind, upscale):
                    records = self._count(result.faces, result.seconds, frame.index)
                    if log:
                        line = {"schema": 1, "frame": frame.index, "time": float(frame.time), "faces": records}
                        log.write(json.dumps(line) + "\n")
                    alpha = None if frame.alpha is None else enlarge_background(frame.alpha, upscale)
                    writer.write(Frame(result.pixels, frame.index, frame.time, frame.duration, alpha))
                    if second:
                        both = side_by_side(frame.pixels, result.pixels)
                        second.write(Frame(both, frame.index, frame.time, frame.duration))
                    if truths is not None and comparison is not None:
                        good = next(truths, None)
                        if good is None:
                            raise InputError(f"{self.reference}: ends before the input; the reference needs as many frames")
                        comparison.add(result.pixels, good.pixels, frame.pixels)
                    if self.progress:
                        self.progress(self.tally.frames, info.frames)
                self.notes.extend(getattr(writer, "notes", ()))
            if self.tally.frames == 0:
                raise InputError(f"{self.source}: holds no frame that can be decoded; check the file")
            if not self.tally.changed and upscale == 1:
                shutil.copyfile(self.source, partial)
                self.notes.append("nothing to restore: the file was copied, not encoded again")
        return self._report(info, {"restored": self.target}, upscale, comparison)

    def _count(
        self, faces: tuple[FaceResult, ...], seconds: Mapping[str, float], frame: int | None
    ) -> list[dict[str, Any]]:
        for number, face in enumerate(faces):
            key = number if face.track is None else face.track
            if key not in self.cards and len(self.cards) < self.config.cards:
                self.cards[key] = card_of(face, number, frame)
        return self.tally.add(faces, seconds)

    def _report(self, info: Any, outputs: Mapping[str, Path], upscale: int, comparison: Any) -> dict[str, Any]:
        return build(
            info,
            str(self.source),
            {role: str(path) for role, path in outputs.items()},
            self.config,
            upscale,
            self.tally,
            self.restorer.weights_hashes(),
            str(self.restorer.models.embedder.fc.weight.device),
            time.perf_counter() - self.start,
            self.notes,
            comparison.result() if comparison else None,
        )

    def _write(self, report: dict[str, Any], outputs: dict[str, Path]) -> FileResult:
        if self.config.cards:
            outputs["cards"] = self.beside("faces.png")
            with atomic_output(outputs["cards"]) as partial:
                write_image(partial, Frame(draw_cards(list(self.cards.values()))), ImageMeta())
        outputs["report"] = self.beside("report.json")
        report["outputs"] = {role: str(path) for role, path in outputs.items()}
        with atomic_output(outputs["report"]) as partial:
            partial.write_text(json.dumps(report, indent=1) + "\n")
        return FileResult(outputs, report)


def _reader(path: Path, kind: MediaKind) -> VideoReader | GifReader:
    if kind == "photo":
        raise InputError(f"{path}: is a photo, expected a clip; the reference of a clip is a clip")
    return VideoReader(path) if kind == "video" else GifReader(path)


def _writer(
    path: Path, source: Path, kind: MediaKind, reader: VideoReader | GifReader, width: int, height: int
) -> VideoWriter | GifWriter:
    return VideoWriter(path, source, width, height) if kind == "video" else GifWriter(path, reader.info)
