"""Another frame rate: which pictures are shown when, and which of them are interpolated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, gcd

import numpy as np

from likeness.errors import ConfigError
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.interpolation import Between, Interpolator
from likeness.types import Frame

STILL = Fraction(1, 5)  # seconds; a frame that is shown longer is a still, not slow motion


@dataclass(frozen=True)
class FrameRate:
    """The frame rate of a result; one of the two is given.

    Attributes:
        rate: frames a second, at equal distances whatever the source's times.
        factor: so many pictures for each frame of the source, which keeps a variable frame rate.
    """

    rate: Fraction | None = None
    factor: int | None = None

    @classmethod
    def parse(cls, text: str) -> FrameRate:
        """Reads `60`, `59.94`, `60000/1001` or `2x`.

        Raises:
            ConfigError: for other text, a rate that is not above 0 and at most 240, or a factor not from 2 to 8.

        Examples:
            >>> FrameRate.parse("60").rate, FrameRate.parse("2x").factor
            (Fraction(60, 1), 2)
        """
        if re.fullmatch("[2-8]x", text):
            return cls(factor=int(text[0]))
        rate = Fraction(text) if re.fullmatch(r"\d+(\.\d+|/[1-9]\d*)?", text) else Fraction(0)
        if not 0 < rate <= 240:
            raise ConfigError(f"video.fps: got {text!r}, expected frames a second up to 240, such as 60, or 2x to 8x")
        return cls(rate=rate)

    def of(self, source: Fraction) -> Fraction:
        """Frames a second of the result of a source with so many."""
        return self.rate if self.factor is None else source * self.factor  # type: ignore[return-value]

    def tick(self, source: Fraction) -> Fraction:
        """The longest tick of a clock, in seconds, that shows all times of the result exactly.

        Args:
            source: tick of the source's clock, in seconds.
        """
        step = source / self.factor if self.factor else 1 / self.of(source)
        both = source.denominator * step.denominator
        return Fraction(gcd(source.numerator * step.denominator, step.numerator * source.denominator), both)

    def slots(self, first: Fraction, begin: Fraction, end: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
        """Time and duration of all pictures that begin in [begin, end), in a clip that begins at `first`."""
        step = (end - begin) / self.factor if self.factor else 1 / self.of(begin)
        base = begin if self.factor else first
        number = ceil((begin - base) / step)
        while (time := base + number * step) < end:
            yield time, step
            number += 1


class FrameRateConverter:
    """Turns frames in order into those of another frame rate; holds one frame.

    Between two frames the interpolator makes the pictures. Across a cut, in a still, and after the last frame the
    earlier frame stays until the next one is due.

    Args:
        rate: of the result.
        interpolate: makes pictures between two frames.
        cut: mean difference of two thumbnails from which a new shot begins, as in tracking.

    Attributes:
        frames: that were returned.
        interpolated: of these, pictures that are none of the source's.
    """

    def __init__(self, rate: FrameRate, interpolate: Interpolator, cut: float) -> None:
        self.rate, self._interpolate, self._cut = rate, interpolate, cut
        self.frames = self.interpolated = 0
        self._first = self._gap = Fraction(0)
        self._last: Frame | None = None

    def push(self, frame: Frame) -> list[Frame]:
        """Takes the next frame; returns the pictures that are shown before it."""
        last, self._last = self._last, frame
        if last is None:
            self._first = frame.time
            return []
        self._gap = frame.time - last.time
        return list(self._between(last, frame, frame.time))

    def finish(self) -> list[Frame]:
        """The pictures from the last frame to its end; where that is unknown, it is shown as long as the one before."""
        if self._last is None:
            return []
        duration = self._last.duration or self._gap or 1 / self.rate.of(Fraction(25))
        return list(self._between(self._last, None, self._last.time + duration))

    def _between(self, last: Frame, following: Frame | None, end: Fraction) -> Iterator[Frame]:
        moves = following is not None and self._moves(last, following)
        picture: Between | None = None
        for time, duration in self.rate.slots(self._first, last.time, end):
            shown = last
            if time > last.time and following is not None and moves:
                picture = picture or self._interpolate(_layers(last), _layers(following))
                layers = picture(float((time - last.time) / (end - last.time)))
                alpha = None if last.alpha is None else layers[..., 3]
                shown = replace(last, pixels=np.ascontiguousarray(layers[..., :3]), alpha=alpha)
                self.interpolated += 1
            yield replace(shown, index=self.frames, time=time, duration=duration)
            self.frames += 1

    def _moves(self, last: Frame, following: Frame) -> bool:
        if following.time - last.time > STILL or np.array_equal(last.pixels, following.pixels):
            return False
        return not is_cut(thumbnail(last.pixels), thumbnail(following.pixels), self._cut)


def _layers(frame: Frame) -> np.ndarray:
    """The pixels, with alpha as a fourth channel."""
    return frame.pixels if frame.alpha is None else np.dstack([frame.pixels, frame.alpha])
