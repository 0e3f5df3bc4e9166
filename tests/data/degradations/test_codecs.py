"""Codecs for single pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from likeness.data.degradations import codecs
from likeness.types import Pixels


def test_h264_error_grows_with_crf(face: Pixels) -> None:
    errors = [np.square(codecs.h264_still(face, crf).astype(float) - face).mean() for crf in (10, 25, 38)]
    assert errors == sorted(errors)
    assert errors[0] < 30
    assert errors[-1] > 2 * errors[0]


@pytest.mark.parametrize("colours", [2, 64, 256])
def test_palette_has_the_given_number_of_colours_and_keeps_the_mean(face: Pixels, colours: int) -> None:
    reduced = codecs.palette(face, colours)
    assert 2 <= len(np.unique(reduced.reshape(-1, 3), axis=0)) <= colours
    # Dithering distributes the error, so the mean stays.
    assert np.abs(reduced.mean((0, 1)) - face.mean((0, 1))).max() < (12 if colours == 2 else 2)


def test_palette_picture_is_stored_in_a_gif_without_loss(face: Pixels) -> None:
    reduced = codecs.palette(face, 64)
    buffer = io.BytesIO()
    Image.fromarray(reduced).quantize(64, dither=Image.Dither.NONE).save(buffer, "GIF")
    with Image.open(buffer) as gif:
        assert_array_equal(np.asarray(gif.convert("RGB")), reduced)


@pytest.mark.parametrize(("codec", "kind"), [("webp", "WEBP"), ("avif", "AVIF")])
def test_image_codec_has_the_error_of_pillows_defaults(face: Pixels, codec: str, kind: str) -> None:
    errors = []
    for quality in (80, 50, 20):
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, kind, quality=quality)
        with Image.open(buffer) as picture:
            expected = np.square(np.asarray(picture.convert("RGB")).astype(float) - face).mean()
        errors.append(np.square(getattr(codecs, codec)(face, quality).astype(float) - face).mean())
        assert errors[-1] == pytest.approx(expected, rel=0.3)
    assert errors == sorted(errors)
    assert errors[-1] > 2 * errors[0]
