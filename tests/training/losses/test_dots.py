"""Dots are found where they were drawn, and only invented ones cost anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from torch import Tensor

from likeness.training.losses.dots import CONTRAST, ROUNDNESS, SIGMA, find_dots, invented_dots

SHARP = torch.tensor([True])
VALID = torch.ones(1, 1, 512, 512, dtype=torch.bool)
HALF = torch.arange(512).expand(1, 1, 512, 512) >= 256


def face(*dots: tuple[int, int], size: int = 512, contrast: float = 0.1) -> Tensor:
    """(1, 3, size, size) grey, with dark dots, 4 px wide, at (x, y)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.full((1, 3, size, size), 0.6)
    for cx, cy in dots:
        image -= contrast * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.5**2))
    return image


def test_dots_are_found_where_they_were_drawn_and_lines_and_edges_are_not() -> None:
    image = face((100, 300), (300, 120))
    image[..., 400, 50:450] -= 0.1  # a line
    image[..., 450:, :] -= 0.3  # an edge
    found = find_dots(image)[0, 0]
    assert found[300, 100]
    assert found[120, 300]
    found[295:306, 95:106] = False
    found[115:126, 295:306] = False
    assert not found[:, 60:440].any()  # a line's ends are round


def test_curvatures_equal_scikit_images() -> None:
    rng = np.random.default_rng(0)
    grey = rng.random((64, 64))
    image = torch.from_numpy(grey).float().expand(1, 3, 64, 64)
    matrix = hessian_matrix(255 * grey, SIGMA, mode="nearest", use_gaussian_derivatives=True)
    first, second = SIGMA**2 * hessian_matrix_eigvals(matrix)
    expected = (np.abs(first + second) > CONTRAST) & (first * second > ROUNDNESS * ((first + second) / 2) ** 2)
    found = find_dots(image)[0, 0].numpy()
    inner = (slice(8, -8), slice(8, -8))
    assert 0.05 < expected[inner].mean() < 0.5
    assert (found[inner] == expected[inner]).mean() > 0.98  # the kernels end at another radius


EXCUSED = {
    "the truth has it": (face((100, 300)), VALID, SHARP),
    "the truth has it 6 px further": (face((106, 300)), VALID, SHARP),
    "the face does not count": (face(), VALID, torch.tensor([False])),
    "its pixels are not valid": (face(), HALF, SHARP),
}


@pytest.mark.parametrize("name", EXCUSED)
def test_dots_that_are_excused_cost_nothing(name: str) -> None:
    assert float(invented_dots(face((100, 300)), *EXCUSED[name])) == 0


def test_dots_of_eyes_cost_nothing() -> None:
    assert float(invented_dots(face((193, 240)), face(), VALID, SHARP)) == 0


@pytest.mark.parametrize("contrast", [0.1, -0.1], ids=["dark", "light"])
@pytest.mark.parametrize("truth", [face(), face((124, 300))], ids=["plain truth", "its dot is 24 px further"])
def test_an_invented_dot_costs_its_squared_contrast(contrast: float, truth: Tensor) -> None:
    image = face((100, 300), contrast=contrast)
    before = image.clone(), truth.clone()
    cost = float(invented_dots(image, truth, VALID, SHARP))
    whole = 10_000 * float((image - 0.6).square().mean())
    assert 0.7 * whole < cost <= whole  # the mask covers most of it, and around it lies the plain grey
    assert torch.equal(image, before[0])
    assert torch.equal(truth, before[1])


@pytest.mark.parametrize(
    ("counted", "expected"), [([True, True], 0.5), ([True, False], 1.0), ([False, True], 0.0)], ids=str
)
def test_it_is_the_mean_over_faces_that_count(counted: list[bool], expected: float) -> None:
    images, truths = torch.cat([face((100, 300)), face()]), torch.cat([face(), face()])
    one = float(invented_dots(images[:1], truths[:1], VALID, SHARP))
    both = float(invented_dots(images, truths, VALID.expand(2, -1, -1, -1), torch.tensor(counted)))
    assert both == pytest.approx(expected * one, rel=1e-4)


def test_a_step_along_the_gradient_fades_the_dot_and_nothing_else() -> None:
    image, truth = face((100, 300)), face()
    image[..., 400, 50:450] -= 0.1
    moving = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(invented_dots(moving, truth, VALID, SHARP), [moving])
    assert (gradient[..., 300, 100] < 0).all()  # it gets lighter
    gradient[..., 293:308, 93:108] = 0
    gradient[..., :, :60] = 0  # a line's ends are round
    gradient[..., :, 440:] = 0
    assert not gradient.any()
