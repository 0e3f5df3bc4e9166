"""Clips: `restore_frame` over every frame. Memory does not grow with length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from likeness.pipeline.state import ClipState, Context, FrameResult
from likeness.pipeline.steps import restore_frame
from likeness.types import Frame


def restore_video(
    frames: Iterable[Frame], context: Context, state: ClipState | None = None
) -> Iterator[tuple[Frame, FrameResult, ClipState]]:
    """Restores frame after frame.

    Args:
        frames: in order.
        context: networks and options.
        state: after an earlier part of the clip; None at its start.

    Yields:
        The source frame, its result, and the state to continue from.
    """
    state = state or ClipState()
    for frame in frames:
        result, state = restore_frame(frame, state, context)
        yield frame, result, state
