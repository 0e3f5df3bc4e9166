"""Named degradation recipes: how a good face becomes a poor one.

Order: blur, shrink, noise, JPEG, back to size. All numbers are for the 256-px crop; `gfpgan` and
`heavy` are the published ranges of GFPGAN (`options/train_gfpgan_v1.yml`) and of CodeFormer's
stage II, halved from 512 (`heavy` is capped so that a face keeps 12 pixels).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from likeness.data.codecs import ENCODERS, avif, film_frame, h264_still, palette, webp
from likeness.errors import ConfigError
from likeness.types import FloatArray, Pixels

KERNEL = 21


@dataclass(frozen=True)
class Recipe:
    """Ranges that are drawn uniformly.

    Attributes:
        sigma: of the blur, pixels at 256.
        shrink: factor r by which the picture is shrunk before noise and JPEG.
        noise: Gaussian sigma in grey levels.
        jpeg: quality.
        codec: after all that, one of `STILLS`, "either" (any of them, evenly), or None; "film": in the place of JPEG,
            one frame of a short film of a face that moves.
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
    # What is nearly good already: the network must learn to let it pass.
    "slight": Recipe((0.05, 0.6), (1, 1.2), (0, 3), (85, 100)),
    # A good face of nearly the crop's own size, as the aligner hands it over.
    "resampled": Recipe((0.05, 0.05), (1, 1.25), (0, 0), (100, 100)),
    # A frame of a clip: the blur, noise and compression of both clip recipes (data/clips.py). Faces narrower than 50 px
    # are not restored; their crops would be 2.5 times smaller.
    "film": Recipe((0.2, 3), (1, 2.8), (0, 10), (100, 100), "film"),
}
# What is done to a still: its level is drawn from (first, last).
STILLS: Mapping[str, tuple[Callable[[Pixels, int], Pixels], tuple[int, int]]] = {
    "h264": (h264_still, (23, 38)),  # one intra frame, crf
    "palette": (palette, (64, 256)),  # of a GIF, colours
    "webp": (webp, (20, 80)),  # quality
    "avif": (avif, (20, 70)),  # quality
}
FILM = 10  # frames
STEADY = 4  # the frame from which on the first one, which is coded better, has been forgotten
FIRST = 0.1  # share of samples that may show a frame before that
FILM_LEVELS = (22, 40)  # crf; wider than the clips' 23-38, as a whole picture's quantiser differs by up to 3
OTHERS = 0.1  # share of films by another encoder than x264
SPEED = 2.5  # of a film's face, pixels of the small picture from frame to frame, at most


