"""The released networks give the stored picture and clip: NASA's astronaut (public domain), made poor on purpose.

    python tests/pipeline/test_golden.py   # stores them anew, after a change that is meant

Processors round differently, hence the tolerance; `tests/outputs.py` compares bits on one machine.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.image import restore_image
from likeness.pipeline.models import load_models
from likeness.pipeline.state import Context, Models, pasted
from likeness.pipeline.video import restore_video
from likeness.tasks.demo import degraded
from likeness.types import Frame, Pixels

GOLDEN = Path(__file__).parent / "golden"
LEAST, MOST = 50.0, 2  # dB, and grey levels


def poor() -> Pixels:
    """The head, (240, 240, 3)."""
    return degraded(astronaut(), 0)[:240, 104:344]


def photo(models: Models) -> Pixels:
    """Restored at its own size."""
    return restore_image(poor(), Context(models, RestorerConfig(), "photo", 1)).pixels


def clip(models: Models) -> Pixels:
    """The last of five frames that glide over the face, with all that a clip remembers."""
    context = Context(models, from_overrides(["video.detect_every=3"]), "video", 1)
    frames = [Frame(np.ascontiguousarray(poor()[i : 232 + i, i : 232 + i]), i, Fraction(i, 25)) for i in range(5)]
    *_, (_, last, _) = restore_video(frames, context)
    assert pasted(last.faces[0])
    return last.pixels


def compare(name: str, pixels: Pixels) -> None:
    stored = np.asarray(Image.open(GOLDEN / name))
    assert stored.shape == pixels.shape
    difference = stored.astype(float) - pixels
    assert np.abs(difference).max() <= MOST
    assert 10 * np.log10(255**2 / max(float(np.square(difference).mean()), 1e-9)) >= LEAST


def test_photo_equals_the_stored_one(released: Models) -> None:
    compare("photo.png", photo(released))


def test_clip_equals_the_stored_one(released: Models) -> None:
    compare("clip.png", clip(released))


if __name__ == "__main__":
    networks = load_models(RestorerConfig())
    Image.fromarray(photo(networks)).save(GOLDEN / "photo.png")
    Image.fromarray(clip(networks)).save(GOLDEN / "clip.png")
