"""What a method is, how methods are registered, and how their results get to both sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from likeness.errors import ConfigError, InputError
from likeness.metrics.images import halve
from likeness.ops.resize import enlarge
from likeness.ops.tensors import stack_crops
from likeness.types import FloatArray

INPUT: Final = "input"  # the row that all others are compared with
PIPELINE: Final = "pipeline"
EXPERT_T: Final = "expert_t"
EXPERT_F: Final = "expert_f"

Run = Callable[[Sequence[FloatArray]], Sequence[FloatArray]]


@dataclass(frozen=True)
class MethodContext:
    """What a factory may need.

    Attributes:
        device: torch device.
        weights: file by name of the network; None = the released one.
        external_size: edge of the crops that the external network reads; None: 512 over its factor.
    """

    device: str = "cpu"
    weights: Mapping[str, str | None] = field(default_factory=dict)
    external_size: int | None = None


@dataclass(frozen=True)
class Method:
    """One way to restore.

    Attributes:
        name: in the tables.
        run: 256 crops, HWC float32 in [0, 1], to as many of 256 or 512 pixels, in order; or frames to frames.
        weights: SHA-256 of each weight file, for the provenance.
        takes: crops, whole frames of any size, or either.
        expert: whether the pipeline could run it, so that its identity guard applies.
    """

    name: str
    run: Run
    weights: Mapping[str, str] = field(default_factory=dict)
    takes: Literal["crops", "frames", "either"] = "crops"
    expert: bool = False


Factory = Callable[[MethodContext], Method]


class MethodRegistry:
    """Names to factories; a failed `add` changes nothing."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they were added."""
        return tuple(self._factories)

    def add(self, name: str, factory: Factory) -> None:
        """Registers a method.

        Raises:
            ConfigError: if the name is taken.
        """
        if name in self._factories:
            raise ConfigError(f"method '{name}' is there already; choose another name")
        self._factories[name] = factory

    def make(self, names: Sequence[str], context: MethodContext) -> list[Method]:
        """Makes methods in the order given.

        Raises:
            ConfigError: if a name is unknown or named twice, or there is none.
        """
        unknown = [n for n in names if n not in self._factories]
        if unknown or not names or len(set(names)) < len(names):
            raise ConfigError(f"methods: got {list(names)}, expected distinct ones out of {', '.join(self.names)}")
        return [self._factories[n](context) for n in names]


def at_both_sizes(name: str, restored: Sequence[FloatArray], count: int) -> dict[int, Tensor]:
    """A method's result at 256 and at 512.

    A 512 result goes to 256 by 2 x 2 mean; a 256 one goes to 512 by bicubic enlargement.

    Args:
        name: of the method, for messages.
        restored: its result, HWC float32.
        count: how many crops it was given.

    Returns:
        {256: (B, 3, 256, 256), 512: (B, 3, 512, 512)}, clipped to [0, 1], not yet rounded.

    Raises:
        InputError: if the method returns another number or size of pictures.
    """
    shapes = {r.shape for r in restored}
    if len(restored) != count or len(shapes) != 1 or not shapes <= {(256, 256, 3), (512, 512, 3)}:
        raise InputError(
            f"method '{name}' returned {len(restored)} pictures of {sorted(shapes)} for {count} crops; "
            "expected one each, all (256, 256, 3) or all (512, 512, 3)"
        )
    if restored[0].shape[0] == 512:
        full = clipped_batch(restored)
        return {256: halve(full), 512: full}
    return {256: clipped_batch(restored), 512: clipped_batch([enlarge(r, 2) for r in restored])}


def clipped_batch(pictures: Sequence[FloatArray]) -> Tensor:
    """HWC pictures of one size to (B, 3, H, W) float32, clipped to [0, 1]."""
    return stack_crops(pictures, torch.device("cpu")).contiguous().clamp(0, 1)
