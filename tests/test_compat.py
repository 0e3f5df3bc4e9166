"""The torchvision shim: suppression as torchvision defines it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likeness import compat


def suppress_slowly(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Greedy suppression, written out box by box."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        a = boxes[best]
        rest = []
        for i in left:
            b = boxes[i]
            width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            both = width * height
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
            if both / union <= threshold:
                rest.append(i)
        left = rest
    return kept


A = (0.0, 0.0, 10.0, 10.0)
CASES = {
    "no box": ([], [], 0.5, []),
    "one box": ([A], [0.3], 0.5, [0]),
    "the better twin stays": ([A, A], [0.2, 0.9], 0.5, [1]),
    "equal scores: the first stays": ([A, A], [0.5, 0.5], 0.5, [0]),
    "apart": ([A, (20.0, 0.0, 30.0, 10.0)], [0.2, 0.9], 0.5, [1, 0]),
    # Half of each box is shared: IoU 50 / 150.
    "overlap of a third, bound above": ([A, (5.0, 0.0, 15.0, 10.0)], [0.9, 0.8], 0.34, [0, 1]),
    "overlap of a third, bound below": ([A, (5.0, 0.0, 15.0, 10.0)], [0.9, 0.8], 0.33, [0]),
    "overlap equal to the bound stays": ([A, (0.0, 0.0, 10.0, 5.0)], [0.9, 0.8], 0.5, [0, 1]),
    # The middle box is dropped by the first, so it cannot drop the third.
    "a dropped box drops none": (
        [A, (4.0, 0.0, 14.0, 10.0), (8.0, 0.0, 18.0, 10.0)],
        [0.9, 0.8, 0.7],
        0.4,
        [0, 2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_known_boxes(name: str) -> None:
    boxes, scores, threshold, expected = CASES[name]
    kept = compat.nms(torch.tensor(boxes).view(-1, 4), torch.tensor(scores), threshold)
    assert kept.tolist() == expected
    assert kept.dtype == torch.int64


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_as_written_out_box_by_box(threshold: float) -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 60, (80, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 40, (80, 2))])
    scores = rng.permutation(80) / 80
    kept = compat.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert kept.tolist() == suppress_slowly(boxes, scores, threshold)


def test_inputs_unchanged() -> None:
    boxes, scores = torch.tensor([A, A]), torch.tensor([0.2, 0.9])
    before = boxes.clone(), scores.clone()
    compat.nms(boxes, scores, 0.5)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_torchvision_suppresses_the_same() -> None:
    from torchvision.ops import batched_nms, nms

    boxes = torch.tensor([A, (1.0, 0.0, 11.0, 10.0), (30.0, 30.0, 40.0, 40.0)])
    scores = torch.tensor([0.5, 0.9, 0.1])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]


def test_mending_twice_changes_nothing() -> None:
    first = compat.mend_torchvision()
    library = compat._library
    assert compat.mend_torchvision() == first
    assert compat._library is library
