"""Videos to GIFs: even in time, classed by what was done to them, laid out, and measured against the truth."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness.errors import InputError
from likeness.media.gif import GifReader
from likeness.metrics.clip_fault import FAULTS, ClipQuality, FaultBounds, clip_quality, fault
from likeness.metrics.psnr import psnr
from likeness.tasks.clips import moving, write_clip
from likeness.tasks.gif import GifOptions, against, confusion, confusion_table, main, sampled, spoiled


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One good clip of 25 frames a second, 12 frames long."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "one.mp4", moving(12, (360, 300), 110), 12)
    return folder


def test_a_gif_s_frames_are_even_in_time(clips: Path) -> None:
    frames = list(sampled(clips / "one.mp4", GifOptions(rate=10, side=180)))
    assert [f.time for f in frames] == [Fraction(i, 10) for i in range(5)]
    assert {f.duration for f in frames} == {Fraction(1, 10)}
    assert {f.pixels.shape for f in frames} == {(150, 180, 3)}
    assert len(list(sampled(clips / "one.mp4", GifOptions(rate=10, seconds=0.25)))) == 3
    # More frames than the clip has: each is shown as often as it must be.
    assert len(list(sampled(clips / "one.mp4", GifOptions(rate=50)))) == 24


@pytest.mark.parametrize("kind", FAULTS)
def test_damaged_clips_are_reported(kind: str) -> None:
    frames = list(moving(3, (480, 400), 130))
    for seed in range(4):
        poor = spoiled(frames, kind, np.random.default_rng(seed))  # type: ignore[arg-type]
        assert fault(clip_quality(poor)) == kind
    assert np.array_equal(frames[0], next(moving(1, (480, 400), 130)))


def test_noise_does_not_pass_for_detail() -> None:
    sharp = astronaut()
    soft = np.asarray(Image.fromarray(sharp).resize((128, 128)).resize((512, 512), Image.Resampling.BICUBIC))
    rng = np.random.default_rng(0)
    noisy = np.clip(soft + rng.normal(0, 10, soft.shape), 0, 255).astype(np.uint8)
    before, after = clip_quality([soft]), clip_quality([noisy])
    assert clip_quality([sharp]).detail > 3 * before.detail
    assert abs(after.detail - before.detail) < 0.4 * clip_quality([sharp]).detail
    assert after.noise > before.noise + 3


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (ClipQuality(8, 12, 480), "noisy"),
        (ClipQuality(1, 2, 480), "blurry"),
        (ClipQuality(1, 12, 120), "low_res"),
        (ClipQuality(12, 4, 200), "noisy"),
        (ClipQuality(4.1, 1, 200), "blurry"),
    ],
)
def test_the_class_is_what_is_worst(quality: ClipQuality, expected: str) -> None:
    assert fault(quality, FaultBounds(4, 6, 240)) == expected


def test_frames_of_two_sizes_are_no_clip() -> None:
    with pytest.raises(InputError, match="expected one or more of one shape"):
        clip_quality([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    with pytest.raises(InputError, match="got 0 frames"):
        clip_quality([])


def test_figures_against_the_truth() -> None:
    truth = [np.full((32, 40, 3), 100 + 5 * i, np.uint8) for i in range(3)]
    truth[0][:16] = 30
    assert against(truth, truth)["tmse_gt"] == 0
    flickering = [t + np.uint8(4 * (i % 2)) for i, t in enumerate(truth)]
    found = against(flickering, truth)
    assert found["tmse_gt"] == pytest.approx(16)
    assert found["psnr"] != pytest.approx(float(psnr_of(truth[0], truth[1])))
    with pytest.raises(InputError, match="got 2 frames for 3"):
        against(truth, truth[:2])


def psnr_of(a: np.ndarray, b: np.ndarray) -> float:
    import torch

    x, y = (torch.from_numpy(p / np.float32(255)).permute(2, 0, 1)[None] for p in (a, b))
    return float(psnr(x, y))


def test_everything_has_its_folder_and_its_line(clips: Path, tmp_path: Path) -> None:
    dst = tmp_path / "out"
    assert main([f"src={clips}", f"dst={dst}", f"truth={clips}", "side=240", "rate=10"]) == 0
    (gif,) = (dst / "gifs").glob("*/one.gif")
    assert gif.parent.name in FAULTS
    given, enhanced = list(GifReader(gif)), list(GifReader(dst / "output_gifs" / "one.gif"))
    assert len(given) == len(enhanced) == 5
    assert [f.duration for f in enhanced] == [f.duration for f in given] == [Fraction(1, 10)] * 5
    for role, frames in (("input", given), ("enhanced", enhanced)):
        files = sorted((dst / "frames" / role / "one").iterdir())
        assert [f.name for f in files] == [f"{i:04d}.png" for i in range(5)]
        np.testing.assert_array_equal(np.asarray(Image.open(files[2])), frames[2].pixels)
    assert (dst / "raw_videos" / "one.mp4").read_bytes() == (clips / "one.mp4").read_bytes()
    with (dst / "clips.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert line["class"] == gif.parent.name
    assert line["faces"] == "1"
    truth = [f.pixels for f in sampled(clips / "one.mp4", GifOptions(side=240, rate=10))]
    assert float(line["input_psnr"]) == pytest.approx(against([f.pixels for f in given], truth)["psnr"])
    assert float(line["input_psnr"]) > 25


def test_the_confusion_matrix_counts(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = confusion([clips / "one.mp4"], GifOptions())
    assert {true: sum(row.values()) for true, row in counts.items()} == dict.fromkeys(FAULTS, 1)
    made = {t: {f: 9 if f == t else int(f == "blurry") for f in FAULTS} for t in FAULTS}
    lines = confusion_table(made)  # type: ignore[arg-type]
    assert lines[2] == "| noisy | 9 | 1 | 0 | 90 % |"
    assert lines[-1] == "93 % in all."
    assert main([f"src={clips}", f"confusion={tmp_path / 'c.md'}"]) == 0
    assert "1 clips, each spoiled" in (tmp_path / "c.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected dst=DIR"),
        (["dst=x", "rate=0"], "expected 0 to 50 frames"),
        (["dst=x", "src={empty}"], "no video in"),
    ],
)
def test_error_names_what_is_missing_or_wrong(
    words: list[str], said: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    words = [w.format(empty=tmp_path / "empty") for w in words]
    given = words if any(w.startswith("src=") for w in words) else [f"src={clips}", *words]
    assert main(given) != 0
    assert said in capsys.readouterr().err
