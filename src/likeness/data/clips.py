"""How a good clip becomes a poor one: one lens and one encoder for all of it, noise anew in every frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from likeness.data.recipes import gaussian_kernel
from likeness.errors import ConfigError
from likeness.media.video_encoding import REPEATABLE
from likeness.types import Pixels


@dataclass(frozen=True)
class ClipRecipe:
    """Ranges that are drawn uniformly, once a clip.

    Attributes:
        sigma: of the blur, pixels at 256.
        noise: Gaussian sigma in grey levels, after shrinking.
        crf: H.264's quality, 0 (good) to 51 (poor).
    """

    sigma: tuple[float, float]
    noise: tuple[float, float]
    crf: tuple[int, int]


CLIP_RECIPES: Mapping[str, ClipRecipe] = {
    "weak": ClipRecipe((0.2, 1.5), (0, 4), (23, 28)),
    "strong": ClipRecipe((0.5, 3), (2, 10), (30, 38)),
}


@dataclass(frozen=True)
class ClipDrawn:
    """The parameters of one clip; `kernel_ratio` is the short over the long sigma, angle in degrees."""

    sigma: float
    kernel_ratio: float
    angle: float
    noise: float
    crf: int


def draw_clip(name: str, rng: np.random.Generator) -> ClipDrawn:
    """Draws the parameters of recipe `name`, weak or strong.

    Raises:
        ConfigError: if it is another.
    """
    if name not in CLIP_RECIPES:
        raise ConfigError(f"recipe: got {name!r}, expected one of {', '.join(CLIP_RECIPES)} for clips")
    recipe = CLIP_RECIPES[name]
    isotropic = rng.random() < 0.5
    return ClipDrawn(
        sigma=float(rng.uniform(*recipe.sigma)),
        kernel_ratio=1.0 if isotropic else float(rng.uniform(0.4, 1)),
        angle=0.0 if isotropic else float(rng.uniform(0, 180)),
        noise=float(rng.uniform(*recipe.noise)),
        crf=int(rng.integers(recipe.crf[0], recipe.crf[1] + 1)),
    )


def write_poor_clip(
    frames: Iterable[Pixels],
    drawn: ClipDrawn,
    factor: int,
    scale: float,
    rate: Fraction,
    rng: np.random.Generator,
    file: Path,
) -> None:
    """Blurs, shrinks, adds noise and encodes; the clip stays as small as it becomes.

    Args:
        frames: HWC uint8, sides divisible by twice `factor`.
        drawn: the parameters.
        factor: by how much it shrinks.
        scale: pixels of a 256 crop of the clip's face over pixels of the frame, as `sigma` is stated at 256.
        rate: frames a second.
        rng: for the noise alone.
        file: MP4 to write, H.264.

    Raises:
        ConfigError: if a frame does not divide.
    """
    sigma = drawn.sigma / scale
    kernel = gaussian_kernel(sigma, drawn.kernel_ratio, drawn.angle, 2 * int(np.ceil(3 * sigma)) + 1)
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": str(drawn.crf), "preset": "medium", **REPEATABLE})
        stream.pix_fmt = "yuv420p"
        for i, frame in enumerate(frames):
            height, width = frame.shape[:2]
            if height % (2 * factor) or width % (2 * factor):
                raise ConfigError(f"clip: got {width}x{height}, expected sides that {2 * factor} divides; crop it")
            if i == 0:
                stream.width, stream.height = width // factor, height // factor
            image = cv2.filter2D(frame.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
            image = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            image = image + rng.normal(0, drawn.noise, image.shape)
            pixels = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
