"""The methods that restore clips: frames in, enlarged frames out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from likeness.errors import ConfigError
from likeness.evaluation.methods.base import INPUT, PIPELINE, MethodContext
from likeness.evaluation.methods.crops import pipeline_config
from likeness.ops.resize import enlarge
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.models import load_models
from likeness.pipeline.state import ClipState, Context, FrameResult, Models, pasted
from likeness.pipeline.steps import restore_frame
from likeness.pipeline.video import restore_video
from likeness.types import FloatArray, Frame, Pixels

TEMPORAL_MEAN, PER_FRAME = "temporal_mean", "per_frame"
NAMES = (INPUT, TEMPORAL_MEAN, PER_FRAME, PIPELINE)
_WINDOW = 5  # frames of the temporal mean

Output = tuple[Pixels, Sequence[FloatArray]]  # an enlarged frame, and the landmarks of the faces restored in it
ClipMethod = Callable[[Iterator[Frame], int], Iterator[Output]]  # frames and factor to outputs


def make_clip_methods(
    names: Sequence[str], variants: Mapping[str, Sequence[str]], context: MethodContext
) -> tuple[dict[str, ClipMethod], dict[str, str]]:
    """Methods by name, and the hashes of their weights.

    Args:
        names: out of `NAMES` and the variants; `input` among them.
        variants: name of a row to the options of infer.py by which it differs from `pipeline`.
        context: device and weights.

    Raises:
        ConfigError: for an unknown name, a wrong option of a variant, or without the input, the base of comparison.
    """
    known = [*NAMES, *variants]
    if not set(names) <= set(known) or INPUT not in names or set(NAMES) & set(variants):
        raise ConfigError(
            f"methods: got {list(names)}, expected {INPUT} and others out of {', '.join(known)}, each name once"
        )
    methods: dict[str, ClipMethod] = {}
    hashes: dict[str, str] = {}
    loaded: dict[tuple[str, ...], tuple[Models, RestorerConfig]] = {}
    for name in names:
        if name in (INPUT, TEMPORAL_MEAN):
            methods[name] = enlarged if name == INPUT else temporal_mean
            continue
        words = tuple(variants.get(name, ()))
        if words not in loaded:
            config = pipeline_config(context, words)
            loaded[words] = load_models(config), config
        methods[name] = (per_frame if name == PER_FRAME else pipeline)(*loaded[words])
        hashes |= loaded[words][0].hashes
    return methods, hashes


def enlarged(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
    """Bicubic enlargement: the row that all others are compared with."""
    for frame in frames:
        yield enlarge(frame.pixels, factor), ()


def temporal_mean(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
    """The mean of five neighbouring frames, enlarged: blur that wins a plain T-MSE."""
    window: deque[Pixels] = deque(maxlen=_WINDOW)
    reach = _WINDOW // 2
    pending = 0
    for frame in frames:
        window.append(frame.pixels)
        pending += 1
        if pending > reach:
            yield _mean(window, factor), ()
    for _ in range(min(pending, reach)):
        if len(window) > reach + 1:
            window.popleft()
        yield _mean(window, factor), ()


def per_frame(models: Models, config: RestorerConfig) -> ClipMethod:
    """The pipeline on every frame by itself, without memory."""

    def run(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
        for frame in frames:
            result, _ = restore_frame(frame, ClipState(), Context(models, config, "video", factor))
            yield _output(result, factor)

    return run


def pipeline(models: Models, config: RestorerConfig) -> ClipMethod:
    """The pipeline as infer.py runs it."""

    def run(frames: Iterator[Frame], factor: int) -> Iterator[Output]:
        for _, result, _ in restore_video(frames, Context(models, config, "video", factor)):
            yield _output(result, factor)

    return run


def _output(result: FrameResult, factor: int) -> Output:
    # Pixel centres: the source's 0 lies at (factor - 1) / 2 of the enlarged frame.
    points = [(f.face.landmarks[0] + 0.5) * factor - 0.5 for f in result.faces if pasted(f)]
    return result.pixels, [p.astype(np.float32) for p in points]


def _mean(frames: deque[Pixels], factor: int) -> Pixels:
    mean = np.mean([f.astype(np.float32) for f in frames], axis=0)
    return enlarge(np.rint(mean).astype(np.uint8), factor)
