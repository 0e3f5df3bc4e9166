"""Animated WebP and PNG: what an independent decoder finds in what was written."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from likeness.errors import InputError, OutputError
from likeness.media.animation import AnimationWriter
from likeness.media.attachments import Attachments
from likeness.media.gif import GifReader
from likeness.media.images import ImageMeta
from likeness.media.xmp import SOURCE_TYPE
from likeness.types import Frame, MediaInfo

DELAYS = [40, 100, 70, 500, 30]


def frames(portrait, alpha: bool) -> list[Frame]:
    pictures = []
    for i, delay in enumerate(DELAYS):
        pixels = np.ascontiguousarray(np.roll(portrait, 7 * i, 1))
        mask = np.full(pixels.shape[:2], 255, np.uint8)
        mask[: 10 * i] = 90
        pictures.append(Frame(pixels, i, Fraction(0), Fraction(delay, 1000), mask if alpha else None))
    return pictures


def info(loop: int | None) -> MediaInfo:
    return MediaInfo("gif", 80, 96, loop=loop)


def write(path, pictures, loop=0):
    with AnimationWriter(path, info(loop)) as writer:
        for frame in pictures:
            writer.write(frame)
    return path


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.apng"])
def test_pillow_reads_the_frames_delays_alpha_and_loop_count_that_were_written(tmp_path, portrait, name, alpha):
    pictures = frames(portrait, alpha)
    with Image.open(write(tmp_path / name, pictures, 3)) as image:
        assert image.n_frames == len(DELAYS)
        assert image.info["loop"] == 3
        for index, frame in enumerate(pictures):
            image.seek(index)
            image.load()
            assert round(image.info["duration"]) == DELAYS[index]
            rgba = np.asarray(image.convert("RGBA")).astype(int)
            seen = np.full(frame.pixels.shape[:2], 255) if frame.alpha is None else frame.alpha
            assert np.abs(rgba[..., 3] - seen).max() == 0
            error = np.abs(rgba[..., :3] - frame.pixels)[seen == 255]
            assert error.mean() < (3 if name.endswith("webp") else 0.001)


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_delays_and_loop_count_survive_reading_and_writing(tmp_path, portrait, name):
    reader = GifReader(write(tmp_path / name, frames(portrait, False), 0))
    assert reader.info.loop == 0
    assert [f.duration for f in reader] == [Fraction(d, 1000) for d in DELAYS]
    again = write(tmp_path / f"again{name}", list(reader), reader.info.loop)
    assert [f.duration for f in GifReader(again)] == [Fraction(d, 1000) for d in DELAYS]


def test_rounding_errors_of_delays_do_not_add_up(tmp_path, portrait):
    thirtieths = [Frame(portrait, i, Fraction(0), Fraction(1, 30)) for i in range(30)]
    total = sum(f.duration for f in GifReader(write(tmp_path / "a.png", thirtieths)))
    assert total == 1


def test_frames_without_a_delay_get_one_tick(tmp_path, portrait):
    pictures = [Frame(np.roll(portrait, i, 1), i, Fraction(0), Fraction(d, 1000)) for i, d in enumerate([0, 0, 50])]
    assert [f.duration for f in GifReader(write(tmp_path / "a.png", pictures))] == [
        Fraction(1, 1000), Fraction(1, 1000), Fraction(48, 1000)
    ]  # fmt: skip


def hidden_still(path, portrait):
    """An animated PNG whose still is no frame, as Pillow writes it."""
    still = Image.fromarray(255 - portrait)
    others = [Image.fromarray(np.ascontiguousarray(np.roll(portrait, i, 1))) for i in (0, 5, 9)]
    still.save(path, save_all=True, default_image=True, append_images=others, duration=[40, 50, 60], loop=2)
    return 255 - portrait


def test_a_hidden_still_is_read_and_written(tmp_path, portrait):
    still = hidden_still(tmp_path / "a.png", portrait)
    reader = GifReader(tmp_path / "a.png")
    assert reader.has_hidden_image
    assert np.array_equal(reader.hidden_image().pixels, still)
    pictures = list(reader)
    assert len(pictures) == 3
    with AnimationWriter(tmp_path / "b.png", reader.info, reader.meta, hidden=reader.hidden_image()) as writer:
        for frame in pictures:
            writer.write(frame)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["default_image"]
        assert image.n_frames == 4
        assert np.array_equal(np.asarray(image.convert("RGB")), still)
        for index, frame in enumerate(pictures):
            image.seek(index + 1)
            assert np.array_equal(np.asarray(image.convert("RGB")), frame.pixels)
            assert image.info["duration"] == frame.duration * 1000
    with av.open(str(tmp_path / "b.png"), format="apng") as container:  # an independent decoder, which skips the still
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 3
    assert np.array_equal(decoded[2], pictures[2].pixels)
    assert not GifReader(write(tmp_path / "c.png", pictures)).has_hidden_image
    assert GifReader(tmp_path / "c.png").hidden_image() is None


def test_all_frames_of_an_animated_avif_are_read_with_their_delays(tmp_path, portrait):
    images = [Image.fromarray(np.ascontiguousarray(np.roll(portrait, 7 * i, 1))) for i in range(5)]
    images[0].save(tmp_path / "a.avif", save_all=True, append_images=images[1:], duration=DELAYS, quality=95)
    reader = GifReader(tmp_path / "a.avif")
    assert (reader.info.frames, reader.info.loop, reader.info.format) == (5, 0, "avif")
    for frame, image, delay in zip(reader, images, DELAYS, strict=True):
        assert frame.duration == Fraction(delay, 1000)
        assert np.abs(frame.pixels.astype(int) - np.asarray(image)).mean() < 3


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>""".encode()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("label", [False, True])
@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_metadata_and_label_are_written_and_no_pixel_changes(name, label, tmp_path, portrait):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Nonymous"
    meta = ImageMeta(exif=exif.tobytes(), icc=SRGB, attached=Attachments(xmp=XMP, texts=(("Author", "me"),)))
    plain = [frame.pixels for frame in GifReader(write(tmp_path / f"plain_{name}", frames(portrait, True), 3))]
    with AnimationWriter(tmp_path / name, info(3), meta, label) as writer:
        for frame in frames(portrait, True):
            writer.write(frame)
    reader = GifReader(tmp_path / name)
    assert all(np.array_equal(frame.pixels, pixels) for frame, pixels in zip(reader, plain, strict=True))
    assert reader.meta.icc == SRGB
    assert (SOURCE_TYPE.encode() in reader.meta.attached.xmp) is label
    assert b'xmp:Rating="5"' in reader.meta.attached.xmp
    assert reader.meta.attached.texts == ((("Author", "me"),) if name == "a.png" else ())
    with Image.open(tmp_path / name) as image:
        assert image.getexif()[ExifTags.Base.Artist] == "A. Nonymous"
        assert image.n_frames == 5


WRONG = {
    "another size": (Frame(np.zeros((9, 9, 3), np.uint8), 1, duration=Fraction(1)), InputError, "one size"),
    "no duration": (Frame(np.zeros((96, 80, 3), np.uint8), 1), InputError, "no duration"),
    "deep": (Frame(np.zeros((96, 80, 3), np.uint16), 1, duration=Fraction(1)), InputError, "uint16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_unfit_frames_are_refused(tmp_path, portrait, case):
    frame, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        write(tmp_path / "a.webp", [Frame(portrait, 0, duration=Fraction(1)), frame])


def test_no_frames_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(OutputError, match="no frame was written"):
        write(tmp_path / "a.png", [])
    with pytest.raises(OutputError, match=r"\.gif, \.webp or \.png"):
        AnimationWriter(tmp_path / "a.gif", info(0))


def test_writing_leaves_the_frame_unchanged(tmp_path, portrait):
    frame = frames(portrait, True)[2]
    pixels, alpha = frame.pixels.copy(), frame.alpha.copy()
    write(tmp_path / "a.webp", [frame])
    assert np.array_equal(frame.pixels, pixels)
    assert np.array_equal(frame.alpha, alpha)
