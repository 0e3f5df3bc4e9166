"""Tracking: optical flow against known motion, tracks against known detections, cuts against a table."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from likeness.errors import ConfigError
from likeness.ops.color import grey8
from likeness.stages.temporal.config import VideoConfig
from likeness.stages.temporal.cuts import is_cut, thumbnail
from likeness.stages.temporal.state import TrackState
from likeness.stages.temporal.tracking import associate, follow_tracks, iou, track_landmarks
from likeness.types import Faces

MATCH = VideoConfig().match


def face_at(x: float, y: float, side: float = 80.0, score: float = 0.99) -> Faces:
    box = np.array([[x, y, x + side, y + side]], np.float32)
    shape = np.array([[(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]], np.float32)
    return Faces(box, np.array([score], np.float32), shape * side + np.array([x, y], np.float32))


def both(*faces: Faces) -> Faces:
    return Faces(*(np.concatenate([getattr(f, n) for f in faces]) for n in ("boxes", "scores", "landmarks")))


def track_of(face: Faces, id: int = 0, **more: object) -> TrackState:
    return TrackState(id, face.landmarks[0], face.boxes[0], float(face.scores[0]), **more)


@pytest.mark.parametrize(
    ("name", "degrees", "scale", "shift"),
    [
        ("right", 0, 1.0, (6.3, 0.0)),
        ("down left", 0, 1.0, (-11.5, 9.25)),
        ("turn", 5, 1.0, (0.0, 0.0)),
        ("nearer", 0, 1.04, (2.0, 1.0)),
        ("all", -3, 0.97, (-4.0, 3.5)),
        ("slow", 0, 1.0, (0.2, -0.1)),
    ],
)
def test_landmarks_follow_a_known_motion(portrait, points, name, degrees, scale, shift):
    cx, cy = (float(v) for v in points.mean(0))
    matrix = cv2.getRotationMatrix2D((cx, cy), degrees, scale) + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
    moved = cv2.warpAffine(portrait, matrix, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    found = track_landmarks(grey8(portrait), grey8(moved), points, 84.0)
    assert found is not None
    expected = points @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(found - expected, axis=1).max() < 0.5


def test_still_frame_keeps_landmarks_exactly(portrait, points):
    grey = grey8(portrait)
    landmarks = points
    for _ in range(10):
        landmarks = track_landmarks(grey, grey.copy(), landmarks, 84.0)
    np.testing.assert_array_equal(landmarks, points)
    assert landmarks is not points


def test_lost_landmarks_return_none(portrait, points):
    grey = grey8(portrait)
    other = np.random.default_rng(0).integers(0, 256, grey.shape).astype(np.uint8)
    assert track_landmarks(grey, other, points, 84.0) is None
    assert track_landmarks(grey, grey, points + np.float32(2000), 84.0) is None


def test_grey_of_16_bits_equals_8_bits(portrait):
    np.testing.assert_array_equal(grey8(portrait.astype(np.uint16) * 257), grey8(portrait))


def test_follow_moves_landmarks_and_box(portrait, points):
    moved = np.roll(portrait, (4, 7), (0, 1))
    box = np.array([180, 60, 269, 175], np.float32)
    track = TrackState(3, points, box, 0.9)
    (found,) = follow_tracks([track], grey8(portrait), grey8(moved))
    np.testing.assert_allclose(found.landmarks, points + np.array((7, 4)), atol=0.3)
    np.testing.assert_allclose(found.box, box + np.array((7, 4, 7, 4)), atol=0.3)
    assert (found.id, found.score) == (3, 0.9)
    np.testing.assert_array_equal(track.landmarks, points)
    assert follow_tracks([track], grey8(portrait), np.zeros((512, 512), np.uint8)) == []


def test_correction_is_spread_over_frames(portrait, points):
    grey = grey8(portrait)
    track = TrackState(0, points, np.array([180, 60, 269, 175], np.float32), 0.9, np.full((5, 2), 2.5, np.float32), 5)
    for i in range(1, 8):
        (track,) = follow_tracks([track], grey, grey)
        np.testing.assert_allclose(track.landmarks, points + 0.5 * min(i, 5), atol=1e-3)
        assert track.correction_frames == max(0, 5 - i)
    np.testing.assert_allclose(track.correction, 0, atol=1e-5)


def test_matched_track_keeps_its_id():
    old, seen = face_at(100, 100), face_at(108, 104, score=0.95)
    (track,), next_id = associate([track_of(old, 7, missed=1)], seen, MATCH, 5, 8)
    assert (track.id, track.missed, track.correction_frames, next_id) == (7, 0, 5, 8)
    assert track.score == pytest.approx(0.95)
    np.testing.assert_array_equal(track.landmarks, old.landmarks[0])  # the correction is applied later
    np.testing.assert_allclose(track.correction, np.broadcast_to((8, 4), (5, 2)), atol=1e-4)
    np.testing.assert_array_equal(track.box, seen.boxes[0])


def test_new_face_begins_a_track():
    tracks, next_id = associate([track_of(face_at(0, 0), 4)], both(face_at(2, 0), face_at(300, 200)), MATCH, 5, 5)
    assert [t.id for t in tracks] == [4, 5]
    assert next_id == 6
    np.testing.assert_array_equal(tracks[1].landmarks, face_at(300, 200).landmarks[0])


def test_track_ends_after_two_missed_detections():
    tracks, next_id = associate([track_of(face_at(0, 0), 0)], Faces.empty(), MATCH, 5, 1)
    assert [t.missed for t in tracks] == [1]
    again, next_id = associate(tracks, face_at(3, 3), MATCH, 5, next_id)
    assert [t.missed for t in again] == [0]
    ended, next_id = associate(tracks, Faces.empty(), MATCH, 5, next_id)
    assert ended == []
    assert next_id == 1


def test_best_overlap_is_matched_first():
    a, b = track_of(face_at(0, 0), 0), track_of(face_at(40, 0), 1)
    detected = both(face_at(38, 0), face_at(5, 0))
    tracks, _ = associate([a, b], detected, MATCH, 5, 2)
    assert {t.id: float(t.box[0]) for t in tracks} == {0: 5.0, 1: 38.0}
    far, _ = associate([a], face_at(70, 0), MATCH, 5, 2)  # overlap 0.07: another face
    assert [t.id for t in far] == [0, 2]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_iou(a, b, expected):
    assert iou(np.array([a], np.float32), np.array([b], np.float32))[0, 0] == pytest.approx(expected)


def test_iou_of_none():
    assert iou(np.zeros((0, 4), np.float32), np.zeros((3, 4), np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "cut"),
    [("same", False), ("noise", False), ("pan", False), ("brighter", False), ("other scene", True), ("black", True)],
)
def test_cuts(portrait, smooth, name, cut):
    rng = np.random.default_rng(0)
    after = {
        "same": portrait,
        "noise": np.clip(portrait + rng.normal(0, 10, portrait.shape), 0, 255).astype(np.uint8),
        "pan": np.roll(portrait, 10, 1),
        "brighter": np.clip(portrait.astype(int) + 15, 0, 255).astype(np.uint8),
        "other scene": 255 - portrait,
        "black": np.zeros_like(portrait),
    }[name]
    assert is_cut(thumbnail(portrait), thumbnail(after), VideoConfig().cut) is cut


def test_thumbnails_of_both_depths_agree(portrait):
    small = thumbnail(portrait)
    assert small.shape == (27, 48, 3)
    np.testing.assert_allclose(thumbnail(portrait.astype(np.uint16) * 257), small, atol=1)


@pytest.mark.parametrize(
    "options", [{"detect_every": 0}, {"ramp": 0}, {"cut": 0}, {"match": 1.0}, {"hysteresis": -0.1}], ids=str
)
def test_video_options_out_of_range_raise(options):
    with pytest.raises(ConfigError, match="video"):
        VideoConfig(**options)
