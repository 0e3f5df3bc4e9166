"""A video written at another frame rate (`video.fps`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.stages.temporal.config import VideoConfig
from likeness.stages.temporal.frame_rate import FrameRate, FrameRateConverter
from likeness.stages.temporal.interpolation import INTERPOLATORS
from likeness.types import Frame


class RetimedWriter(VideoWriter):
    """Takes the frames of the source, and writes those of the frame rate that `video` names.

    Sound, start and duration stay those of the source.

    Args:
        path, reader, width, height, label: as of `VideoWriter`.
        video: options, with a frame rate.
    """

    def __init__(
        self, path: Path, reader: VideoReader, width: int, height: int, video: VideoConfig, label: bool
    ) -> None:
        rate, source = FrameRate.parse(video.fps), reader.source
        retimed = replace(source, time_base=rate.tick(source.time_base), rate=rate.of(source.rate))
        super().__init__(path, retimed, width, height, effort=video.effort, label=label)
        self._converter = FrameRateConverter(rate, INTERPOLATORS[video.interpolator].load(None), video.cut)

    def write(self, frame: Frame) -> None:
        """Takes one frame, and encodes the pictures that are shown before it."""
        for picture in self._converter.push(frame):
            super().write(picture)

    def _finish(self) -> None:
        for picture in self._converter.finish():
            super().write(picture)
        made = self._converter
        rate = f"frame rate: {float(self.source.rate):.5g} frames a second"
        self.notes.append(f"{rate}, {made.interpolated} of {made.frames} interpolated")
        super()._finish()
