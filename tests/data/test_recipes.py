"""Degradations: what is drawn, and that what was drawn is what was done."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from likeness.data import recipes
from likeness.data.recipes import RECIPES, Drawn, apply, degrade, draw, gaussian_kernel
from likeness.errors import ConfigError
from likeness.ops.color import grey
from likeness.types import Pixels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def face(astronaut_face: Pixels) -> Pixels:
    return cv2.resize(astronaut_face, (256, 256), interpolation=cv2.INTER_AREA)


# The table of the field: sigma, shrink, noise, JPEG quality, at 256 pixels.
PUBLISHED = {
    "gfpgan": ((0.1, 5), (0.8, 4), (0, 20), (60, 100)),
    "heavy": ((1, 7.5), (3, 10), (0, 20), (30, 80)),
    "mild": ((0.1, 2), (1, 2.5), (0, 10), (60, 100)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_ranges_are_the_published_ones(name: str) -> None:
    r = RECIPES[name]
    assert (r.sigma, r.shrink, r.noise, r.jpeg) == PUBLISHED[name]


@pytest.mark.parametrize("name", RECIPES)
def test_draws_fill_their_ranges_and_stay_inside(name: str) -> None:
    recipe, generator = RECIPES[name], rng()
    drawn = [draw(name, generator) for _ in range(600)]
    for field, (low, high) in {
        "sigma": recipe.sigma,
        "shrink": recipe.shrink,
        "noise": recipe.noise,
        "jpeg": recipe.jpeg,
    }.items():
        values = np.array([getattr(d, field) for d in drawn])
        assert values.min() >= low
        assert values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low) + 1e-9)
    ratios = np.array([d.kernel_ratio for d in drawn])
    assert np.mean(ratios == 1) == pytest.approx(0.5, abs=0.07)
    assert ratios.min() >= 0.4
    assert np.mean([d.area for d in drawn]) == pytest.approx(0.5, abs=0.07)
    assert all(d.angle == 0 for d in drawn if d.kernel_ratio == 1)


def test_codec_either_draws_both_in_their_ranges() -> None:
    generator = rng()
    drawn = [draw("mild", generator, "either") for _ in range(400)]
    h264 = [d.codec_level for d in drawn if d.codec == "h264"]
    palettes = [d.codec_level for d in drawn if d.codec == "palette"]
    assert len(h264) + len(palettes) == 400
    assert len(h264) == pytest.approx(200, abs=40)
    assert (min(h264), max(h264)) == (23, 38)
    assert min(palettes) >= 64
    assert max(palettes) <= 256


def test_unknown_recipe_is_named() -> None:
    with pytest.raises(ConfigError, match="got 'gfgan', expected one of gfpgan"):
        draw("gfgan", rng())


KERNELS = {
    "round": (2.0, 1.0, 0.0),
    "tiny": (0.1, 1.0, 0.0),
    "lying": (2.5, 0.4, 0.0),
    "standing": (2.5, 0.4, 90.0),
    "slanted": (2.2, 0.5, 30.0),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_sums_to_one_and_has_the_drawn_moments(name: str) -> None:
    sigma, ratio, angle = KERNELS[name]
    kernel = gaussian_kernel(sigma, ratio, angle).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    axis = np.arange(21) - 10.0
    assert kernel.sum(0) @ axis == pytest.approx(0, abs=1e-6)
    if sigma < 0.5:
        assert kernel[10, 10] == pytest.approx(1)
        return
    xx, yy = kernel.sum(0) @ axis**2, kernel.sum(1) @ axis**2
    xy = axis @ kernel @ axis
    t = np.radians(angle)
    long, short = sigma**2, (ratio * sigma) ** 2
    expected = np.array(
        [
            long * np.cos(t) ** 2 + short * np.sin(t) ** 2,
            long * np.sin(t) ** 2 + short * np.cos(t) ** 2,
            (long - short) * np.sin(t) * np.cos(t),
        ]
    )
    assert_allclose([xx, yy, xy], expected, atol=0.02 * sigma**2)


def test_round_kernel_is_opencvs() -> None:
    column = cv2.getGaussianKernel(21, 1.7)
    assert_allclose(gaussian_kernel(1.7, 1, 0), column @ column.T, atol=1e-7)


PLAIN = {"recipe": "gfpgan", "sigma": 0.05, "shrink": 1.0, "noise": 0.0, "jpeg": 100}


def test_blur_alone_is_opencvs_blur(face: Pixels) -> None:
    found = apply(face, Drawn(**{**PLAIN, "sigma": 3.0}), rng())  # type: ignore[arg-type]
    expected = cv2.GaussianBlur(face, (21, 21), 3.0, borderType=cv2.BORDER_REFLECT_101)
    # Quality 100 still rounds the transform: about one level.
    assert np.abs(found.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("sigma", [3.0, 12.0])
def test_noise_is_as_strong_as_drawn(sigma: float) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    found = apply(flat, Drawn(**{**PLAIN, "noise": sigma}), rng())  # type: ignore[arg-type]
    # JPEG at 100 halves the chroma planes' resolution, which leaves luma alone.
    luma = cv2.cvtColor(found, cv2.COLOR_RGB2YCrCb)[..., 0].astype(float)
    assert luma.std() == pytest.approx(sigma * np.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.05)
    assert luma.mean() == pytest.approx(128, abs=0.3)


@pytest.mark.parametrize("area", [True, False])
def test_shrinking_loses_what_lies_beyond(face: Pixels, area: bool) -> None:
    found = apply(face, Drawn(**{**PLAIN, "shrink": 4.0, "area": area}), rng())  # type: ignore[arg-type]
    mode = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    small = cv2.resize(face, (64, 64), interpolation=mode)
    expected = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)
    # In luma: JPEG halves the resolution of colour at any quality.
    assert np.abs(grey(found) - grey(expected)).mean() < 0.6
    assert np.abs(grey(found) - grey(face)).mean() > 2


def test_jpeg_error_falls_with_quality(face: Pixels) -> None:
    errors = []
    for quality in (30, 50, 70, 90, 100):
        found = apply(face, Drawn(**{**PLAIN, "jpeg": quality}), rng())  # type: ignore[arg-type]
        errors.append(np.square(found.astype(float) - face).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 4 * errors[-1]


def test_jpeg_keeps_red_red() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    assert_allclose(apply(red, Drawn(**PLAIN), rng()).mean((0, 1)), [200, 0, 0], atol=2)  # type: ignore[arg-type]


def test_clean_is_the_picture_itself(face: Pixels) -> None:
    found, drawn = degrade(face, "clean", rng())
    assert_array_equal(found, face)
    assert drawn["recipe"] == "clean"
    assert found is not face


@pytest.mark.parametrize("name", ["clean", *RECIPES])
def test_seeds_and_drawn_parameters_reproduce_the_picture(face: Pixels, name: str) -> None:
    before = face.copy()
    first, drawn = degrade(face, name, rng(5))
    again, _ = degrade(face, name, rng(5))
    other, _ = degrade(face, name, rng(6))
    assert_array_equal(first, again)
    assert first.shape == face.shape
    assert first.dtype == np.uint8
    if name != "clean":
        assert (first != other).any()
    assert_array_equal(face, before)
    # Only the noise needs the generator, in the state that it has after drawing.
    after = rng(5)
    assert draw(name, after).to_dict() == drawn
    assert_array_equal(apply(face, Drawn(**drawn), after), first)


def test_recipes_are_ordered_by_damage(face: Pixels) -> None:
    def damage(name: str) -> float:
        generator = rng(1)
        return float(
            np.mean([np.square(degrade(face, name, generator)[0].astype(float) - face).mean() for _ in range(12)])
        )

    assert damage("heavy") > damage("gfpgan") > damage("mild") > damage("slight")


def test_float_input_is_taken(face: Pixels) -> None:
    drawn = Drawn(**PLAIN)  # type: ignore[arg-type]
    assert_array_equal(apply(face.astype(np.float32), drawn, rng()), apply(face, drawn, rng()))  # type: ignore[arg-type]


def test_h264_error_grows_with_crf(face: Pixels) -> None:
    errors = [np.square(recipes.h264_still(face, crf).astype(float) - face).mean() for crf in (10, 25, 38)]
    assert errors == sorted(errors)
    assert errors[0] < 30
    assert errors[-1] > 2 * errors[0]


@pytest.mark.parametrize("colours", [2, 64, 256])
def test_palette_has_so_many_colours_and_keeps_the_mean(face: Pixels, colours: int) -> None:
    found = recipes.palette(face, colours)
    assert 2 <= len(np.unique(found.reshape(-1, 3), axis=0)) <= colours
    # Dithering spreads the error so that the mean stays.
    assert np.abs(found.mean((0, 1)) - face.mean((0, 1))).max() < (12 if colours == 2 else 2)


def test_palette_survives_a_gif(face: Pixels) -> None:
    """What the recipe makes is what a GIF can hold."""
    found = recipes.palette(face, 64)
    buffer = io.BytesIO()
    Image.fromarray(found).quantize(64, dither=Image.Dither.NONE).save(buffer, "GIF")
    with Image.open(buffer) as gif:
        assert_array_equal(np.asarray(gif.convert("RGB")), found)


@pytest.mark.parametrize("codec", ["h264", "palette"])
def test_codec_comes_after_the_recipe(face: Pixels, codec: str) -> None:
    drawn = draw("mild", rng(2), codec)
    assert drawn.codec == codec
    plain = apply(face, Drawn(**{**drawn.to_dict(), "codec": "", "codec_level": 0}), rng(3))
    by_hand = getattr(recipes, {"h264": "h264_still"}.get(codec, codec))(plain, drawn.codec_level)
    assert_array_equal(apply(face, drawn, rng(3)), by_hand)


def filmed(**changes: object) -> Drawn:
    return Drawn(**{"recipe": "film", "sigma": 0.05, "codec": "film", "codec_level": 25, "frame": 4, **changes})  # type: ignore[arg-type]


def test_a_film_s_frame_stands_where_the_face_stood(face: Pixels) -> None:
    """However fast it glides: no shift fits the truth better than none."""
    found = apply(face, filmed(move_x=1.6, move_y=-1.1), rng()).astype(float)
    inside = np.s_[16:-16, 16:-16]
    errors = {
        (x, y): np.square(np.roll(found, (y, x), (0, 1)) - face)[inside].mean() for x in (-1, 0, 1) for y in (-1, 0, 1)
    }
    assert min(errors, key=lambda way: errors[way]) == (0, 0)
    assert errors[0, 0] < 60


def test_a_film_is_predicted_from_its_neighbours(face: Pixels) -> None:
    """Where nothing moves, each frame is the intra frame; what moves costs detail."""
    still, gliding = (apply(face, filmed(move_x=x, codec_level=34), rng()) for x in (0.0, 2.0))
    alone = recipes.h264_still(face, 34)
    assert_array_equal(still, alone)
    assert np.abs(gliding.astype(int) - alone).mean() > 0.5
    first = apply(face, filmed(frame=0, move_x=2.0, codec_level=34), rng())
    assert np.abs(first.astype(int) - gliding).mean() > 0.5


def test_film_error_grows_with_crf_and_is_repeatable(face: Pixels) -> None:
    drawn = [filmed(move_x=1.0, noise=3.0, codec_level=crf) for crf in (23, 30, 38)]
    errors = [np.square(apply(face, d, rng()).astype(float) - face).mean() for d in drawn]
    assert errors == sorted(errors)
    assert_array_equal(apply(face, drawn[1], rng()), apply(face, drawn[1], rng()))


def test_films_take_odd_sizes_and_leave_the_face_alone(face: Pixels) -> None:
    before = face.copy()
    found = apply(face, filmed(shrink=3.1, move_y=1.0), rng())  # 83 pixels
    assert found.shape == face.shape
    assert np.abs(found.astype(int) - face).mean() < 12
    assert_array_equal(face, before)


def test_film_draws_fill_their_ranges() -> None:
    generator = rng()
    drawn = [draw("film", generator, "either") for _ in range(400)]
    assert {d.codec for d in drawn} == {"film"}  # its own, not the other
    assert {d.frame for d in drawn} == set(range(1, recipes.FILM))
    assert {d.codec_level for d in drawn} == set(range(23, 39))
    speeds = np.hypot([d.move_x for d in drawn], [d.move_y for d in drawn])
    assert 1.9 < speeds.max() <= recipes.SPEED
    assert speeds.mean() == pytest.approx(recipes.SPEED / 2, abs=0.1)
