"""Names of results: the source's own wherever its format is written and holds the result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from likeness.errors import OutputError
from likeness.media import animation, image_writer, images
from likeness.media.naming import (
    ANIMATION_SUFFIXES,
    MEDIA_SUFFIXES,
    PHOTO_FORMATS,
    OutputNames,
    check_target,
    photo_suffix,
    refuse_overwrite,
    require_inside,
    target_name,
    video_suffix,
)
from likeness.types import Frame

FRAMES = {
    "plain": Frame(np.zeros((2, 2, 3), np.uint8)),
    "alpha": Frame(np.zeros((2, 2, 3), np.uint8), alpha=np.zeros((2, 2), np.uint8)),
    "deep": Frame(np.zeros((2, 2, 3), np.uint16)),
}


@pytest.mark.parametrize(
    ("suffix", "frame", "format", "expected"),
    [
        (".JPG", "plain", "jpeg", ".JPG"),
        (".tiff", "plain", "tiff", ".tiff"),
        (".tiff", "alpha", "tiff", ".tiff"),
        (".tif", "deep", "tiff", ".png"),
        (".png", "deep", "png", ".png"),
        (".jpg", "alpha", "png", ".png"),  # misnamed: the content decides where the name cannot hold it
        (".bmp", "plain", "png", ".bmp"),
        (".bmp", "alpha", "webp", ".webp"),
        (".bmp", "alpha", "bmp", ".png"),
        (".mpo", "plain", "jpeg", ".jpg"),
        (".heic", "plain", "heic", ".jpg"),
        (".heic", "alpha", "heic", ".png"),
        ("", "plain", "tiff", ".tif"),
        ("", "plain", "avif", ".avif"),
    ],
)
def test_a_photo_keeps_its_suffix_where_the_format_holds_it(suffix, frame, format, expected):
    assert photo_suffix(suffix, FRAMES[frame], format) == expected


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("suffix", ["", *sorted(MEDIA_SUFFIXES)])
def test_every_photo_can_be_written_under_its_suffix(suffix, frame, tmp_path):
    for format in ("jpeg", "png", "webp", "tiff", "bmp", "avif", "heic"):
        path = tmp_path / f"a{photo_suffix(suffix, FRAMES[frame], format)}"
        image_writer.write_image(path, FRAMES[frame], images.ImageMeta(format))
        assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".mp4", ".mp4"),
        (".M4V", ".mp4"),
        (".mov", ".mov"),
        (".mkv", ".mkv"),
        (".webm", ".webm"),
        (".avi", ".mkv"),
        ("", ".mkv"),
    ],
)
def test_a_video_keeps_its_container_where_it_is_written(suffix, expected):
    assert video_suffix(suffix) == expected


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("a b.c.MOV", "video", "a b.c.mov"),
        ("a.ts", "video", "a.mkv"),
        ("a.GIF", "gif", "a.GIF"),
        ("a.webp", "gif", "a.webp"),
        ("a.bin", "gif", "a.gif"),
        ("a.AVIF", "gif", "a.webp"),
        ("a=b [1].heic", "photo", "a=b [1].heic"),
    ],
)
def test_a_result_is_called_like_its_source(source, kind, expected):
    assert target_name(Path(source), kind) == expected


@pytest.mark.parametrize("stem", ["L" * 251, "中" * 83, "e\u0301" * 83, "a" * 250 + "\udcff"], ids=ascii)
def test_long_names_are_cut_between_characters_and_stay_apart(stem):
    names = OutputNames(Path(f"in/{stem}.avi"), Path(f"out/{stem}.mkv"))
    beside = [names.compare(".mkv"), names.cards, names.frames, names.report, names.segments]
    assert len({path.name for path in beside}) == 5
    assert all(len(os.fsencode(path.name)) <= 255 for path in beside)
    assert all(stem.startswith(path.name.partition("~")[0]) for path in beside[:4])
    other = OutputNames(Path(f"in/{stem[:-1]}x.avi"), Path(f"out/{stem[:-1]}x.mkv"))
    assert other.report != names.report
    (note,) = names.notes
    assert names.report.name.removesuffix("report.json") in note
    assert OutputNames(Path("a.avi"), Path("a.mkv")).notes == []


def test_a_suffix_that_grows_is_made_to_fit():
    source = Path("v" * 252 + ".ts")
    assert len(target_name(source, "video")) == 255
    assert target_name(source, "video").endswith(".mkv")


def test_a_path_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    require_inside(tmp_path / "out" / "a" / "b", tmp_path / "out")
    for path in ("out", "out/../b", "out/link", "out/link/b", "."):
        with pytest.raises(OutputError, match="leads out"):
            require_inside(tmp_path / path, tmp_path / "out")


def test_what_lies_beside_a_result_is_called_after_the_source():
    names = OutputNames(Path("in/a.b.avi"), Path("out/a.b.mkv"))
    beside = [names.compare(".mkv"), names.cards, names.frames, names.report, names.segments]
    assert {path.parent for path in beside} == {Path("out")}
    assert [path.name for path in beside] == [
        "a.b_compare.mkv", "a.b_faces.png", "a.b_frames.jsonl", "a.b_report.json", ".a.b.mkv.segments"
    ]  # fmt: skip


def test_the_tables_of_suffixes_agree():
    assert set(PHOTO_FORMATS) < MEDIA_SUFFIXES
    assert set(ANIMATION_SUFFIXES) == {".gif", *animation._FORMATS}


def test_an_animation_goes_into_an_animation_only(tmp_path):
    for suffix in ANIMATION_SUFFIXES:
        check_target(tmp_path / "a.gif", tmp_path / f"b{suffix}", "gif")
    with pytest.raises(OutputError, match=r"give the suffix \.gif, \.webp or \.png"):
        check_target(tmp_path / "a.gif", tmp_path / "b.mp4", "gif")
    with pytest.raises(OutputError, match="never overwritten"):
        check_target(tmp_path / "a.gif", tmp_path / "a.gif", "gif")


def test_the_input_is_refused_as_output_under_every_path(tmp_path):
    source = tmp_path / "a.jpg"
    source.write_bytes(b"x")
    (tmp_path / "soft.jpg").symlink_to(source)
    os.link(source, tmp_path / "hard.jpg")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "other.jpg").write_bytes(b"x")
    for same in ("a.jpg", "soft.jpg", "hard.jpg", "link/a.jpg", "link/link/a.jpg"):
        with pytest.raises(OutputError, match="never overwritten"):
            refuse_overwrite(source, tmp_path / same)
    for other in ("other.jpg", "new.jpg"):
        refuse_overwrite(source, tmp_path / other)
