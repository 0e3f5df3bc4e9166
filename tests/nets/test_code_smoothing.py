"""What is held from frame to frame, against hand-made numbers."""

from __future__ import annotations

import pytest
import torch

from likeness.nets.code_smoothing import CodeSmoothing, CodeState, pool_tokens, smooth_codes, stack_states

HEADS, WIDTH = 2, 3


def past(codes: torch.Tensor, weight: float = 1.0, clean: float = 0.0) -> CodeState:
    return CodeState(torch.full((1, 2, 4), clean), codes, torch.tensor([weight]))


def test_pooled_tokens_are_the_weighted_mean_of_all_frames() -> None:
    values, weights = [1.0, 4.0, -2.0, 8.0], [1.0, 3.0, 2.0, 0.5]
    before = past(torch.zeros(1, HEADS * WIDTH, 1, 1), 0.0)
    for value, weight in zip(values, weights, strict=True):
        smoothing = CodeSmoothing(before, torch.tensor([weight]))
        mean = pool_tokens(torch.full((1, 2, 4), value), smoothing)
        before = CodeState(mean, before.codes, before.weight + weight)
    expected = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, torch.full((1, 2, 4), expected))


@pytest.mark.parametrize(
    ("distance", "threshold", "share"),
    [(0.0, 0.5, 0.0), (0.1, 0.5, 0.04), (0.25, 0.5, 0.25), (0.5, 0.5, 1.0), (0.9, 0.5, 1.0), (0.1, 0.0, 1.0)],
    ids=str,
)
def test_a_code_gives_way_by_the_square_of_its_distance(distance: float, threshold: float, share: float) -> None:
    before = torch.nn.functional.normalize(
        torch.randn(1, HEADS * WIDTH, 2, 2, generator=torch.Generator().manual_seed(0))
    )
    new = before.clone()
    new[:, 0] += distance  # of the first codebook alone
    found = smooth_codes(new, CodeSmoothing(past(before), torch.ones(1), True, threshold), HEADS)
    graph = smooth_codes(new, CodeSmoothing(past(before), torch.ones(1), True, torch.tensor(threshold)), HEADS)
    assert torch.equal(found, graph)  # as an input of a graph it does the same
    expected = before.clone()
    expected[:, 0] += share * distance
    torch.testing.assert_close(found, expected)
    if share in (0.0, 1.0):
        assert torch.equal(found, new)


def test_a_face_without_a_past_takes_its_new_codes() -> None:
    new = torch.randn(2, HEADS * WIDTH, 2, 2, generator=torch.Generator().manual_seed(1)) * 0.1
    seen = past(torch.zeros(1, HEADS * WIDTH, 2, 2))
    both = stack_states([None, seen], past(torch.zeros(1, HEADS * WIDTH, 2, 2), 0.0))
    found = smooth_codes(new, CodeSmoothing(both, torch.ones(2), True, 5.0), HEADS)
    assert torch.equal(found[0], new[0])
    assert float(found[1].abs().max()) < 0.01 * float(new[1].abs().max())
    assert both.weight.tolist() == [0.0, 1.0]
