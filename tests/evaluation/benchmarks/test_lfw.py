"""LFW: the list, the files, the landmarks of clean frames and their cache, the alignment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likeness.errors import DataError
from likeness.evaluation.benchmarks.lfw import (
    MEAN_LANDMARKS,
    LandmarkFinder,
    align,
    find_image,
    open_lfw,
    open_lfw_frames,
    open_view_2,
    read_image_names,
)
from likeness.evaluation.methods.base import Method
from likeness.evaluation.protocol.faces import degraded_face, evaluate_methods
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.scores import Run
from likeness.ops import geometry
from likeness.types import Faces, FloatArray, Pixels

PAIRS = "2\nBob_Hope\t1\t3\nAnn_Lee\t2\t10\nBob_Hope\t1\tAnn_Lee\t2\nAl\t1\tBob_Hope\t3\n"
NAMES = ["Al_0001", "Ann_Lee_0002", "Ann_Lee_0010", "Bob_Hope_0001", "Bob_Hope_0003"]


class _Detector:
    """Two faces in a bright frame, the second one in the middle; none in a dark frame."""

    middle = geometry.template(256) * 0.4 + 70

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        self.frames += len(frames)
        return [self._faces() if f.mean() > 60 else Faces.empty() for f in frames]

    def _faces(self) -> Faces:
        points = np.stack([self.middle - 60, self.middle]).astype(np.float32)
        boxes = np.concatenate([points.min(1), points.max(1)], axis=1)
        return Faces(boxes, np.array([0.99, 0.9], np.float32), points)


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Five frames in three formats; the first is dark."""
    (tmp_path / "pairsDevTest.txt").write_text(PAIRS)
    rng = np.random.default_rng(0)
    for i, (name, extension) in enumerate(zip(NAMES, ("png", "jpg", "webp", "png", "jpg"), strict=True)):
        frame = rng.integers(0, 40 if i == 0 else 255, (10, 10, 3), dtype=np.uint8)
        file = tmp_path / "lfw" / name.rsplit("_", 1)[0] / f"{name}.{extension}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).resize((250, 250), Image.Resampling.BICUBIC).save(file)
    return tmp_path


def test_names_are_distinct_and_sorted(lfw: Path) -> None:
    assert read_image_names(lfw / "pairsDevTest.txt") == NAMES
    (lfw / "pairsDevTest.txt").write_text("1\nBob_Hope one two\n")
    with pytest.raises(DataError, match="line 2"):
        read_image_names(lfw / "pairsDevTest.txt")


def test_images_are_found_by_any_extension_in_either_folder(lfw: Path) -> None:
    assert find_image(lfw, "Ann_Lee_0010").name == "Ann_Lee_0010.webp"
    assert find_image(lfw / "lfw", "Al_0001").name == "Al_0001.png"
    with pytest.raises(DataError, match=r"Ann_Lee_0011.*data\.lfw=DIR"):
        find_image(lfw, "Ann_Lee_0011")


def test_align_puts_the_landmarks_on_the_template() -> None:
    frame = np.zeros((250, 250, 3), np.uint8)
    points = geometry.template(256) * 0.5 + 50
    for x, y in np.rint(points).astype(int):
        frame[y - 1 : y + 2, x - 1 : x + 2] = 255
    crop = align(frame, np.rint(points))
    for x, y in geometry.template(256):
        patch = crop[int(y) - 5 : int(y) + 7, int(x) - 5 : int(x) + 7, 0].astype(float)
        rows, columns = np.mgrid[int(y) - 5 : int(y) + 7, int(x) - 5 : int(x) + 7]
        centre = (columns * patch).sum() / patch.sum(), (rows * patch).sum() / patch.sum()
        assert centre == pytest.approx((x, y), abs=1.2)


def test_middle_face_is_aligned_and_misses_use_mean_landmarks(lfw: Path, tmp_path: Path) -> None:
    benchmark = open_lfw(lfw, LandmarkFinder(_Detector, tmp_path / "cache.json"), count=4)
    assert list(benchmark.names) == NAMES[:4]
    assert benchmark.facts == {"faces": 4, "faces without a detection (mean landmarks used)": 1}
    for index, points in ((0, MEAN_LANDMARKS), (3, _Detector.middle)):
        with Image.open(find_image(lfw, NAMES[index])) as picture:
            expected = align(np.asarray(picture.convert("RGB")), points)
        # The cache keeps the detector's single precision.
        assert np.abs(benchmark.load(index).truth_256.astype(int) - expected).max() <= 1


def test_landmarks_are_detected_once(lfw: Path, tmp_path: Path) -> None:
    detector = _Detector()
    done: list[int] = []
    first = open_lfw(lfw, LandmarkFinder(lambda: detector, tmp_path / "cache.json", done.append), 9, limit=3)
    assert detector.frames == 3
    finder = LandmarkFinder(lambda: detector, tmp_path / "cache.json")
    again = open_lfw(lfw, finder, 9, limit=3)
    assert detector.frames == 3
    assert sum(done) == 3
    assert np.array_equal(first.load(2).truth_256, again.load(2).truth_256)
    assert first.data_hash == again.data_hash
    open_lfw(lfw, finder, 9)
    assert detector.frames == 5


