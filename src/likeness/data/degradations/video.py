"""Degrades a whole clip: one blur kernel and one encoding for all frames, new noise in every frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from likeness.data.degradations.codecs import to_uint8
from likeness.data.degradations.stills import gaussian_kernel
from likeness.errors import ConfigError
from likeness.media.video_encoding import REPEATABLE
from likeness.types import Pixels


@dataclass(frozen=True)
class ClipRecipe:
    """Ranges from which parameters are sampled uniformly, once for each clip.

    Attributes:
        sigma: of the blur, in pixels at 256.
        noise: sigma of the Gaussian noise in grey levels, added after downscaling.
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
class ClipParams:
    """The sampled parameters of one clip.

    Attributes:
        sigma: of the blur along its long axis, in pixels at 256.
        kernel_ratio: sigma along the short axis over `sigma`, 0.4..1.
        angle: of the long axis, in degrees.
        noise: sigma in grey levels.
        crf: H.264's quality.
    """

    sigma: float
    kernel_ratio: float
    angle: float
    noise: float
    crf: int


def sample_clip_params(name: str, rng: np.random.Generator) -> ClipParams:
    """Samples the parameters of a clip recipe.

    Args:
        name: "weak" or "strong".
        rng: source of the random numbers.

    Raises:
        ConfigError: if the recipe is unknown.
    """
    if name not in CLIP_RECIPES:
        raise ConfigError(f"recipe: got {name!r}, expected one of {', '.join(CLIP_RECIPES)} for clips")
    recipe = CLIP_RECIPES[name]
    isotropic = rng.random() < 0.5
    return ClipParams(
        sigma=float(rng.uniform(*recipe.sigma)),
        kernel_ratio=1.0 if isotropic else float(rng.uniform(0.4, 1)),
        angle=0.0 if isotropic else float(rng.uniform(0, 180)),
        noise=float(rng.uniform(*recipe.noise)),
        crf=int(rng.integers(recipe.crf[0], recipe.crf[1] + 1)),
    )


def write_degraded_clip(
    frames: Iterable[Pixels],
    params: ClipParams,
    factor: int,
    scale: float,
    rate: Fraction,
    rng: np.random.Generator,
    file: Path,
) -> None:
    """Blurs, downscales, adds noise and encodes a clip; it is not scaled back up.

    Args:
        frames: HWC uint8, sides divisible by twice `factor`.
        params: the sampled parameters.
        factor: of the downscaling.
        scale: pixels of a 256 px crop of the clip's face over pixels of the frame; converts `sigma` to the frame.
        rate: frames a second.
        rng: source of the noise alone.
        file: MP4 to write, H.264.

    Raises:
        ConfigError: if twice `factor` does not divide a frame's sides.
    """
    sigma = params.sigma / scale
    kernel = gaussian_kernel(sigma, params.kernel_ratio, params.angle, 2 * int(np.ceil(3 * sigma)) + 1)
    options = {"crf": str(params.crf), "preset": "medium", **REPEATABLE}
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # x264 writes another file with another number of threads
        for i, frame in enumerate(frames):
            height, width = frame.shape[:2]
            if height % (2 * factor) or width % (2 * factor):
                raise ConfigError(
                    f"clip: got {width}x{height}, expected sides divisible by {2 * factor}; crop the frames"
                )
            if i == 0:
                stream.width, stream.height = width // factor, height // factor
            image = cv2.filter2D(frame.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
            image = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            pixels = to_uint8(image + rng.normal(0, params.noise, image.shape))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
