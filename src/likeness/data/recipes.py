"""Named degradation recipes: how a good face becomes a poor one.

Order: blur, shrink, noise, JPEG, back to size. All numbers are for the 256-px crop; `gfpgan` and
`heavy` are the published ranges of GFPGAN (`options/train_gfpgan_v1.yml`) and of CodeFormer's
stage II, halved from 512 (`heavy` is capped so that a face keeps 12 pixels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.codecs import h264_frame, h264_still, palette
from likeness.errors import ConfigError
from likeness.types import Pixels

KERNEL = 21


@dataclass(frozen=True)
class Recipe:
    """Ranges that are drawn uniformly.

    Attributes:
        sigma: of the blur, pixels at 256.
        shrink: factor r by which the picture is shrunk before noise and JPEG.
        noise: Gaussian sigma in grey levels.
        jpeg: quality.
        codec: after all that, "h264" (one intra frame, crf 23-38), "palette" (GIF, 64-256 colours),
            "either", or None; "film": in the place of JPEG, one frame of a short film of the face that moves (H.264,
            crf 23-38).
    """

    sigma: tuple[float, float]
    shrink: tuple[float, float]
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    codec: Literal["h264", "palette", "either", "film"] | None = None


RECIPES: Mapping[str, Recipe] = {
    "gfpgan": Recipe((0.1, 5), (0.8, 4), (0, 20), (60, 100)),
    "heavy": Recipe((1, 7.5), (3, 10), (0, 20), (30, 80)),
    "mild": Recipe((0.1, 2), (1, 2.5), (0, 10), (60, 100)),
    # What is nearly good already: the network must learn to let it pass.
    "slight": Recipe((0.05, 0.6), (1, 1.2), (0, 3), (85, 100)),
    # A good face of nearly the crop's own size, as the aligner hands it over.
    "resampled": Recipe((0.05, 0.05), (1, 1.25), (0, 0), (100, 100)),
    # A frame of a clip: the blur, noise and compression of both clip recipes (data/clips.py), at the scales of faces.
    "film": Recipe((0.2, 3), (1, 4), (0, 10), (100, 100), "film"),
}
FILM = 7  # frames
SPEED = 2.0  # of a film's face, pixels of the small picture from frame to frame, at most


@dataclass(frozen=True)
class Drawn:
    """The parameters of one sample; `kernel_ratio` is the short over the long sigma, angle in degrees.

    `frame`, `move_x` and `move_y` are a film's: which of its frames is shown, and how the face moves between two.
    `sigma_2` to `jpeg_2` are those of a second round of blur, resize, noise and JPEG (Real-ESRGAN, Wang et al. 2021,
    section 3.1), on the small picture of the first; `shrink_2` = 0: there is none.
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
    sigma_2: float = 0.0
    shrink_2: float = 0.0
    noise_2: float = 0.0
    jpeg_2: int = 100

    def to_dict(self) -> dict[str, Any]:
        """Plain data that travels with the sample."""
        return asdict(self)


def recipe_named(name: str) -> Recipe:
    """Looks a recipe up; ConfigError names the known ones."""
    if name not in RECIPES:
        raise ConfigError(f"recipe: got {name!r}, expected one of {', '.join(RECIPES)} or clean")
    return RECIPES[name]


