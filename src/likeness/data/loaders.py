"""Samplers and loaders of an endless data set that can be resumed in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler


class EndlessSampler(Sampler[int]):
    """Sample numbers that never repeat: each epoch continues where the last one ended.

    Args:
        length: numbers in one epoch, over all processes.
        rank: of this process.
        world: number of processes; each takes every `world`-th number.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.rank, self.world, self.epoch = length, rank, world, 0
        self._skip: tuple[int, int] = (-1, 0)  # epoch, and how many of its numbers are done

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def skip(self, epoch: int, count: int) -> None:
        """Skips the first `count` numbers that this process would take in `epoch`."""
        self._skip = epoch, count

    def skipped(self) -> int:
        """How many numbers are skipped in the current epoch."""
        return self._skip[1] if self._skip[0] == self.epoch else 0

    def __len__(self) -> int:
        return self.length // self.world

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.length + self.rank
        return iter(range(first, first + len(self) * self.world, self.world)[self.skipped() :])


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A DataLoader over an `EndlessSampler` that resumes in the middle of an epoch.

    Lightning keeps `state_dict` in its checkpoints. Without it a resumed epoch would start again with samples that were
    already used. To overfit, Lightning replaces the sampler by a plain one: every epoch then has the same samples, and
    none is skipped.
    """

    batch_size: int
    _done = 0  # batches returned in the current epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        sampler = self.sampler
        self._done = sampler.skipped() // self.batch_size if isinstance(sampler, EndlessSampler) else 0
        for batch in super().__iter__():
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position in the epoch."""
        return {"epoch": getattr(self.sampler, "epoch", -1), "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resumes at a stored position."""
        if isinstance(self.sampler, EndlessSampler):
            self.sampler.skip(state["epoch"], state["batches"] * self.batch_size)
