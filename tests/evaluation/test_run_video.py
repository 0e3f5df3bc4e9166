"""Clips against answers that are known: what the true faces are, what flicker costs, what counts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from skimage.data import astronaut

from likeness.data.degradations.video import CLIP_RECIPES, ClipParams, sample_clip_params, write_degraded_clip
from likeness.errors import ConfigError, DataError
from likeness.evaluation.benchmarks.video import TrueClip, open_clips, true_faces, true_frames
from likeness.evaluation.methods.video import enlarged, temporal_mean
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.protocol.video import ClipResult, degraded_clip, evaluate_clip, gather
from likeness.evaluation.run import evaluate
from likeness.evaluation.scores import Run
from likeness.media.video_reader import VideoReader
from likeness.ops import geometry
from likeness.tasks.clips import write_clip
from likeness.types import Faces, Frame, Pixels

ASTRONAUT = np.array([(204.7, 100.5), (248.0, 104.0), (224.9, 129.4), (201.7, 138.8), (245.5, 142.6)])
COUNT = 16


def moving(count: int = COUNT) -> list[Pixels]:
    """The astronaut, one pixel further left in every frame; (164, 166, 3)."""
    return [np.ascontiguousarray(astronaut()[40:204, 130 + i : 296 + i]) for i in range(count)]


class Following:
    """Knows where the moving astronaut is, by counting its frames; sees nothing in those named."""

    def __init__(self, blind: Sequence[int] = ()) -> None:
        self.seen, self.blind = 0, blind

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        """One face a frame."""
        faces = []
        for _ in frames:
            points = (ASTRONAUT - (130 + self.seen, 40)).astype(np.float32)
            box = np.concatenate([points.min(0), points.max(0)])
            blind = self.seen in self.blind
            faces.append(Faces.empty() if blind else Faces(box[None], np.ones(1, np.float32), points[None]))
            self.seen += 1
        return faces

    def doubt(self, pixels: Pixels, face: Faces, doubted: bool = False) -> str:
        """None."""
        return ""


@pytest.fixture
def clip(tmp_path: Path) -> TrueClip:
    file = tmp_path / "clip.mp4"
    write_clip(file, moving(), 10)
    return TrueClip("clip.mp4", file, 2, "clip.mp4")


def test_index_states_clips_factors_and_groups(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "index.csv").write_text("file,what,factor\na.mp4,one,2\nb.mp4,soft,\nc.mp4,two,4\n")
    clips = open_clips(tmp_path, {"c.mp4": "people"})
    assert [(c.name, c.factor, c.group) for c in clips] == [("a.mp4", 2, "a.mp4"), ("c.mp4", 4, "people")]
    (tmp_path / "c.mp4").unlink()
    with pytest.raises(DataError, match=r"c\.mp4 is in the index but not there"):
        open_clips(tmp_path, {})
    (tmp_path / "index.csv").write_text("file,factor\nb.mp4,\n")
    with pytest.raises(DataError, match="names no clip with a factor"):
        open_clips(tmp_path, {})
    with pytest.raises(DataError, match=r"index\.csv"):
        open_clips(None, {})


def test_frames_are_cropped_to_multiples_of_the_factor(clip: TrueClip) -> None:
    (frame,) = true_frames(replace(clip, count=1))
    assert frame.shape == (164, 164, 3)  # 166 is no multiple of four
    with VideoReader(clip.file) as reader:
        np.testing.assert_array_equal(frame, next(iter(reader)).pixels[:, :164])


def test_face_is_tracked_over_a_gap(clip: TrueClip) -> None:
    (face,) = true_faces(true_frames(clip), Following(blind=(5, 6)))
    assert (face.start, len(face.landmarks)) == (0, COUNT)
    # In steady motion, smoothing both ways moves nothing but the ends.
    for i in (4, 5, 6, 8):
        np.testing.assert_allclose(face.landmarks[i], ASTRONAUT - (130 + i, 40), atol=0.35)
    assert face.at(COUNT) is None
    assert face.width == pytest.approx(2 * 62.96 / geometry.scale_of(geometry.similarity(ASTRONAUT, 256)), rel=0.02)


def test_two_faces_are_separated_and_short_ones_dropped() -> None:
    class Two(Following):
        def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
            result = []
            for k, faces in enumerate(super().detect(frames)):
                there = self.seen - len(frames) + k < 16
                both = np.concatenate([faces.landmarks + 300, faces.landmarks]) if there else faces.landmarks
                boxes = np.concatenate([both.min(1), both.max(1)], 1)
                result.append(Faces(boxes, np.ones(len(both), np.float32), both))
            return result

    frames = iter([np.zeros((8, 8, 3), np.uint8)] * 40)
    faces = true_faces(frames, Two())
    assert sorted(len(f.landmarks) for f in faces) == [16, 40]
    few = true_faces(iter([np.zeros((8, 8, 3), np.uint8)] * 11), Following())
    assert few == []


def test_degraded_clip_has_the_sampled_parameters(tmp_path: Path) -> None:
    frames, file = moving(6), tmp_path / "poor.mp4"
    frames = [f[:, :164] for f in frames]
    params = ClipParams(sigma=1.5, kernel_ratio=1.0, angle=0.0, noise=0.0, crf=4)
    write_degraded_clip(frames, params, 2, 0.5, Fraction(25), np.random.default_rng(0), file)
    with VideoReader(file) as reader:
        pixels = [f.pixels.astype(float) for f in reader]
    assert len(pixels) == 6
    # At half the scale of the 256 crop, sigma 1.5 is 3 pixels of the frame.
    blurred = cv2.GaussianBlur(frames[3].astype(np.float32), (0, 0), 3.0, borderType=cv2.BORDER_REFLECT_101)
    expected = cv2.resize(blurred, (82, 82), interpolation=cv2.INTER_AREA)
    assert np.abs(pixels[3] - expected).mean() < 2.5
    with pytest.raises(ConfigError, match="expected sides divisible by 8"):
        write_degraded_clip(frames, params, 4, 1.0, Fraction(25), np.random.default_rng(0), file)


@pytest.mark.parametrize("name", sorted(CLIP_RECIPES))
def test_parameters_stay_in_their_ranges(name: str) -> None:
    recipe = CLIP_RECIPES[name]
    params = [sample_clip_params(name, np.random.default_rng(i)) for i in range(60)]
    for attribute in ("sigma", "noise", "crf"):
        low, high = getattr(recipe, attribute)
        values = [getattr(d, attribute) for d in params]
        assert low <= min(values) < max(values) <= high
    assert sample_clip_params(name, np.random.default_rng(3)) == params[3]
    with pytest.raises(ConfigError, match="weak, strong for clips"):
        sample_clip_params("mild", np.random.default_rng(0))


def frames_of(values: Sequence[float]) -> Iterator[Frame]:
    return (Frame(np.full((4, 6, 3), v, np.uint8), i) for i, v in enumerate(values))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_temporal_mean_is_centred_and_keeps_the_length(count: int) -> None:
    values = [10.0 * i for i in range(count)]
    means = [float(pixels.mean()) for pixels, _ in temporal_mean(frames_of(values), 2)]
    expected = [np.rint(np.mean(values[max(0, i - 2) : i + 3])) for i in range(count)]
    assert len(means) == count
    if count >= 5:
        assert means == expected
    assert means[-1] == np.rint(np.mean(values[-3:]))
    assert next(enlarged(frames_of([7]), 3))[0].shape == (12, 18, 3)


def test_flicker_is_measured_and_the_truth_has_none(clip: TrueClip, measures: Measures, tmp_path: Path) -> None:
    clip = replace(clip, count=12)
    faces = true_faces(true_frames(clip), Following())
    truth = [f.astype(np.float32) for f in true_frames(clip)]

    def perfect(frames: Iterator[Frame], factor: int) -> Iterator[tuple[Pixels, tuple[()]]]:
        return ((t.astype(np.uint8), ()) for t, _ in zip(truth, frames, strict=True))

    def flickering(frames: Iterator[Frame], factor: int) -> Iterator[tuple[Pixels, tuple[()]]]:
        for i, _ in enumerate(frames):
            # Within the range, so that nothing is clipped.
            yield (np.clip(truth[i], 3, 252) + (3 if i % 2 else -3)).astype(np.uint8), ()

    def here(frames: Iterator[Frame], factor: int) -> Iterator[tuple[Pixels, list[np.ndarray]]]:
        for i, _ in enumerate(frames):
            points = faces[0].at(i)
            assert points is not None
            yield truth[i].astype(np.uint8), [points.astype(np.float32)] if i % 4 else []

    methods = {"input": enlarged, "perfect": perfect, "flickering": flickering, "here": here}
    inputs = {"weak": degraded_clip(clip, faces, "weak", tmp_path)}
    result = evaluate_clip(clip, faces, methods, inputs, measures)
    assert result.frames == 12
    values = result.values
    for size in (256, 0):
        assert values[Run("weak", "perfect", size)]["tmse_gt"] == 0
        assert values[Run("weak", "perfect", size)]["tmse_excess"] == 0
        assert values[Run("weak", "flickering", size)]["tmse_gt"] == pytest.approx(36, rel=0.05)
        assert values[Run("weak", "flickering", size)]["warping"] > values[Run("weak", "perfect", size)]["warping"] + 30
    assert "psnr" not in values[Run("weak", "perfect", 256)]  # infinite in every frame: no mean
    assert values[Run("weak", "input", 0)]["psnr"] < 45
    assert values[Run("weak", "perfect", 256)]["neighbour"] < values[Run("weak", "flickering", 256)]["neighbour"]
    assert values[Run("weak", "perfect", 256)]["restored"] == 0
    assert values[Run("weak", "here", 256)]["restored"] == pytest.approx(0.75)
    assert set(result.seconds) == {("weak", name) for name in methods}
    again = evaluate_clip(clip, faces, {"input": enlarged}, inputs, measures)
    assert again.values[Run("weak", "input", 256)] == values[Run("weak", "input", 256)]
    inputs = {"weak": degraded_clip(clip, faces, "weak", tmp_path, seed=1)}
    other = evaluate_clip(clip, faces, {"input": enlarged}, inputs, measures)
    assert other.values[Run("weak", "input", 256)] != values[Run("weak", "input", 256)]


@pytest.mark.slow
def test_command_writes_the_tables(clip: TrueClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "clips_good").mkdir()
    clip.file.rename(tmp_path / "clips_good" / "clip.mp4")
    (tmp_path / "clips_good" / "index.csv").write_text("file,factor\nclip.mp4,1\n")
    with initialize_config_dir(str(Path(__file__).parents[2] / "configs"), version_base="1.3"):
        more = [
            "+benchmark.variants.nothing=['strength=0']",
            "keep=true",
            "methods=[input,temporal_mean,per_frame,pipeline,nothing]",
        ]
        cfg = compose("evaluate", ["benchmark=video", "recipe=strong", "output=out", "benchmark.frames=12", *more])
        wrong = compose("evaluate", ["benchmark=video", "recipe=heavy"])
        alone = compose("evaluate", ["benchmark=video", "methods=[pipeline]"])
    results = evaluate(cfg)
    names = {"table.md", "table.csv", "table.json", "clips.csv", "timing.csv", "per_frame.md"}
    assert {p.name for p in Path("out").iterdir()} == names | {"faces-256.png", "frames.png"}
    rows = {(r.view, r.method, r.metric): r for r in results.rows}
    assert rows["faces, 256", "pipeline", "restored"].figure.value == 1
    # A variant differs from the pipeline by its options alone; at strength 0 that is the input.
    same = [rows["faces, 256", name, "psnr"].figure.value for name in ("nothing", "input", "pipeline")]
    assert same[0] == same[1] != same[2]
    # A mean over five frames wins the plain T-MSE, and the excess shows why: it holds back true motion.
    assert rows["faces, 256", "temporal_mean", "tmse"].figure.value < rows["faces, 256", "input", "tmse"].figure.value
    assert rows["faces, 256", "temporal_mean", "tmse_excess"].figure.value < 0
    assert "Against `per_frame`, paired" in Path("out/per_frame.md").read_text()
    lines = [li for li in Path("out/clips.csv").read_text().splitlines() if not li.startswith("#")]
    by_row = {(li["method"], li["size"]): li for li in csv.DictReader(lines)}
    assert by_row["pipeline", "256"]["frames"] == "12"
    assert float(by_row["pipeline", "256"]["tmse_gt"]) == pytest.approx(
        rows["faces, 256", "pipeline", "tmse_gt"].figure.value, rel=1e-5
    )
    facts = json.loads(Path("out/table.json").read_text())["provenance"]
    assert facts["weights sha256"]["expert_f"]
    first = Path("out/table.csv").read_bytes()
    evaluate(cfg)  # from the kept parts
    assert Path("out/table.csv").read_bytes() == first
    with pytest.raises(ConfigError, match="expected one of all, weak, strong"):
        evaluate(wrong)
    with pytest.raises(ConfigError, match="expected input and others"):
        evaluate(alone)


@pytest.mark.parametrize(("count", "part"), [(None, "any frame"), (3, "the first 3 frames")])
def test_clip_without_a_face_is_refused(clip: TrueClip, count: int | None, part: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no face was found in {part} of .*benchmark.frames"):
        degraded_clip(replace(clip, count=count), [], "weak", tmp_path)


def test_clips_of_a_group_count_once_and_unrestored_ones_not_at_all() -> None:
    clips = [TrueClip(n, Path(n), 1, g) for n, g in (("a", "one"), ("b", "one"), ("c", "two"))]

    def result(psnr: float, restored: float) -> ClipResult:
        face = {Run("weak", "pipeline", 256): {"psnr": psnr, "restored": restored}}
        return ClipResult(face | {Run("weak", "pipeline", 0): {"psnr": psnr + 1}}, {}, 9)

    scores, notes = gather(clips, [result(30, 1), result(32, 0.95), result(40, 1)])
    assert list(scores.names) == ["one", "two"]
    assert scores.values[Run("weak", "pipeline", 256)]["psnr"].tolist() == [31, 40]
    assert scores.values[Run("weak", "pipeline", 0)]["psnr"].tolist() == [32, 41]
    assert notes == []
    scores, notes = gather(clips, [result(30, 1), result(32, 0.8), result(40, 0.5)])
    assert scores.values[Run("weak", "pipeline", 256)]["psnr"][0] == 30
    assert np.isnan(scores.values[Run("weak", "pipeline", 0)]["psnr"][1])
    assert notes == [
        "b does not count at weak: 80 % of its faces were restored.",
        "c does not count at weak: 50 % of its faces were restored.",
    ]
