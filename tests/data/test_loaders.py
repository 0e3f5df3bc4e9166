"""The endless sampler: numbers over epochs, processes and resumed runs."""

from __future__ import annotations

import pytest

from likeness.data.loaders import EndlessSampler


def test_numbers_never_repeat_over_epochs() -> None:
    sampler = EndlessSampler(5)
    seen = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert len(sampler) == 5
        seen += list(sampler)
    assert seen == list(range(15))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_divide_the_numbers(world: int) -> None:
    samplers = [EndlessSampler(12, rank, world) for rank in range(world)]
    seen: list[int] = []
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
            assert len(list(sampler)) == len(sampler) == 12 // world
            seen += list(sampler)
    assert sorted(seen) == list(range(24))


def test_skip_applies_to_its_epoch_only() -> None:
    sampler = EndlessSampler(6)
    sampler.skip(1, 4)
    sampler.set_epoch(1)
    assert list(sampler) == [10, 11]
    assert len(sampler) == 6  # Lightning counts by the epoch's full length
    sampler.set_epoch(2)
    assert list(sampler) == list(range(12, 18))
