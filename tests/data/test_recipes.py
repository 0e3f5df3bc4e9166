"""Degradations: what is drawn, and that what was drawn is what was done."""

from __future__ import annotations

import io
import itertools

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from likeness.data import recipes
from likeness.data.clips import CLIP_RECIPES
from likeness.data.codecs import ENCODERS
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


# The levels of each codec for stills, as the guide of the recipes states them.
LEVELS = {"h264": (23, 38), "palette": (64, 256), "webp": (20, 80), "avif": (20, 70)}


def test_codec_either_draws_all_evenly_in_their_ranges() -> None:
    generator = rng()
    drawn = [draw("mild", generator, "either") for _ in range(2000)]
    assert {d.codec for d in drawn} == set(LEVELS)
    for codec, (low, high) in LEVELS.items():
        levels = np.array([d.codec_level for d in drawn if d.codec == codec])
        assert len(levels) == pytest.approx(500, abs=70)
        assert low <= levels.min() <= low + 2
        assert high - 2 <= levels.max() <= high
        assert levels.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


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


@pytest.mark.parametrize(("codec", "kind"), [("webp", "WEBP"), ("avif", "AVIF")])
def test_picture_files_err_as_pillow_does(face: Pixels, codec: str, kind: str) -> None:
    """At each quality as far from the face as a file that Pillow writes by its own defaults."""
    errors = []
    for quality in (80, 50, 20):
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, kind, quality=quality)
        with Image.open(buffer) as picture:
            expected = np.square(np.asarray(picture.convert("RGB")).astype(float) - face).mean()
        errors.append(np.square(getattr(recipes, codec)(face, quality).astype(float) - face).mean())
        assert errors[-1] == pytest.approx(expected, rel=0.3)
    assert errors == sorted(errors)
    assert errors[-1] > 2 * errors[0]


@pytest.mark.parametrize("codec", LEVELS)
def test_codec_comes_after_the_recipe(face: Pixels, codec: str) -> None:
    drawn = draw("mild", rng(2), codec)
    assert drawn.codec == codec
    plain = apply(face, Drawn(**{**drawn.to_dict(), "codec": "", "codec_level": 0}), rng(3))
    by_hand = getattr(recipes, {"h264": "h264_still"}.get(codec, codec))(plain, drawn.codec_level)
    assert_array_equal(apply(face, drawn, rng(3)), by_hand)


def filmed(**changes: object) -> Drawn:
    return Drawn(**{"recipe": "film", "sigma": 0.05, "codec": "film", "codec_level": 25, "frame": 4, **changes})  # type: ignore[arg-type]


def squared(found: Pixels, truth: Pixels) -> float:
    return float(np.square(found.astype(float) - truth).mean())


@pytest.mark.parametrize("seed", range(3))
def test_a_film_s_frame_stands_where_the_face_stood(face: Pixels, seed: int) -> None:
    """However it glides, turns and bends: no shift fits the truth better than none."""
    found = apply(face, filmed(move_x=1.6, move_y=-1.1, film=seed), rng()).astype(float)
    inside = np.s_[16:-16, 16:-16]
    errors = {
        (x, y): np.square(np.roll(found, (y, x), (0, 1)) - face)[inside].mean() for x in (-1, 0, 1) for y in (-1, 0, 1)
    }
    assert min(errors, key=lambda way: errors[way]) == (0, 0)
    assert errors[0, 0] < 60


