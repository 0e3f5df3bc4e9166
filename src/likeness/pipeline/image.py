"""Photos: `restore_frame` over one frame, without memory."""

from __future__ import annotations

from likeness.pipeline.state import ClipState, Context, FrameResult
from likeness.pipeline.steps import restore_frame
from likeness.types import Faces, Frame, Pixels


def restore_image(pixels: Pixels, context: Context, faces: Faces | None = None) -> FrameResult:
    """Restores one picture.

    Args:
        pixels: HWC uint8 or uint16; not changed.
        context: networks and options.
        faces: known faces, largest first; None: detect them.
    """
    return restore_frame(Frame(pixels), ClipState(), context, faces)[0]
