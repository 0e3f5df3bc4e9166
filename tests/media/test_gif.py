"""GIFs: delays, loop, disposal and transparency kept; what stands still keeps its indices."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.files import atomic_output
from likeness.media.gif import GifReader, GifWriter
from likeness.media.gif_palette import PaletteBuilder, PaletteMapper, pack, unpack
from likeness.media.xmp import SOURCE_TYPE
from likeness.types import Frame, MediaInfo


def blocks(path: Path) -> tuple[list[tuple[int, int]], int | None]:
    """(delay, disposal) of every image and the loop count, by walking the file (GIF89a)."""
    data = path.read_bytes()
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    frames, loop, control = [], None, (0, 0)
    while data[position] != 0x3B:
        if data[position] == 0x21:
            body = position + 3
            if data[position + 1] == 0xF9:
                control = (int.from_bytes(data[body + 1 : body + 3], "little"), data[body] >> 2 & 7)
            if data[body : body + 11] == b"NETSCAPE2.0":
                loop = int.from_bytes(data[body + 13 : body + 15], "little")
            position += 2
        else:
            assert data[position] == 0x2C
            frames.append(control)
            flags = data[position + 9]
            position += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
        while data[position]:
            position += 1 + data[position]
        position += 1
    return frames, loop


def info(loop: int | None = 0) -> MediaInfo:
    return MediaInfo("gif", 8, 8, loop=loop)


def write(path: Path, frames: list[Frame], loop: int | None = 0) -> list[str]:
    with GifWriter(path, info(loop)) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.notes


def still(pixels: np.ndarray, ticks: int, alpha: np.ndarray | None = None) -> Frame:
    return Frame(pixels, duration=Fraction(ticks, 100), alpha=alpha)


@pytest.fixture
def few_colours(portrait) -> np.ndarray:
    """A picture of 200 colours."""
    return np.asarray(Image.fromarray(portrait).quantize(200).convert("RGB"))


@pytest.mark.parametrize("loop", [None, 0, 1, 5])
def test_delays_loop_and_frame_count_round_trip(tmp_path, few_colours, loop):
    # Equal neighbours, a delay of 0 and a very long one: what other writers merge or change.
    ticks = [4, 0, 7, 7, 65535, 2]
    pictures = [
        few_colours,
        few_colours,
        np.roll(few_colours, 5, 1),
        np.roll(few_colours, 5, 1),
        few_colours,
        few_colours,
    ]
    notes = write(tmp_path / "a.gif", [still(p, t) for p, t in zip(pictures, ticks, strict=True)], loop)
    frames, stored_loop = blocks(tmp_path / "a.gif")
    assert [delay for delay, _ in frames] == ticks
    assert stored_loop == loop
    assert notes == []
    reader = GifReader(tmp_path / "a.gif")
    assert (reader.info.frames, reader.info.loop) == (len(ticks), loop)
    assert reader.info.duration == Fraction(sum(ticks), 100)
    read = list(reader)
    assert [frame.duration for frame in read] == [Fraction(t, 100) for t in ticks]
    assert [frame.time for frame in read] == [Fraction(sum(ticks[:i]), 100) for i in range(len(ticks))]
    for frame, picture in zip(read, pictures, strict=True):
        assert np.array_equal(frame.pixels, picture)


def test_up_to_256_colours_are_exact_for_an_independent_decoder(tmp_path):
    rng = np.random.default_rng(3)
    palette = rng.permutation(1 << 24)[:256].astype(np.uint32)
    pictures = [unpack(palette[rng.permutation(256 * 4) % 256]).reshape(32, 32, 3) for _ in range(4)]
    write(tmp_path / "a.gif", [still(p, 5) for p in pictures])
    with av.open(str(tmp_path / "a.gif")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 4
    for shown, picture in zip(decoded, pictures, strict=True):
        assert np.array_equal(shown, picture)


def test_what_stands_still_does_not_flicker(tmp_path, portrait):
    """A still background beside a moving part, far more colours than a palette holds."""
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(6):
        picture = portrait.copy()
        picture[40:60, 20:50] = rng.integers(0, 256, (20, 30, 3))
        frames.append(still(picture, 5))
    write(tmp_path / "a.gif", frames)
    outside = np.ones(portrait.shape[:2], bool)
    outside[40:60, 20:50] = False
    read = [frame.pixels[outside] for frame in GifReader(tmp_path / "a.gif")]
    assert all(np.array_equal(read[0], other) for other in read[1:])
    error = np.abs(read[0].astype(int) - portrait[outside])
    assert error.mean() < 6


def test_frames_that_are_alike_come_back_alike(tmp_path, portrait):
    a, b = portrait, np.ascontiguousarray(255 - portrait[::-1])
    write(tmp_path / "a.gif", [still(p, 3) for p in (a, b, a, b, b)])
    read = [frame.pixels for frame in GifReader(tmp_path / "a.gif")]
    assert np.array_equal(read[0], read[2])
    assert np.array_equal(read[1], read[3])
    assert np.array_equal(read[1], read[4])


def test_transparency_is_kept_and_cleared_between_frames(tmp_path, few_colours):
    shape = few_colours.shape[:2]
    masks = [np.zeros(shape, bool) for _ in range(3)]
    masks[0][:40], masks[1][30:70], masks[2][:] = True, True, True
    frames = [still(few_colours, 10, mask.astype(np.uint8) * 255) for mask in masks]
    assert write(tmp_path / "a.gif", frames) == []
    read = list(GifReader(tmp_path / "a.gif"))
    for frame, mask in zip(read, masks, strict=True):
        visible = np.ones(shape, bool) if frame.alpha is None else frame.alpha > 0
        assert np.array_equal(visible, mask)
        assert np.array_equal(frame.pixels[mask], few_colours[mask])


def test_a_note_names_half_transparent_pixels(tmp_path, few_colours):
    alpha = np.linspace(0, 255, few_colours[..., 0].size).astype(np.uint8).reshape(few_colours.shape[:2])
    notes = write(tmp_path / "a.gif", [still(few_colours, 10, alpha)])
    assert any("half-transparent" in note for note in notes)
    (frame,) = GifReader(tmp_path / "a.gif")
    assert np.array_equal(frame.alpha > 0, alpha >= 128)


def test_frames_are_composed_by_their_disposal(tmp_path):
    """Three small pictures on one canvas, each with its own disposal, as Pillow writes them."""
    canvas = [Image.new("RGBA", (8, 8), (0, 0, 0, 0)) for _ in range(3)]
    for index, (image, colour) in enumerate(zip(canvas, [(255, 0, 0), (0, 255, 0), (0, 0, 255)], strict=True)):
        image.paste((*colour, 255), (index * 2, 0, index * 2 + 2, 8))
    canvas[0].save(tmp_path / "a.gif", save_all=True, append_images=canvas[1:], disposal=2, duration=50)
    for index, frame in enumerate(GifReader(tmp_path / "a.gif")):
        visible = np.zeros((8, 8), bool)
        visible[:, index * 2 : index * 2 + 2] = True
        assert np.array_equal(frame.alpha > 0, visible)


@pytest.mark.parametrize(("format", "suffix"), [("WEBP", ".webp"), ("PNG", ".png")])
def test_animated_webp_and_png_are_read(tmp_path, few_colours, format, suffix):
    pictures = [few_colours, np.roll(few_colours, 9, 0)]
    images = [Image.fromarray(p) for p in pictures]
    options = {"lossless": True} if format == "WEBP" else {}
    path = tmp_path / f"a{suffix}"
    images[0].save(path, format, save_all=True, append_images=images[1:], duration=[40, 125], loop=3, **options)
    reader = GifReader(path)
    assert (reader.info.frames, reader.info.loop, reader.info.format) == (2, 3, format.lower())
    for frame, picture, delay in zip(reader, pictures, [40, 125], strict=True):
        assert np.array_equal(frame.pixels, picture)
        assert frame.duration == Fraction(delay, 1000)
    with GifWriter(tmp_path / "b.gif", reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    # 125 ms lie between two ticks.
    assert [delay for delay, _ in blocks(tmp_path / "b.gif")[0]] in ([4, 12], [4, 13])
    assert any("rounded" in note for note in writer.notes)


def test_rounded_delays_keep_the_total_and_a_note_names_them(tmp_path, few_colours):
    frames = [Frame(few_colours, i, duration=Fraction(1, 30)) for i in range(30)]
    write(tmp_path / "a.gif", frames)
    assert sum(delay for delay, _ in blocks(tmp_path / "a.gif")[0]) == 100


def test_palette_is_built_from_all_frames_within_its_limit(portrait):
    builder = PaletteBuilder()
    builder.add(portrait.reshape(-1, 3))
    builder.add(255 - portrait.reshape(-1, 3))
    palette = builder.build(255)
    assert 200 <= len(palette) <= 255
    mapped = palette[PaletteMapper(palette)(portrait)]
    distances = np.linalg.norm(portrait[::7, ::7, None].astype(float) - palette.astype(float), axis=-1)
    assert np.allclose(
        np.linalg.norm(mapped[::7, ::7].astype(float) - portrait[::7, ::7], axis=-1), distances.min(-1)
    ), "not the nearest colour"
    assert np.array_equal(unpack(pack(portrait).ravel()).reshape(portrait.shape), portrait)


def test_damaged_and_missing_files_are_refused_in_one_line(tmp_path, few_colours):
    write(tmp_path / "a.gif", [still(np.roll(few_colours, i, 1), 5) for i in range(5)])
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: len(data) // 2])
    (tmp_path / "rubbish.gif").write_bytes(b"GIF89a")
    (tmp_path / "bomb.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(6) + data[-40:])
    for name in ("cut.gif", "rubbish.gif", "bomb.gif", "missing.gif"):
        with pytest.raises(InputError) as caught:
            list(GifReader(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(np.zeros((4, 4, 3), np.uint8), duration=Fraction(1, 10)), "one size"),
        (Frame(np.zeros((8, 8, 3), np.uint16), duration=Fraction(1, 10)), "uint8"),
        (Frame(np.zeros((8, 8, 3), np.uint8)), "no duration"),
    ],
)
def test_unfit_frames_are_refused(tmp_path, frame, message):
    good = still(np.zeros((8, 8, 3), np.uint8), 5)
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a.gif", [good, frame])
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize("label", [False, True])
def test_the_comment_is_kept_and_labelled(label, tmp_path, few_colours):
    Image.fromarray(few_colours).save(tmp_path / "in.gif", comment=b"gr\xf6\xdfe " * 99)
    reader = GifReader(tmp_path / "in.gif")
    with GifWriter(tmp_path / "out.gif", reader.info, reader.meta, label) as writer:
        for frame in reader:
            writer.write(frame)
    with Image.open(tmp_path / "out.gif") as image:
        assert image.info["comment"].startswith(b"gr\xf6\xdfe " * 99)
        assert (SOURCE_TYPE.encode() in image.info["comment"]) is label
        assert np.array_equal(np.asarray(image.convert("RGB")), next(iter(reader)).pixels)


def test_an_interrupted_write_leaves_no_file(tmp_path, few_colours):
    def interrupted() -> None:
        with atomic_output(tmp_path / "out" / "a.gif") as path, GifWriter(path, info()) as writer:
            writer.write(still(few_colours, 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_gif_without_frames_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="no frame"), GifWriter(tmp_path / "a.gif", info()):
        pass


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(OutputError, match=r"\.gif"):
        GifWriter(tmp_path / "a.webp", info())


def test_writing_leaves_the_frame_unchanged(tmp_path, few_colours):
    pixels, alpha = few_colours.copy(), np.full(few_colours.shape[:2], 200, np.uint8)
    write(tmp_path / "a.gif", [still(pixels, 5, alpha)])
    assert np.array_equal(pixels, few_colours)
    assert (alpha == 200).all()
