"""The profile in reports, on cards and in the route of faces that are turned away; the best shots of a clip."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from likeness.errors import ConfigError
from likeness.ops.pose import FACE_3D
from likeness.pipeline.config import from_overrides
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.shots import APART
from likeness.types import Faces


@pytest.fixture
def restore(tmp_path, make_models):
    """Restores a file with known networks; returns the result's outputs and report."""

    def run(path, *options, faces=()):
        restorer = Restorer(from_overrides(options))
        restorer._models = make_models(*faces)
        result = restorer.file(path, tmp_path / "out")
        return result.outputs, json.loads(result.outputs["report"].read_text())

    return run


@pytest.fixture
def photo(tmp_path, scene):
    path = tmp_path / "photo.png"
    Image.fromarray(scene).save(path)
    return path


def turned(yaw: float, x: float = 150, y: float = 110, eyes: float = 45) -> Faces:
    """A face whose head is turned by `yaw` degrees, and whose eyes would lie `eyes` pixels apart if it were not."""
    turn = cv2.Rodrigues(np.array([0, -np.radians(yaw), 0]))[0]
    points = ((FACE_3D - FACE_3D.mean(0)) @ turn.T)[:, :2] * eyes + (x, y)
    box = np.array([[x - 50, y - 60, x + 50, y + 60]], np.float32)
    return Faces(box, np.array([0.99], np.float32), points[None].astype(np.float32))


@pytest.mark.parametrize(
    ("yaw", "options", "restored"),
    [(55, [], 1), (55, ["route.max_yaw=60"], 1), (55, ["route.max_yaw=40"], 0), (-55, ["route.max_yaw=40"], 0)],
)
def test_a_face_that_is_turned_too_far_is_left_alone(restore, photo, yaw, options, restored) -> None:
    _, report = restore(photo, "upscale=1", *options, faces=[turned(yaw)])
    (face,) = report["faces"]
    assert face["restored_frames"] == restored
    assert face["profile"]["yaw"] == pytest.approx(yaw, abs=3)
    side = "right" if yaw > 0 else "left"
    assert face["profile"]["remarks"][0] == f"turned {abs(face['profile']['yaw']):.0f}° to the {side}"
    if not restored:
        assert face["route"] == "skip"
        assert face["reason"] == f"left alone: turned {abs(face['profile']['yaw']):.0f}° away (route.max_yaw=40)"
        assert report["summary"] == "1 face: 1 left alone (turned away)"


def test_the_report_and_the_card_state_the_profile(restore, photo, face_at) -> None:
    outputs, report = restore(photo, faces=[face_at(150, 110, 90, turn=12)])
    (face,) = report["faces"]
    assert face["profile"]["roll"] == pytest.approx(12, abs=1)
    assert face["profile"]["resolution"] == pytest.approx(90 / 125.92, abs=0.01)
    # The fit of `make_models`.
    assert face["quality"] == pytest.approx(1 - 1 / (1 + np.exp(0.5 * np.log1p(face["sharpness"]) - 2)), abs=1e-3)
    assert report["totals"]["seconds_by_stage"]["profile"] >= 0
    assert outputs["cards"].is_file()


@pytest.mark.parametrize("words", [["route.max_yaw=0"], ["route.max_yaw=91"], ["best_frames=-1"], ["best_frames=21"]])
def test_bounds_of_the_options(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=words[0].partition("=")[0]):
        from_overrides(words)


@pytest.fixture
def clip(make_clip, scene):
    """Three seconds: sharp in the middle of the second one, blurred around it. And the number of the sharpest frame."""
    blurs = [0.05 + abs(i - 37) / 8 for i in range(75)]
    pictures = [cv2.GaussianBlur(np.roll(scene, i % 2, 1), (0, 0), blur) for i, blur in enumerate(blurs)]
    return make_clip("clip.mp4", pictures, seconds=3), 37


def test_the_best_frames_are_the_sharpest_and_lie_apart(restore, clip, face_at, together) -> None:
    path, best = clip
    faces = together(face_at(150, 110, 90), face_at(250, 170, 60))
    words = ("best_frames=3", "upscale=2", "video.detect_every=1", "route.skip_below=100")  # measured only
    outputs, report = restore(path, *words, faces=[faces])
    wide, narrow = report["faces"]
    for face in (wide, narrow):
        shots = face["best_frames"]
        assert len(shots) >= 2
        assert abs(shots[0]["frame"] - best) <= 1
        qualities = [shot["quality"] for shot in shots]
        assert qualities == sorted(qualities, reverse=True)
        times = sorted(shot["time"] for shot in shots)
        assert min(np.diff(times)) >= APART
        assert [shot["file"] for shot in shots] == [
            str(outputs[f"face{face['track']}_{rank}"]) for rank in range(1, 1 + len(shots))
        ]
    lines = [json.loads(line) for line in outputs["frames"].read_text().splitlines()]
    assert wide["best_frames"][0]["quality"] == max(line["faces"][0]["quality"] for line in lines)
    # The crop of a frontal face is 256 / 125.92 of its width; at upscale 2, twice that.
    picture = np.asarray(Image.open(wide["best_frames"][0]["file"]))
    edge = 2 * 90 * 256 / 125.92
    assert picture.shape[1] == pytest.approx(edge, abs=4)
    assert picture.shape[0] == pytest.approx(edge, abs=4)


def test_a_shot_is_cut_out_of_the_restored_frame(restore, clip, face_at) -> None:
    path, _ = clip
    outputs, report = restore(path, "best_frames=1", "preview=0.4", faces=[face_at(150, 110, 90)])
    (shot,) = report["faces"][0]["best_frames"]
    assert shot["frame"] % 5 == 0  # between two detections no face is profiled
    shown = np.asarray(Image.open(shot["file"])).astype(int)
    capture = cv2.VideoCapture(str(outputs["restored"]))
    capture.set(cv2.CAP_PROP_POS_FRAMES, shot["frame"])
    frame = capture.read()[1][..., ::-1]
    found = cv2.matchTemplate(frame.astype(np.uint8), shown.astype(np.uint8), cv2.TM_SQDIFF_NORMED)
    assert found.min() < 0.003  # the clip's encoder changed it a little


@pytest.mark.parametrize("options", [[], ["best_frames=0"]])
def test_without_the_option_no_shot_is_written(restore, clip, face_at, options) -> None:
    outputs, report = restore(clip[0], "preview=0.1", *options, faces=[face_at(150, 110, 90)])
    assert report["faces"][0]["best_frames"] == []
    assert not list(outputs["restored"].parent.glob("*face0*"))


def test_a_photo_has_no_best_frames(restore, photo, face_at) -> None:
    outputs, report = restore(photo, "best_frames=2", faces=[face_at(150, 110, 90)])
    assert report["faces"][0]["best_frames"] == []
    assert set(outputs) == {"restored", "compare", "cards", "report"}
