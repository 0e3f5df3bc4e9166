"""One loop for photos, GIFs, videos and resumed videos: what is written, counted, noted and reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from likeness.errors import InputError, OutputError
from likeness.media.segments import SegmentEncoder
from likeness.media.video_reader import VideoReader
from likeness.media.video_writer import VideoWriter
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer

COPIED = "nothing to restore: the file was copied, not encoded again"
VIDEO_FILES = ["restored", "frames", "cards", "report"]
GIF_FILES = ["restored", "frames", "compare", "cards", "report"]


@pytest.fixture
def restore(tmp_path, make_models, face_at):
    """A function that restores a file with known networks."""

    def run(source, *options, progress=None, reference=None):
        restorer = Restorer(from_overrides(options))
        restorer._models = make_models(face_at(150, 110, 90))
        return restorer.file(source, tmp_path / "out", reference, progress)

    return run


@pytest.fixture
def source(tmp_path, scene, make_clip, make_gif):
    """A function that writes an input of a kind; clips have five frames."""
    moving = [np.roll(scene, i, 1) for i in range(5)]

    def make(kind):
        if kind == "photo":
            Image.fromarray(scene).save(tmp_path / "a.png")
            return tmp_path / "a.png"
        return make_gif("a.gif", moving, [50] * 5) if kind == "gif" else make_clip("a.mp4", moving, seconds=0.2)

    return make


CASES = {
    "photo": ("photo", [], ["restored", "compare", "cards", "report"]),
    "gif": ("gif", [], GIF_FILES),
    "gif, resume": ("gif", ["resume=true"], GIF_FILES),
    "video": ("video", [], VIDEO_FILES),
    "video, compare": ("video", ["compare=yes"], GIF_FILES),
    "video, resume": ("video", ["resume=true"], VIDEO_FILES),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_file_gets_its_outputs_counts_and_progress(case, source, restore, tmp_path):
    kind, options, roles = CASES[case]
    path, calls = source(kind), []
    before = path.read_bytes()
    result = restore(path, "upscale=1", *options, progress=lambda *steps: calls.append(steps))
    count = 1 if kind == "photo" else 5
    assert list(result.outputs) == list(result.report["outputs"]) == roles
    assert set((tmp_path / "out").iterdir()) == set(result.outputs.values())
    assert json.loads(result.outputs["report"].read_text()) == result.report
    assert result.report["totals"]["frames"] == result.report["faces"][0]["restored_frames"] == count
    assert result.report["notes"] == []
    assert calls == ([] if kind == "photo" else [(i, 5, 1) for i in range(1, 6)])
    if kind != "photo":
        lines = [json.loads(line) for line in result.outputs["frames"].read_text().splitlines()]
        assert [(line["frame"], len(line["faces"])) for line in lines] == [(i, 1) for i in range(5)]
    assert {"read", "detect", "write"} <= set(result.report["totals"]["seconds_by_stage"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("case", CASES)
def test_a_file_in_which_nothing_is_restored_is_copied(case, source, restore):
    kind, options, roles = CASES[case]
    path = source(kind)
    result = restore(path, "upscale=1", "strength=0", *options)
    assert result.outputs["restored"].read_bytes() == path.read_bytes()
    assert list(result.outputs) == roles
    assert result.report["notes"] == [COPIED]


@pytest.mark.parametrize("options", [[], ["resume=true"]], ids=["plain", "resume"])
def test_damage_is_counted_as_errors_and_noted_before_what_the_result_changed(
    options, scene, make_clip, restore, tmp_path
):
    """Damage is known at the end of the file, after all frames were read."""
    path = make_clip("whole.mp4", [scene, 255 - scene] * 4, seconds=0.3)
    with VideoReader(path) as reader, VideoWriter(tmp_path / "fast.mp4", reader, 320, 240) as writer:
        for frame in reader:
            writer.write(frame)
    data = (tmp_path / "fast.mp4").read_bytes()  # its index stands at the beginning
    broken = tmp_path / "broken.m4v"
    broken.write_bytes(data[: len(data) * 7 // 10])
    report = restore(broken, *options).report
    assert 0 < report["totals"]["frames"] < 8
    *damage, changed = report["notes"]
    assert changed == ".m4v became .mp4"
    assert any("missing" in note for note in damage)
    assert [f"{count} {what}" for what, count in report["totals"]["errors"].items()] == damage


@pytest.mark.parametrize("options", [[], ["compare=yes"], ["resume=true"]], ids=["plain", "compare", "resume"])
@pytest.mark.parametrize("kind", ["gif", "video"])
def test_a_time_range_without_a_frame_is_refused_by_the_name_of_the_input(kind, options, source, restore, tmp_path):
    path = source(kind)
    times = {"gif": ["start=5"], "video": ["start=0.165", "end=0.17"]}[kind]
    if kind == "gif" and "resume=true" in options:
        pytest.skip("GIFs are not resumed")
    with pytest.raises(InputError, match="no frame begins in the part that start, end and preview select") as caught:
        restore(path, *times, *options)
    assert str(caught.value).startswith(str(path))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_photo_ignores_a_time_range_and_says_so(source, restore):
    result = restore(source("photo"), "preview=1")
    assert result.report["notes"] == ["start, end and preview are for clips: the whole photo was taken"]


@pytest.mark.parametrize("options", [["compare=yes"], ["resume=true"]], ids=["plain", "resume"])
def test_an_encoder_that_fails_is_one_error_and_leaves_no_visible_file(options, source, restore, tmp_path, monkeypatch):
    encoder = SegmentEncoder if "resume=true" in options else VideoWriter
    write = encoder.write

    def failing(self, frame):
        if frame.index == 2:
            raise OutputError("no space left")
        write(self, frame)

    monkeypatch.setattr(encoder, "write", failing)
    with pytest.raises(OutputError, match="no space left"):
        restore(source("video"), *options)
    assert [p for p in (tmp_path / "out").iterdir() if p.is_file()] == []


def test_a_reference_is_compared_frame_by_frame_without_changing_the_result(source, restore, tmp_path):
    path = source("video")
    plain = restore(path).outputs["restored"].read_bytes()
    result = restore(path, reference=path)
    assert result.outputs["restored"].read_bytes() == plain
    reference = result.report["reference"]
    assert reference["file"] == str(path)
    assert (reference["input"]["ssim"], reference["input"]["psnr"], reference["faces"]) == (1.0, None, 5)
    assert 0.5 < reference["output"]["ssim"] < 1


def test_a_clip_that_goes_into_another_container_is_not_copied(source, tmp_path, make_models):
    restorer = Restorer()
    restorer._models = make_models()
    report = restorer.video(source("video"), tmp_path / "out" / "b.mkv")
    assert report["notes"] == [".mp4 became .mkv", "times are rounded to milliseconds, the clock of .mkv"]
    assert report["outputs"] == {"restored": str(tmp_path / "out" / "b.mkv")}
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.mkv"]
