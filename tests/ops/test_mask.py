"""What is pasted: the part of a crop that holds the whole mask and little else."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.ops.mask import pasted_part, template_mask


@pytest.mark.parametrize(("size", "factor"), [(256, 1), (256, 2), (512, 1), (64, 4)])
def test_the_part_holds_the_mask(size: int, factor: int) -> None:
    mask = template_mask(size * factor).copy()
    part = pasted_part(size, factor)
    assert 0.35 < mask[part].size / mask.size < 0.55
    edges = mask[part][[0, -1]], mask[part][:, [0, -1]]
    assert not any(edge.any() for edge in edges)
    assert mask[part].sum() == pytest.approx(mask.sum())
    mask[part] = 0
    assert not mask.any()


def test_of_an_enlargement_it_is_the_same_part() -> None:
    small, large = np.zeros((256, 256)), np.zeros((512, 512))
    small[pasted_part(256)] = 1
    large[pasted_part(256, 2)] = 1
    np.testing.assert_array_equal(np.kron(small, np.ones((2, 2))), large)