def uncoded(face: Pixels, drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> list[Pixels]:
    """The frames that a film hands to its encoder."""
    seen: list[Pixels] = []

    def keep(frames: list[Pixels], which: int, level: int, encoder: str) -> Pixels:
        seen.extend(frames)
        return frames[which]

    monkeypatch.setattr(recipes, "film_frame", keep)
    apply(face, drawn, rng())
    return seen


def test_a_film_moves_as_drawn(face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many films each frame lies a step further along than the last, and no two look alike."""
    steps = []
    window = cv2.createHanningWindow((256, 256), cv2.CV_64F)  # the mirrored border moves the other way
    for seed in range(8):
        frames = uncoded(face, filmed(move_x=1.5, move_y=-0.8, film=seed), monkeypatch)
        assert len(frames) == recipes.FILM
        assert_array_equal(frames[4], face)  # nothing was done to it but a blur of .05
        for before, now in itertools.pairwise(frames):
            shift, _ = cv2.phaseCorrelate(grey(before).astype(np.float64), grey(now).astype(np.float64), window)
            steps.append(shift)
            assert np.abs(now.astype(int) - before).mean() > 1
    assert_allclose(np.median(steps, axis=0), (1.5, -0.8), atol=0.25)


def test_a_film_bends_the_face_itself(face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """No similarity lays one frame over another: what a talking face does to an encoder."""
    left = []
    for seed in range(8):
        frames = uncoded(face, filmed(film=seed), monkeypatch)
        flow = cv2.calcOpticalFlowFarneback(grey(frames[0]), grey(frames[4]), None, 0.5, 4, 21, 5, 7, 1.5, 0)  # type: ignore[call-overload]
        y, x = np.mgrid[:256, :256].astype(float)
        u, v = x.ravel(), y.ravel()
        # x' = a u - b v + c, y' = b u + a v + d
        one, none = np.ones_like(u), np.zeros_like(u)
        rows = np.vstack([np.stack([u, -v, one, none], 1), np.stack([v, u, none, one], 1)])
        there = np.concatenate([flow[..., 0].ravel(), flow[..., 1].ravel()])
        fit = np.linalg.lstsq(rows, there, rcond=None)[0]
        left.append(float(np.sqrt(np.square(there - rows @ fit).mean())))
    assert max(left) > 1.0
    assert np.median(left) > 0.25


def test_noise_of_a_film_is_as_drawn_and_new_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    frames = [f.astype(float) for f in uncoded(flat, filmed(noise=6.0, film=2), monkeypatch)]
    for before, now in itertools.pairwise(frames):
        assert now.std() == pytest.approx(6, rel=0.03)
        assert abs(np.corrcoef(before.ravel(), now.ravel())[0, 1]) < 0.02


def test_a_later_frame_is_coded_worse_than_the_first(face: Pixels) -> None:
    """Its bits were spent on the first: at a talk's speed, what does not follow a shift is not coded again."""
    first, later = (
        np.mean([squared(apply(face, filmed(frame=f, film=s, codec_level=34), rng()), face) for s in range(6)])
        for f in (0, recipes.STEADY)
    )
    assert later > 1.2 * first


@pytest.mark.parametrize("encoder", ENCODERS)
def test_film_error_grows_with_the_level_and_is_repeatable(face: Pixels, encoder: str) -> None:
    drawn = [filmed(move_x=1.0, noise=3.0, codec_level=crf, encoder=encoder, film=3) for crf in (23, 30, 40)]
    errors = [squared(apply(face, d, rng()), face) for d in drawn]
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]
    assert_array_equal(apply(face, drawn[1], rng()), apply(face, drawn[1], rng()))


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e != "libx264"])
def test_other_encoders_err_about_as_much_at_a_level(face: Pixels, encoder: str) -> None:
    for level in (26, 36):
        x264, other = (
            np.mean([squared(apply(face, filmed(film=s, codec_level=level, encoder=e), rng()), face) for s in range(3)])
            for e in ("libx264", encoder)
        )
        assert 0.5 < other / x264 < 3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_films_take_odd_sizes_and_leave_the_face_alone(face: Pixels, encoder: str) -> None:
    before = face.copy()
    found = apply(face, filmed(shrink=3.1, move_y=1.0, encoder=encoder), rng())  # 83 pixels
    assert found.shape == face.shape
    assert np.abs(found.astype(int) - face).mean() < 12
    assert_array_equal(face, before)


def test_film_draws_fill_their_ranges() -> None:
    generator = rng()
    drawn = [draw("film", generator, "either") for _ in range(1000)]
    assert {d.codec for d in drawn} == {"film"}  # its own, not the other
    assert {d.frame for d in drawn} == set(range(recipes.FILM))
    early = np.mean([d.frame < recipes.STEADY for d in drawn])
    assert early == pytest.approx(recipes.FIRST * recipes.STEADY / recipes.FILM, abs=0.02)
    assert {d.codec_level for d in drawn} == set(range(22, 41))
    assert {d.encoder for d in drawn} == set(ENCODERS)
    assert np.mean([d.encoder != "libx264" for d in drawn]) == pytest.approx(0.1, abs=0.03)
    assert len({d.film for d in drawn}) > 990
    speeds = np.hypot([d.move_x for d in drawn], [d.move_y for d in drawn])
    assert 2.4 < speeds.max() <= recipes.SPEED
    assert speeds.mean() == pytest.approx(recipes.SPEED / 2.5, abs=0.1)  # of SPEED times the power 1.5 of a chance


def test_the_clips_levels_lie_within_a_film_s() -> None:
    for clip in CLIP_RECIPES.values():
        assert RECIPES["film"].sigma[0] <= clip.sigma[0]
        assert clip.sigma[1] <= RECIPES["film"].sigma[1]
        assert clip.noise[1] <= RECIPES["film"].noise[1]
        assert recipes.FILM_LEVELS[0] <= clip.crf[0]
        assert clip.crf[1] <= recipes.FILM_LEVELS[1]
