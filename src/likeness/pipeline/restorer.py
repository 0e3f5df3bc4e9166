"""The public API: one `Restorer` for arrays, photos, videos and GIFs."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from likeness.errors import ConfigError, InputError, last_net
from likeness.media.files import kind_of
from likeness.media.naming import OutputNames, check_target, target_name
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.job import FileResult, Job, Progress
from likeness.pipeline.models import load_models, same_models
from likeness.pipeline.state import Context, FrameResult, Models
from likeness.stages.background.base import choose_upscale
from likeness.types import Faces, Pixels, check_pixels

__all__ = ["FileResult", "Restorer"]


class Restorer:
    """Restores faces. The networks load on first use. It keeps no data of any picture, so threads may share it.

    Args:
        config: all options; instead, single options may be given as keywords, with dots as in
            `Restorer(**{"faces.min": 60})`.

    Raises:
        ConfigError: for an unknown option or an invalid value.

    Examples:
        >>> import numpy as np
        >>> restorer = Restorer(**{"upscale": 2, "faces.min": 60, "background.name": "lanczos"})
        >>> result = restorer.image(np.zeros((64, 96, 3), np.uint8))
        >>> result.pixels.shape, len(result.faces)
        ((128, 192, 3), 0)
    """

    def __init__(self, config: RestorerConfig | None = None, **options: Any) -> None:
        if config is not None and options:
            raise ConfigError(f"Restorer: got a config and also {', '.join(options)}; give one or the other")
        words = [f"{key}={'null' if value is None else value}" for key, value in options.items()]
        self.config = config or from_overrides(words)
        self._models: Models | None = None
        self._lock = Lock()

    @property
    def models(self) -> Models:
        """The networks, loaded once.

        Raises:
            ConfigError: for a device that is not there.
            WeightsError: if a file is missing or does not fit.
        """
        with self._lock:
            if self._models is None:
                self._models = load_models(self.config)
            return self._models

    def with_config(self, config: RestorerConfig) -> Restorer:
        """A restorer with other options, which shares the loaded networks where these fit the options."""
        other = Restorer(config)
        if same_models(self.config, config):
            with self._lock:
                other._models = self._models
        return other

    def image(self, pixels: Pixels, faces: Faces | None = None) -> FrameResult:
        """Restores one picture.

        Args:
            pixels: HWC RGB, uint8 or uint16; not changed.
            faces: their places, largest first; the detector finds them if not given.

        Returns:
            The restored, enlarged pixels and the result of each face.

        Raises:
            InputError: for another kind of array.
        """
        check_pixels(pixels)
        upscale = choose_upscale(self.config.upscale, "photo", pixels.shape[1], pixels.shape[0])
        return restore_image(pixels, Context(self.models, self.config, "photo", upscale), faces)

    def file(
        self,
        path: Path | str,
        folder: Path | str,
        reference: Path | str | None = None,
        progress: Progress | None = None,
    ) -> FileResult:
        """Restores one photo, video or GIF into `folder`, with a comparison, cards and the report beside it.

        Args:
            path: the input, which is never changed.
            folder: created where it is missing.
            reference: the true picture or clip, with which the report compares input and output.
            progress: called for every frame of a clip with the number of frames done, where known of all, and the
                number of faces found so far; for a photo, with the tiles of its background instead of frames.

        Raises:
            LikenessError: with a message of one line; no incomplete file is left.
        """
        source = Path(path)
        with last_net(source):
            kind = kind_of(source)
            names = OutputNames(source, Path(folder) / target_name(source, kind))
            check_target(source, names.restored, kind)
            truth = None if reference is None else Path(reference)
            if truth is not None and (kind_of(truth) == "photo") != (kind == "photo"):
                raise InputError(f"{truth}: the reference of a photo is a photo, and that of a clip is a clip")
            return Job(self.models, self.config, names, kind, truth, progress).run()

    def video(self, path: Path | str, out: Path | str, progress: Progress | None = None) -> Mapping[str, Any]:
        """Restores one video (or GIF) to the file `out`; returns the report.

        Raises:
            InputError: if `path` is a photo.
            OutputError: if `out` cannot hold the result.
        """
        source, target = Path(path), Path(out)
        with last_net(source):
            kind = kind_of(source)
            if kind == "photo":
                raise InputError(f"{source}: is a photo, expected a video or GIF; use Restorer.file or Restorer.image")
            check_target(source, target, kind)
            job = Job(self.models, self.config, OutputNames(source, target), kind, progress=progress)
            return job.restore(companions=False)[0]

    def release(self) -> None:
        """Frees the networks; the next use loads them again. Calls in other threads keep them until they end."""
        with self._lock:
            self._models = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def weights_hashes(self) -> dict[str, str]:
        """sha256 of every weight file in use, by name."""
        return dict(self.models.hashes)
