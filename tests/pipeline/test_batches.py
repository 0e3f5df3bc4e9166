"""Batches that fit into memory: order kept, halved when it runs out, and said so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness.errors import MemoryExceeded
from likeness.pipeline.batches import restore_in_batches
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.image import restore_image
from likeness.pipeline.report import Tally
from likeness.pipeline.state import Context
from likeness.types import Restored

MESSAGES = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError("Unable to allocate 3 GiB"),
}


class Tight:
    """An expert that fits `room` faces at once."""

    name, input_size, output_size, sha256 = "expert_f", 256, 512, "0" * 64

    def __init__(self, room, error):
        self.room, self.error, self.sizes = room, error, []

    def restore(self, crops, conditions=None):
        self.sizes.append(len(crops))
        if len(crops) > self.room:
            raise self.error
        return [Restored(np.repeat(np.repeat(c, 2, 0), 2, 1)) for c in crops]


def faces(count):
    return [np.full((256, 256, 3), i / 100, np.float32) for i in range(count)]


@pytest.mark.parametrize("kind", MESSAGES)
def test_halved_until_it_fits_and_in_order(kind):
    expert = Tight(2, MESSAGES[kind])
    done, halved = restore_in_batches(expert, faces(11))
    assert [round(float(r.image[0, 0, 0]) * 100) for r in done] == list(range(11))
    assert halved == 2
    assert expert.sizes == [8, 4, 2, 2, 2, 2, 2, 1]


def test_a_small_batch_is_halved_from_its_own_size():
    expert = Tight(2, MESSAGES["cpu"])
    assert restore_in_batches(expert, faces(3))[1] == 1
    assert expert.sizes == [3, 1, 1, 1]


def test_enough_memory_is_not_worth_a_word():
    assert restore_in_batches(Tight(8, MESSAGES["cpu"]), faces(9))[1] == 0
    assert restore_in_batches(Tight(8, MESSAGES["cpu"]), []) == ([], 0)


def test_not_even_one():
    with pytest.raises(MemoryExceeded, match=r"one face of 256 px does not fit .*CUDA out of memory.*device=cpu") as e:
        restore_in_batches(Tight(0, MESSAGES["cuda"]), faces(5))
    assert "\n" not in str(e.value)


def test_other_errors_are_not_taken_for_it():
    expert = Tight(0, RuntimeError("sizes do not match"))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        restore_in_batches(expert, faces(4))
    assert expert.sizes == [4]


def test_the_report_says_so(scene, face_at, together, make_models):
    models = make_models(expert=Tight(1, MESSAGES["cuda"]))
    two = together(face_at(90, 110, 80), face_at(240, 110, 70))
    result = restore_image(scene, Context(models, RestorerConfig(), "photo", 1), two)
    assert all("memory ran out: the batch was halved 1 times" in r.notes for r in result.faces)
    tally = Tally()
    tally.add(result)
    assert tally.fallbacks["memory ran out"] == 2
