"""Named degradation recipes, and the parameters sampled from them.

A recipe blurs, downscales, adds noise, compresses as JPEG and scales back up, in this order. All numbers are stated for
a crop of 256 px. `gfpgan` and `heavy` are the published ranges of GFPGAN (`options/train_gfpgan_v1.yml`) and of
CodeFormer's stage II, halved from 512 px (`heavy` is capped so that a face keeps 12 pixels).

A new degradation made of these operations is one more entry in `RECIPES`. A new operation also needs its parameters in
`DegradationParams` and a step in `stills.apply_degradation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from likeness.data.degradations.codecs import ENCODERS, STILL_CODECS
from likeness.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """Ranges from which parameters are sampled uniformly.

    Attributes:
        sigma: of the Gaussian blur, in pixels at 256.
        shrink: factor by which the picture is downscaled before noise and JPEG.
        noise: sigma of the Gaussian noise, in grey levels.
        jpeg: quality, 0..100.
        codec: a second compression after all that: one of `STILL_CODECS`, "either" (any of them, evenly) or None.
            "film" takes the place of JPEG: one frame of an encoded clip of a moving face.
    """

    sigma: tuple[float, float]
    shrink: tuple[float, float]
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    codec: Literal["h264", "palette", "webp", "avif", "either", "film"] | None = None


RECIPES: Mapping[str, Recipe] = {
    "gfpgan": Recipe((0.1, 5), (0.8, 4), (0, 20), (60, 100)),
    "heavy": Recipe((1, 7.5), (3, 10), (0, 20), (30, 80)),
    "mild": Recipe((0.1, 2), (1, 2.5), (0, 10), (60, 100)),
    # Almost undegraded: the network must learn to leave good pictures alone.
    "slight": Recipe((0.05, 0.6), (1, 1.2), (0, 3), (85, 100)),
    # A good face of nearly the crop's size, as alignment resamples it.
    "resampled": Recipe((0.05, 0.05), (1, 1.25), (0, 0), (100, 100)),
    # A frame of a clip: the blur, noise and compression of both clip recipes (degradations/video.py). Faces narrower
    # than 50 px are not restored; their crops would be 2.5 times smaller.
    "film": Recipe((0.2, 3), (1, 2.8), (0, 10), (100, 100), "film"),
}

FILM_FRAMES = 10
# Encoders spend more bits on the first frame. From this frame on its quality no longer shows.
SETTLED_FRAME = 4
EARLY_PROBABILITY = 0.1  # that a sample may show a frame before `SETTLED_FRAME`
FILM_LEVELS = (22, 40)  # crf; wider than the 23-38 of clips, since a whole picture's quantiser differs by up to 3
OTHER_ENCODER_PROBABILITY = 0.1  # that a film is encoded by another encoder than x264
MAX_SPEED = 2.5  # of a film's face, in pixels of the downscaled picture a frame


@dataclass(frozen=True)
class DegradationParams:
    """The sampled parameters of one degradation.

    Attributes:
        recipe: the recipe's name, or "clean".
        sigma: of the blur along its long axis, in pixels.
        kernel_ratio: sigma along the short axis over `sigma`, 0.4..1.
        angle: of the blur's long axis, in degrees.
        shrink: downscaling factor.
        area: downscales by area averaging if true, else bilinearly.
        noise: sigma of the noise, in grey levels.
        jpeg: quality, 0..100.
        codec: one of `STILL_CODECS`, "film" or "".
        codec_level: that codec's quality, crf or number of colours.
        frame: which frame of a film is shown, 0-based.
        move_x, move_y: motion of the film's face, in pixels of the downscaled picture a frame.
        film_seed: of the film's other motion.
        encoder: the film's, one of `codecs.ENCODERS`.
        sigma_2, shrink_2, noise_2, jpeg_2: a second order of the same operations on the downscaled picture
            (Real-ESRGAN, Wang et al. 2021, section 3.1); `shrink_2` = 0 switches it off.
    """

    recipe: str
    sigma: float = 0.0
    kernel_ratio: float = 1.0
    angle: float = 0.0
    shrink: float = 1.0
    area: bool = True
    noise: float = 0.0
    jpeg: int = 100
    codec: str = ""
    codec_level: int = 0
    frame: int = 0
    move_x: float = 0.0
    move_y: float = 0.0
    film_seed: int = 0
    encoder: str = ""
    sigma_2: float = 0.0
    shrink_2: float = 0.0
    noise_2: float = 0.0
    jpeg_2: int = 100

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which travels with the sample."""
        return asdict(self)


def check_recipes(names: Iterable[str]) -> None:
    """Raises ConfigError if a name is neither a recipe's nor "clean"."""
    for name in names:
        if name != "clean":
            get_recipe(name)


def get_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in RECIPES:
        raise ConfigError(f"recipe: got {name!r}, expected one of {', '.join(RECIPES)} or clean")
    return RECIPES[name]


def sample_params(name: str, rng: np.random.Generator, codec: str | None = None) -> DegradationParams:
    """Samples the parameters of a recipe.

    Args:
        name: of the recipe, or "clean".
        rng: source of the random numbers.
        codec: one of `STILL_CODECS` or "either", used if the recipe names none.

    Raises:
        ConfigError: if the recipe is unknown.
    """
    if name == "clean":
        params = DegradationParams(recipe="clean")
    else:
        recipe = get_recipe(name)
        codec = recipe.codec or codec
        isotropic = rng.random() < 0.5
        params = DegradationParams(
            recipe=name,
            sigma=float(rng.uniform(*recipe.sigma)),
            kernel_ratio=1.0 if isotropic else float(rng.uniform(0.4, 1)),
            angle=0.0 if isotropic else float(rng.uniform(0, 180)),
            shrink=float(rng.uniform(*recipe.shrink)),
            area=bool(rng.random() < 0.5),
            noise=float(rng.uniform(*recipe.noise)),
            jpeg=int(rng.integers(recipe.jpeg[0], recipe.jpeg[1] + 1)),
        )
    if not codec:
        return params
    if codec == "film":
        return _with_film(params, rng)
    kind = list(STILL_CODECS)[int(rng.integers(len(STILL_CODECS)))] if codec == "either" else codec
    low, high = STILL_CODECS[kind].levels
    return replace(params, codec=kind, codec_level=int(rng.integers(low, high + 1)))


def _with_film(params: DegradationParams, rng: np.random.Generator) -> DegradationParams:
    speed, direction = MAX_SPEED * rng.random() ** 1.5, 2 * math.pi * rng.random()  # most faces move slowly
    others = [name for name in ENCODERS if name != "libx264"]
    return replace(
        params,
        codec="film",
        codec_level=int(rng.integers(FILM_LEVELS[0], FILM_LEVELS[1] + 1)),
        frame=int(rng.integers(0 if rng.random() < EARLY_PROBABILITY else SETTLED_FRAME, FILM_FRAMES)),
        move_x=float(speed * math.cos(direction)),
        move_y=float(speed * math.sin(direction)),
        film_seed=int(rng.integers(2**31)),
        encoder=others[int(rng.integers(len(others)))] if rng.random() < OTHER_ENCODER_PROBABILITY else "libx264",
    )


def add_second_order(params: DegradationParams, rng: np.random.Generator) -> DegradationParams:
    """The same parameters with a second, milder order: a degraded picture that was forwarded."""
    return replace(
        params,
        sigma_2=float(rng.uniform(0.1, 1.5)),
        shrink_2=float(rng.uniform(0.7, 1.2)),
        noise_2=float(rng.uniform(0, 10)),
        jpeg_2=int(rng.integers(30, 96)),
    )
