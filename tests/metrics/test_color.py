"""Colour metrics against independent implementations and known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from likeness.data.synthetic_faces import draw_face
from likeness.errors import InputError
from likeness.metrics.color import colour_drift, iris_error, lab
from likeness.ops.geometry import template


@pytest.fixture(scope="module")
def face() -> Tensor:
    return torch.from_numpy(draw_face(256, 1)).permute(2, 0, 1)[None].float() / 255


def test_lab_is_close_to_little_cms(face: Tensor) -> None:
    """Pillow's colour management uses D50, so greys agree closely and colours approximately."""
    pixels = (face[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    convert = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    other = ImageCms.applyTransform(Image.fromarray(pixels), convert)
    assert other is not None
    levels = np.asarray(other).astype(np.int8).astype(float)
    lightness = np.asarray(other)[..., 0] / 255 * 100
    values = lab(face)[0].permute(1, 2, 0).numpy()
    assert np.abs(values[..., 0] - lightness).mean() < 1
    assert np.abs(values[..., 1:] - levels[..., 1:]).mean() < 3


KNOWN = {"white": ((1, 1, 1), (100, 0, 0)), "black": ((0, 0, 0), (0, 0, 0)), "red": ((1, 0, 0), (53.24, 80.09, 67.20))}


@pytest.mark.parametrize("name", KNOWN)
def test_lab_of_known_colours_is_exact(name: str) -> None:
    rgb, expected = KNOWN[name]
    image = torch.tensor(rgb).float().view(1, 3, 1, 1).expand(1, 3, 4, 4)
    np.testing.assert_allclose(lab(image)[0, :, 0, 0], expected, atol=0.02)


def test_equal_images_have_zero_error(face: Tensor) -> None:
    assert colour_drift(face, face.clone()).abs().max() == 0
    assert iris_error(face, face.clone()).abs().max() == 0


def test_drift_is_the_difference_of_the_means_by_channel(face: Tensor) -> None:
    board = ((torch.arange(256)[:, None] + torch.arange(256)) % 2).float() * 2 - 1
    grey = torch.full((1, 3, 256, 256), 0.5)
    assert colour_drift(grey + 0.004 * board, grey).max() < 0.02  # texture is no drift
    lighter = colour_drift(grey + 0.1, grey)[0]
    assert lighter[0] > 8
    assert lighter[1:].max() < 0.01
    yellow = colour_drift(grey * torch.tensor([1.0, 1.0, 0.5]).view(1, 3, 1, 1), grey)[0]
    assert yellow[2] > 20


def test_iris_error_is_the_distance_of_the_mean_colours_of_the_irises(face: Tensor) -> None:
    brown, blue = torch.tensor([0.35, 0.22, 0.15]), torch.tensor([0.25, 0.35, 0.5])
    one, other = face.clone(), face.clone()
    for x, y in template(256)[:2].round().astype(int).tolist():
        for image, colour in ((one, brown), (other, blue)):
            image[0, :, y - 8 : y + 8, x - 8 : x + 8] = colour.view(3, 1, 1)
    expected = (lab(brown.view(1, 3, 1, 1)) - lab(blue.view(1, 3, 1, 1)))[0, 1:].norm()
    assert float(iris_error(one, other)) == pytest.approx(float(expected), rel=1e-4)
    # A change of the mouth does not count.
    lips = face.clone()
    lips[..., 180:200, 110:150] = 0.5
    assert float(iris_error(lips, face)) == 0


def test_each_eye_counts_half(face: Tensor) -> None:
    x, y = template(256)[0].round().astype(int).tolist()
    one = face.clone()
    one[0, 2, y - 8 : y + 8, x - 8 : x + 8] = 1
    both = one.clone()
    x, y = template(256)[1].round().astype(int).tolist()
    both[0, 2, y - 8 : y + 8, x - 8 : x + 8] = 1
    first, second = float(iris_error(one, face)), float(iris_error(both, one))
    assert float(iris_error(both, face)) == pytest.approx(first + second, rel=1e-4)


def test_images_of_a_batch_have_separate_values(face: Tensor) -> None:
    pair = torch.cat([face, face * 0.5])
    truth = face.expand(2, -1, -1, -1)
    drift = colour_drift(pair, truth)
    assert drift[0].max() == 0 < drift[1].min()


@pytest.mark.parametrize("measure", [colour_drift, iris_error])
def test_different_shapes_are_refused(measure: object, face: Tensor) -> None:
    with pytest.raises(InputError, match="resize"):
        measure(face, face[..., :128, :128])  # type: ignore[operator]