def draw(name: str, rng: np.random.Generator, codec: str | None = None) -> Drawn:
    """Draws the parameters of recipe `name`; `codec` ("h264", "palette", "either") where it has none of its own."""
    if name == "clean":
        base = Drawn(recipe="clean")
    else:
        recipe = recipe_named(name)
        codec = recipe.codec or codec
        isotropic = rng.random() < 0.5
        base = Drawn(
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
        return base
    kind = ("h264" if rng.random() < 0.5 else "palette") if codec == "either" else codec
    level = int(rng.integers(64, 257)) if kind == "palette" else int(rng.integers(23, 39))
    coded = replace(base, codec=kind, codec_level=level)
    if kind != "film":
        return coded
    speed, way = SPEED * rng.random(), 2 * math.pi * rng.random()
    x, y = float(speed * math.cos(way)), float(speed * math.sin(way))
    return replace(coded, frame=int(rng.integers(1, FILM)), move_x=x, move_y=y)


def with_second_round(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    """The same with a second, milder round: a poor picture that was sent on."""
    return replace(
        drawn,
        sigma_2=float(rng.uniform(0.1, 1.5)),
        shrink_2=float(rng.uniform(0.7, 1.5)),
        noise_2=float(rng.uniform(0, 10)),
        jpeg_2=int(rng.integers(30, 96)),
    )


def gaussian_kernel(sigma: float, ratio: float, angle: float, size: int = KERNEL) -> npt.NDArray[np.float32]:
    """(size, size) Gaussian, sigma along the long axis, `ratio` times it across, turned by `angle` degrees."""
    r = np.arange(size) - size // 2
    x, y = np.meshgrid(r, r)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u, v = c * x + s * y, -s * x + c * y
    kernel = np.exp(-0.5 * ((u / sigma) ** 2 + (v / (sigma * ratio)) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def apply(image: Pixels, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Degrades one picture.

    Args:
        image: HWC uint8 RGB (or float32 on the 0..255 scale), not changed.
        drawn: the parameters.
        rng: for the noise alone.

    Returns:
        HWC uint8 of the same size.
    """
    height, width = image.shape[:2]
    out: npt.NDArray[Any] = image.astype(np.float32)
    if drawn.recipe != "clean":
        kernel = gaussian_kernel(drawn.sigma, drawn.kernel_ratio, drawn.angle)
        out = cv2.filter2D(out, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        small = (max(1, round(width / drawn.shrink)), max(1, round(height / drawn.shrink)))
        out = cv2.resize(out, small, interpolation=cv2.INTER_AREA if drawn.area else cv2.INTER_LINEAR)
        if drawn.codec == "film":
            out = film(out, drawn, rng).astype(np.float32)
        else:
            out = out + rng.normal(0, drawn.noise, out.shape).astype(np.float32)
            out = jpeg(_integer(out), drawn.jpeg).astype(np.float32)
        if drawn.shrink_2:
            out = _second_round(out, drawn, rng)
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = _integer(out)
    if drawn.codec == "h264":
        return h264_still(pixels, drawn.codec_level)
    if drawn.codec == "palette":
        return palette(pixels, drawn.codec_level)
    return pixels


def _second_round(small: npt.NDArray[Any], drawn: Drawn, rng: np.random.Generator) -> npt.NDArray[Any]:
    out = cv2.GaussianBlur(small, (0, 0), drawn.sigma_2, borderType=cv2.BORDER_REFLECT_101)
    height, width = (max(8, round(side / drawn.shrink_2)) for side in small.shape[:2])
    out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA if drawn.shrink_2 > 1 else cv2.INTER_LINEAR)
    noisy = out + rng.normal(0, drawn.noise_2, out.shape)
    return jpeg(_integer(noisy), drawn.jpeg_2).astype(np.float32)


def film(image: npt.NDArray[Any], drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A frame of an encoded film in which the picture glides, noise anew in each; in that frame it stands as given.

    Args:
        image: HWC float32 on the 0..255 scale.
        drawn: noise, codec_level, frame, move_x, move_y.
        rng: for the noise.
    """
    height, width = image.shape[:2]
    frames = []
    for i in range(FILM):
        x, y = ((i - drawn.frame) * speed for speed in (drawn.move_x, drawn.move_y))
        way = np.array([[1, 0, x], [0, 1, y]], np.float32)
        seen = cv2.warpAffine(image, way, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        frames.append(_integer(seen + rng.normal(0, drawn.noise, image.shape)))
    return h264_frame(frames, drawn.frame, drawn.codec_level)


def degrade(image: Pixels, recipe: str, rng: np.random.Generator) -> tuple[Pixels, dict[str, Any]]:
    """Draws from recipe `recipe` and applies it; returns the picture and the drawn parameters."""
    drawn = draw(recipe, rng)
    return apply(image, drawn, rng), drawn.to_dict()


def _integer(image: npt.NDArray[Any]) -> Pixels:
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def jpeg(image: Pixels, quality: int) -> Pixels:
    """There and back: HWC uint8, `quality` 0..100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was written a line above
    return decoded[..., ::-1]
