"""The codebook: its start, its life and the three ways to read it, against plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import InputError
from likeness.nets.vq import Codebook, count_codes, usage

SIZE, WIDTH = 32, 6


def clusters(count: int, seed: int = 0, noise: float = 0.02) -> Tensor:
    """(4, WIDTH, 16, 16): vectors about `count` directions, lengths from 1/2 to 2."""
    generator = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(count, WIDTH, generator=generator), dim=1)
    which = torch.randint(count, (4, 16, 16), generator=generator)
    found = centres[which] + noise * torch.randn(4, 16, 16, WIDTH, generator=generator)
    return (found * (0.5 + 1.5 * torch.rand(4, 16, 16, 1, generator=generator))).permute(0, 3, 1, 2)


def trained(heads: int = 1, seed: int = 0) -> Codebook:
    torch.manual_seed(seed)
    book = Codebook(SIZE, WIDTH, heads)
    book(torch.cat([clusters(8, seed + k) for k in range(heads)], 1))
    return book.eval()


def cosines(features: Tensor, book: Codebook, head: int = 0) -> np.ndarray:
    """(positions, size), by numpy."""
    flat = features[:, head * WIDTH : (head + 1) * WIDTH].permute(0, 2, 3, 1).reshape(-1, WIDTH).double().numpy()
    codes = book.vectors[head].double().numpy()
    return (flat / np.linalg.norm(flat, axis=1, keepdims=True)) @ (codes / np.linalg.norm(codes, axis=1)[:, None]).T


def test_the_first_batch_starts_the_codes_by_k_means() -> None:
    features = clusters(8)
    torch.manual_seed(0)
    book = Codebook(SIZE, WIDTH)
    assert not book.vectors.any()
    book(features)
    torch.testing.assert_close(book.vectors.norm(dim=2), torch.ones(1, SIZE))
    assert cosines(features, book).max(1).min() > 0.99  # each of the eight directions has its code
    strangers = F.normalize(torch.randn(1, SIZE, WIDTH, generator=torch.Generator().manual_seed(1)), dim=2)
    book.quantiser.codebook = strangers
    assert cosines(features, book).max(1).min() < 0.9  # what codes would be that saw no batch


def test_later_batches_move_the_codes_by_the_moving_average() -> None:
    book = trained().train()
    inner = book.quantiser._codebook
    sums, counts = inner.embed_avg[0].clone(), inner.cluster_size[0].clone()
    features = clusters(8, seed=0, noise=0.05)
    nearest = cosines(features, book).argmax(1)
    book(features)
    flat = F.normalize(features.permute(0, 2, 3, 1).reshape(-1, WIDTH), dim=1).double().numpy()
    for code in range(SIZE):
        even = 1024 / SIZE  # vectors a code would get of this batch
        alive = 0.99 * float(counts[code]) + 0.01 * (nearest == code).sum() >= 0.03 * even
        expected = 0.99 * sums[code].double().numpy() + 0.01 * flat[nearest == code].sum(0)
        if alive:
            np.testing.assert_allclose(book.vectors[0, code], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_dead_code_comes_back_as_a_vector_of_the_batch() -> None:
    book = trained().train()
    inner = book.quantiser._codebook
    inner.cluster_size[0, 5] = 0
    inner.embed_avg[0, 5] = 0
    inner.embed[0, 5] = -inner.embed[0].mean(0)  # points away from all features
    features = clusters(8)
    assert cosines(features, book)[:, 5].max() < 0.95
    book(features)
    assert cosines(features, book)[:, 5].max() == pytest.approx(1, abs=1e-6)


def test_a_rare_code_is_not_dead() -> None:
    """Used a tenth as often as the others, it stays where its average is."""
    book = trained().train()
    inner = book.quantiser._codebook
    inner.cluster_size[0, 5] = 0.1 * 1024 / SIZE
    inner.embed_avg[0, 5] = inner.cluster_size[0, 5] * inner.embed[0, 5]
    before = book.vectors[0, 5].clone()
    book(clusters(8))
    assert float(book.vectors[0, 5] @ before) > 0.98


def test_codes_that_were_never_started_say_nothing() -> None:
    """Validation before training: it must not start them from a network that has learnt nothing."""
    book = Codebook(SIZE, WIDTH).eval()
    found = book(clusters(8))
    assert not found.codes.any()
    assert not book.vectors.any()
    assert not book.quantiser._codebook.initted


def test_reading_changes_nothing() -> None:
    book = trained()
    before = {name: value.clone() for name, value in book.state_dict().items()}
    features = clusters(3, seed=9)
    book(features)
    book.select(book.nearest(features))
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())


@pytest.mark.parametrize("heads", [1, 2])
def test_nearest_is_the_largest_cosine(heads: int) -> None:
    book = trained(heads)
    features = torch.randn(2, heads * WIDTH, 5, 7, generator=torch.Generator().manual_seed(2))
    found = book.nearest(features)
    assert found.shape == (2, 5, 7, heads)
    for head in range(heads):
        expected = cosines(features, book, head).argmax(1)
        np.testing.assert_array_equal(found[..., head].flatten(), expected)
    quantised = book(features)
    assert torch.equal(quantised.indices, found)
    assert torch.equal(quantised.codes, book.select(found))
    assert float(quantised.commitment.detach()) == 0


@pytest.mark.parametrize("heads", [1, 2])
def test_select_puts_every_head_s_code_in_its_place(heads: int) -> None:
    book = trained(heads)
    indices = torch.randint(SIZE, (2, 3, 4, heads), generator=torch.Generator().manual_seed(3))
    found = book.select(indices)
    for head in range(heads):
        for b, y, x in np.ndindex(2, 3, 4):
            part = found[b, head * WIDTH : (head + 1) * WIDTH, y, x]
            assert torch.equal(part, book.vectors[head, indices[b, y, x, head]])


def test_interpolate_is_the_mean_under_the_softmax() -> None:
    book = trained(2)
    logits = torch.zeros(1, 2, 1, 3, SIZE)
    logits[0, :, 0, 0, 4] = 100  # one code
    logits[0, :, 0, 1, [4, 9]] = 100  # two codes alike
    found = book.interpolate(logits.softmax(-1))[0, :, 0].view(2, WIDTH, 3)
    for head in range(2):
        codes = book.vectors[head]
        torch.testing.assert_close(found[head, :, 0], codes[4])
        torch.testing.assert_close(found[head, :, 1], (codes[4] + codes[9]) / 2)
        torch.testing.assert_close(found[head, :, 2], codes.mean(0))  # all alike


def test_interpolate_passes_gradients_to_the_logits() -> None:
    book = trained()
    logits = torch.zeros(1, 1, 1, 1, SIZE, requires_grad=True)
    target = book.vectors[0, 7].view(1, WIDTH, 1, 1)
    (book.interpolate(logits.softmax(-1)) * target).sum().backward()
    assert logits.grad is not None
    assert int(logits.grad.flatten().argmax()) == int((book.vectors[0] @ book.vectors[0, 7]).argmax())


def test_features_learn_through_the_look_up() -> None:
    book = trained().train()
    features = clusters(8).requires_grad_()
    found = book(features)
    assert float(found.commitment.detach()) > 0
    found.codes.sum().backward()
    assert features.grad is not None
    assert features.grad.abs().max() > 0
    assert not list(book.parameters())  # the codes learn by averages alone


def test_half_precision_around_it_does_not_reach_it() -> None:
    book, features = trained(), clusters(8, seed=4)
    with torch.autocast("cpu", torch.bfloat16):
        found = book(features)
        nearest = book.nearest(features)
    assert torch.equal(found.indices, book(features).indices)
    assert torch.equal(nearest, book.nearest(features))


WRONG = {
    "features of another width": lambda b: b(torch.zeros(1, WIDTH + 1, 2, 2)),
    "features for nearest": lambda b: b.nearest(torch.zeros(1, WIDTH, 2)),
    "indices of too many heads": lambda b: b.select(torch.zeros(1, 2, 2, 2, dtype=torch.long)),
    "an index beyond the book": lambda b: b.select(torch.full((1, 2, 2, 1), SIZE)),
    "a negative index": lambda b: b.select(torch.full((1, 2, 2, 1), -1)),
    "shares of another size": lambda b: b.interpolate(torch.zeros(1, 1, 2, 2, SIZE + 1)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected"):
        WRONG[name](trained())


USAGE = {
    "even": ([[5, 5, 5, 5]], 1.0, 4.0),
    "one code": ([[9, 0, 0, 0]], 0.25, 1.0),
    "two codes": ([[3, 3, 0, 0]], 0.5, 2.0),
    "uneven": ([[1, 3, 0, 0]], 0.5, math.exp(0.25 * math.log(4) + 0.75 * math.log(4 / 3))),
    "the worse head counts": ([[5, 5, 5, 5], [0, 8, 0, 0]], 0.25, 1.0),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage(name: str) -> None:
    counts, used, perplexity = USAGE[name]
    apart = torch.eye(4).expand(len(counts), 4, 4)
    found = usage(torch.tensor(counts), apart)
    assert found.used == pytest.approx(used)
    assert found.perplexity == pytest.approx(perplexity, rel=1e-6)
    assert found.alike == pytest.approx(0.5)  # the mean of four axes has the length 1/2


def test_codes_that_are_all_the_same() -> None:
    same = torch.zeros(2, 4, 3)
    same[0, :, 0] = 1
    same[1] = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert usage(torch.ones(2, 4), same).alike == pytest.approx(1)
    assert usage(torch.ones(1, 4), same[1:]).alike == pytest.approx(0)


def test_count_codes_by_head() -> None:
    indices = torch.tensor([[[0, 2], [0, 2]], [[1, 2], [3, 0]]])
    assert count_codes(indices, 4).tolist() == [[2, 1, 0, 1], [1, 0, 3, 0]]