def test_missing_set_is_refused_with_its_source_and_place(tmp_path: Path) -> None:
    finder = LandmarkFinder(_Detector, tmp_path / "cache.json")
    for folder in (None, tmp_path):
        with pytest.raises(DataError, match=r"vis-www.*\$LIKENESS_DATA/lfw.*data\.lfw=DIR"):
            open_lfw(folder, finder, 9)
    (tmp_path / "pairsDevTest.txt").write_text(PAIRS)
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(DataError, match="no picture of Al_0001"):
        open_lfw(tmp_path, finder, 9)


def test_damaged_cache_is_refused(lfw: Path) -> None:
    (lfw / "cache.json").write_text("{")
    with pytest.raises(DataError, match=r"cache\.json.*delete it"):
        open_lfw(lfw, LandmarkFinder(_Detector, lfw / "cache.json"), 9)


def test_view_2_names_every_picture_once(lfw: Path) -> None:
    text = "2 1\nBob_Hope 1 3\nAnn_Lee 2 Bob_Hope 3\nAnn_Lee 2 10\nAl 1 Ann_Lee 10\n"
    (lfw / "pairs.txt").write_text(text)
    finder = LandmarkFinder(_Detector, lfw / "cache.json")
    pairs, seconds, firsts = open_view_2(lfw, finder)
    assert [(p.first, p.second, p.same, p.fold) for p in pairs] == [
        ("Bob_Hope_0001", "Bob_Hope_0003", True, 0), ("Ann_Lee_0002", "Bob_Hope_0003", False, 0),
        ("Ann_Lee_0002", "Ann_Lee_0010", True, 1), ("Al_0001", "Ann_Lee_0010", False, 1),
    ]  # fmt: skip
    assert seconds.names == ["Ann_Lee_0010", "Bob_Hope_0003"]
    assert firsts is not None
    assert firsts.names == ["Al_0001", "Ann_Lee_0002", "Bob_Hope_0001"]
    (lfw / "pairs.txt").write_text("2 1\nAl 1 1\nAl 1 Al 1\nAl 1 1\nAl 1 Al 1\n")
    assert open_view_2(lfw, finder)[2] is None
    (lfw / "pairs.txt").unlink()
    with pytest.raises(DataError, match=r"no pairs\.txt in .*data\.lfw=DIR"):
        open_view_2(lfw, finder)


def test_whole_frames_come_with_the_crop_of_their_face(lfw: Path, tmp_path: Path) -> None:
    benchmark = open_lfw_frames(lfw, LandmarkFinder(_Detector, tmp_path / "cache.json"), 9)
    # The dark frame, in which nothing is found even when clean, has no truth to compare with.
    assert list(benchmark.names) == NAMES[1:]
    assert benchmark.facts == {"frames": 4, "frames without a detection (left out)": 1}
    assert benchmark.whole_frames
    sample = benchmark.load(0)
    assert sample.frame is not None
    assert sample.matrix is not None
    assert sample.frame.shape == (250, 250, 3)
    np.testing.assert_allclose(geometry.transform(sample.matrix, _Detector.middle), geometry.template(256), atol=1e-3)
    assert sample.width == pytest.approx(2 * 62.96 * 0.4, rel=0.01)


@pytest.mark.parametrize("recipe", ["clean", "heavy"])
def test_frame_is_degraded_at_the_scale_of_its_face_and_cropped_in_place(
    recipe: str, lfw: Path, tmp_path: Path, measures: Measures
) -> None:
    sample = open_lfw_frames(lfw, LandmarkFinder(_Detector, tmp_path / "cache.json"), 9).load(0)
    frame, profile = degraded_face(sample, recipe, 0)
    assert frame.shape == (250, 250, 3)
    assert profile.width == pytest.approx(sample.width, rel=0.01)
    assert (np.abs(frame - sample.frame / 255).mean() < 0.01) == (recipe == "clean")

    def brighter(frames: Sequence[FloatArray]) -> list[FloatArray]:
        return [np.clip(f + 0.1, 0, 1) for f in frames]

    def left_alone(frames: Sequence[FloatArray]) -> list[FloatArray]:
        return [f.copy() for f in frames]

    benchmark = open_lfw_frames(lfw, LandmarkFinder(_Detector, tmp_path / "cache.json"), 9, limit=3)
    methods = [Method("brighter", brighter, takes="frames"), Method("alone", left_alone, takes="frames")]
    scores = evaluate_methods(benchmark, methods, [recipe], measures)
    assert scores.values[Run(recipe, "brighter", 256)]["restored"].tolist() == [1, 1]
    assert scores.values[Run(recipe, "alone", 256)]["restored"].tolist() == [0, 0]
    assert np.isfinite(scores.values[Run(recipe, "brighter", 256)]["psnr"]).all()
