"""Sampled parameters: their ranges and probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.data.degradations import recipes
from likeness.data.degradations.codecs import ENCODERS
from likeness.data.degradations.recipes import FILM_FRAMES, MAX_SPEED, RECIPES, sample_params
from likeness.data.degradations.video import CLIP_RECIPES
from likeness.errors import ConfigError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# sigma, shrink, noise and JPEG quality at 256 pixels, as published.
PUBLISHED = {
    "gfpgan": ((0.1, 5), (0.8, 4), (0, 20), (60, 100)),
    "heavy": ((1, 7.5), (3, 10), (0, 20), (30, 80)),
    "mild": ((0.1, 2), (1, 2.5), (0, 10), (60, 100)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_has_the_published_ranges(name: str) -> None:
    r = RECIPES[name]
    assert (r.sigma, r.shrink, r.noise, r.jpeg) == PUBLISHED[name]


@pytest.mark.parametrize("name", RECIPES)
def test_sampled_parameters_fill_their_ranges(name: str) -> None:
    recipe, generator = RECIPES[name], rng()
    samples = [sample_params(name, generator) for _ in range(600)]
    for field, (low, high) in {
        "sigma": recipe.sigma,
        "shrink": recipe.shrink,
        "noise": recipe.noise,
        "jpeg": recipe.jpeg,
    }.items():
        values = np.array([getattr(s, field) for s in samples])
        assert values.min() >= low
        assert values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low) + 1e-9)
    ratios = np.array([s.kernel_ratio for s in samples])
    assert np.mean(ratios == 1) == pytest.approx(0.5, abs=0.07)
    assert ratios.min() >= 0.4
    assert np.mean([s.area for s in samples]) == pytest.approx(0.5, abs=0.07)
    assert all(s.angle == 0 for s in samples if s.kernel_ratio == 1)


LEVELS = {"h264": (23, 38), "palette": (64, 256), "webp": (20, 80), "avif": (20, 70)}


def test_codec_either_samples_all_codecs_evenly_over_their_levels() -> None:
    generator = rng()
    samples = [sample_params("mild", generator, "either") for _ in range(2000)]
    assert {s.codec for s in samples} == set(LEVELS)
    for codec, (low, high) in LEVELS.items():
        levels = np.array([s.codec_level for s in samples if s.codec == codec])
        assert len(levels) == pytest.approx(500, abs=70)
        assert low <= levels.min() <= low + 2
        assert high - 2 <= levels.max() <= high
        assert levels.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'gfgan', expected one of gfpgan"):
        sample_params("gfgan", rng())


def test_film_parameters_fill_their_ranges() -> None:
    generator = rng()
    samples = [sample_params("film", generator, "either") for _ in range(1000)]
    assert {s.codec for s in samples} == {"film"}  # the recipe's codec, not the argument
    assert {s.frame for s in samples} == set(range(FILM_FRAMES))
    early = np.mean([s.frame < recipes.SETTLED_FRAME for s in samples])
    assert early == pytest.approx(recipes.EARLY_PROBABILITY * recipes.SETTLED_FRAME / FILM_FRAMES, abs=0.02)
    assert {s.codec_level for s in samples} == set(range(22, 41))
    assert {s.encoder for s in samples} == set(ENCODERS)
    assert np.mean([s.encoder != "libx264" for s in samples]) == pytest.approx(0.1, abs=0.03)
    assert len({s.film_seed for s in samples}) > 990
    speeds = np.hypot([s.move_x for s in samples], [s.move_y for s in samples])
    assert 2.4 < speeds.max() <= MAX_SPEED
    assert speeds.mean() == pytest.approx(MAX_SPEED / 2.5, abs=0.1)  # the mean of u ** 1.5 is 1 / 2.5


def test_film_covers_the_levels_of_both_clip_recipes() -> None:
    film = RECIPES["film"]
    for clip in CLIP_RECIPES.values():
        assert film.sigma[0] <= clip.sigma[0]
        assert clip.sigma[1] <= film.sigma[1]
        assert clip.noise[1] <= film.noise[1]
        assert recipes.FILM_LEVELS[0] <= clip.crf[0]
        assert clip.crf[1] <= recipes.FILM_LEVELS[1]