@dataclass(frozen=True)
class Drawn:
    """The parameters of one sample; `kernel_ratio` is the short over the long sigma, angle in degrees.

    `sigma_2` to `jpeg_2` are those of a second round of blur, resize, noise and JPEG (Real-ESRGAN, Wang et al. 2021,
    section 3.1), on the small picture of the first; `shrink_2` = 0: there is none. The rest is a film's: which of its
    frames is shown, how the face moves between two, the seed of all else that moves in it, and the encoder.
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
    film: int = 0
    encoder: str = ""
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
    """Draws the parameters of recipe `name`; `codec` (of `STILLS`, or "either") where it has none of its own."""
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
    if codec == "film":
        return _filmed(base, rng)
    kind = list(STILLS)[int(rng.integers(len(STILLS)))] if codec == "either" else codec
    low, high = STILLS[kind][1]
    return replace(base, codec=kind, codec_level=int(rng.integers(low, high + 1)))


def _filmed(base: Drawn, rng: np.random.Generator) -> Drawn:
    speed, way = SPEED * rng.random() ** 1.5, 2 * math.pi * rng.random()  # most faces move slowly
    others = [name for name in ENCODERS if name != "libx264"]
    return replace(
        base,
        codec="film",
        codec_level=int(rng.integers(FILM_LEVELS[0], FILM_LEVELS[1] + 1)),
        frame=int(rng.integers(0 if rng.random() < FIRST else STEADY, FILM)),
        move_x=float(speed * math.cos(way)),
        move_y=float(speed * math.sin(way)),
        film=int(rng.integers(2**31)),
        encoder=others[int(rng.integers(len(others)))] if rng.random() < OTHERS else "libx264",
    )


def with_second_round(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    """The same with a second, milder round: a poor picture that was sent on."""
    return replace(
        drawn,
        sigma_2=float(rng.uniform(0.1, 1.5)),
        shrink_2=float(rng.uniform(0.7, 1.2)),
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
    return STILLS[drawn.codec][0](pixels, drawn.codec_level) if drawn.codec in STILLS else pixels


def _second_round(small: npt.NDArray[Any], drawn: Drawn, rng: np.random.Generator) -> npt.NDArray[Any]:
    out = cv2.GaussianBlur(small, (0, 0), drawn.sigma_2, borderType=cv2.BORDER_REFLECT_101)
    height, width = (max(8, round(side / drawn.shrink_2)) for side in small.shape[:2])
    out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA if drawn.shrink_2 > 1 else cv2.INTER_LINEAR)
    noisy = out + rng.normal(0, drawn.noise_2, out.shape)
    return jpeg(_integer(noisy), drawn.jpeg_2).astype(np.float32)


def film(image: npt.NDArray[Any], drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """A frame of an encoded film in which a face glides, turns, comes nearer and moves in itself; noise anew in each.

    In the frame that is shown it stands as given. A face that only glided would be predicted too well, and come out
    better than in a clip.

    Args:
        image: HWC float32 on the 0..255 scale.
        drawn: noise, codec_level, frame, move_x, move_y, film, encoder.
        rng: for the noise.
    """
    height, width = image.shape[:2]
    # Noise of four times the picture's area, of which each frame sees another part: cheaper than new noise in each.
    sheet = rng.standard_normal((2 * height, 2 * width, 3), np.float32) * np.float32(drawn.noise)
    frames = []
    for x, y, light in _moves(drawn, width, height):
        seen = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        top, left = int(rng.integers(height + 1)), int(rng.integers(width + 1))
        frames.append(_integer(seen * light + sheet[top : top + height, left : left + width]))
    return film_frame(frames, drawn.frame, drawn.codec_level, drawn.encoder or "libx264")


def _moves(drawn: Drawn, width: int, height: int) -> Iterator[tuple[FloatArray, FloatArray, np.float32]]:
    """For each frame where its pixels come from, x and y (H, W) float32, and by how much it is brighter.

    As in five clips (experiments/film): between aligned faces of neighbouring frames a root mean square of 2 to 20 grey
    levels, of frames five apart 8 to 40.
    """
    rng = np.random.default_rng(drawn.film)
    zoom, turn = rng.normal(0, 0.002), rng.normal(0, math.radians(0.15))
    bend = 0.025 * rng.random() ** 2 * min(width, height)  # pixels
    pace = 2 * math.pi / rng.uniform(6, 24, 2)
    phase = rng.uniform(0, 2 * math.pi, 2)
    light, beat = rng.uniform(0, 0.03), rng.uniform(0.05, 0.5)
    fields = [rng.normal(0, bend, (5, 5, 2)).astype(np.float32) for _ in pace]
    shapes = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in fields]
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    u, v = x - (width - 1) / 2, y - (height - 1) / 2
    for i in range(FILM):
        t = i - drawn.frame
        near = math.exp(zoom * t)
        c, s = near * math.cos(turn * t) - 1, near * math.sin(turn * t)
        along, down = x + c * u - s * v - t * drawn.move_x, y + s * u + c * v - t * drawn.move_y
        for shape, p, q in zip(shapes, pace, phase, strict=True):
            far = math.sin(p * i + q) - math.sin(p * drawn.frame + q)
            along, down = along + far * shape[..., 0], down + far * shape[..., 1]
        brighter = 1 + light * (math.sin(beat * i) - math.sin(beat * drawn.frame))
        yield along.astype(np.float32), down.astype(np.float32), np.float32(brighter)


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
