"""Faces that one search misses (small ones in huge pictures, turned ones, green ones), and landmarks in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from likeness.ops.geometry import TEMPLATE_512, transform
from likeness.stages.detect import plausibility
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.looks import LOOKS, find_faces
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.detect.plausibility import AGAIN, MOVES, doubt, moves_of
from likeness.stages.detect.tiles import merged, search
from likeness.types import Faces

CONFIG = DetectConfig()


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return MtcnnDetector(CONFIG)


@pytest.fixture
def head(portrait):
    """The portrait's head, 200 x 200, its eyes 43 pixels apart."""
    return np.ascontiguousarray(portrait[20:220, 125:325])


@pytest.mark.parametrize("upright", [False, True], ids=["wide", "high"])
def test_small_faces_of_a_huge_picture_are_found_where_they_are(detector, head, upright):
    places = list(range(100, 15900, 1300))
    picture = np.full((200, 16000, 3), 110, np.uint8)
    small = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)  # w = 52
    for x in places:
        picture[40:160, x : x + 120] = small
    if upright:
        picture = np.full((16000, 200, 3), 110, np.uint8)
        for y in places:
            picture[y : y + 120, 40:160] = small
    before = picture.copy()
    (alone,) = detector.detect([small])
    faces = search(detector, picture, CONFIG, 50)
    assert len(detector.detect([picture])[0]) < len(places)
    assert len(faces) == len(places)
    axis = 1 if upright else 0
    order = np.argsort(faces.landmarks[:, 0, axis])
    corner = np.array([[40, y] if upright else [x, 40] for y, x in zip(places, places, strict=True)])
    expected = alone.landmarks[0] + corner[:, None]
    assert np.linalg.norm(faces.landmarks[order] - expected, axis=2).max() < 5
    assert np.array_equal(picture, before)


def test_a_tile_places_landmarks_better_unless_it_cuts_the_face():
    """The whole picture shows three faces, 9 pixels off; tiles show what they cover of the same faces, exactly."""
    places = {500: 60.0, 1850: 60.0, 4000: 200.0}  # left and edge; tiles begin every 1774 pixels or less
    columns = np.arange(8000)
    picture = np.stack([np.tile(value, (300, 1)) for value in (columns // 256, columns % 256, columns * 0)], 2)

    class Shifted:
        name = "shifted"

        def detect(self, frames):
            (frame,) = frames
            left, whole = int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1]), frame.shape[1] == 8000
            faces = Faces.empty()
            for x, edge in places.items():
                low, high = max(x - left, 0.0), min(x - left + edge, frame.shape[1])
                if high - low < edge / 4:
                    continue
                box = np.array([[low, 30, high, 30 + edge]], np.float32) + (9 if whole else 0)
                score = np.array([0.999 if high - low == edge else 0.95], np.float32)
                faces = faces.joined(Faces(box, score, np.repeat(box[:, None, :2], 5, 1)))
            return [faces]

    faces = search(Shifted(), picture.astype(np.uint8), CONFIG, 28)
    assert sorted(faces.boxes[:, 0].tolist()) == [500, 1850, 4009]


def test_pictures_that_are_hardly_shrunk_are_searched_once(portrait):
    @dataclass
    class Counting:
        name: str = "counting"
        sizes: list = field(default_factory=list)

        def detect(self, frames):
            self.sizes += [frame.shape[:2] for frame in frames]
            return [Faces.empty() for _ in frames]

    counting = Counting()
    search(counting, np.zeros((3000, 4000, 3), np.uint8), CONFIG, 50)  # twelve megapixels
    assert counting.sizes == [(3000, 4000)]
    search(counting, np.zeros((100, 8000, 3), np.uint8), CONFIG, 50)
    assert {size[0] for size in counting.sizes[2:]} == {56}
    assert all(size[1] == CONFIG.max_side for size in counting.sizes[2:])


def test_one_face_in_two_tiles_is_one_face():
    def one(x, score, edge=60.0):
        box = np.array([[x, 0, x + edge, edge]], np.float32)
        return Faces(box, np.array([score], np.float32), np.zeros((1, 5, 2), np.float32))

    faces = merged(one(0, 0.9), one(10, 0.99).joined(one(200, 0.95)).joined(one(5, 0.97, edge=20.0)))
    assert sorted(faces.boxes[:, 0].tolist()) == [0, 200]


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_heads_are_found_and_their_landmarks_turned_back(detector, head, turn, deep):
    (upright,) = detector.detect([head])
    picture = np.ascontiguousarray(np.rot90(head, -turn))
    picture = picture.astype(np.uint16) * 257 if deep else picture
    assert len(detector.detect([picture])[0]) == 0
    faces = find_faces(detector, picture, CONFIG, 50)
    assert faces.looks.tolist() == [f"turned by {90 * turn} degrees"]
    last = np.array(head.shape[1::-1]) - 1
    x, y = (upright.landmarks[0] - last / 2).T
    back = {1: (-y, x), 2: (-x, -y), 3: (y, -x)}[turn]  # clockwise by 90, 180, 270 degrees, y pointing down
    assert np.linalg.norm(faces.landmarks[0] - (np.stack(back, -1) + last / 2), axis=1).max() < 1
    x0, y0, x1, y1 = faces.boxes[0]
    assert x0 < x1
    assert y0 < y1
    assert ((faces.landmarks[0] > (x0, y0)) & (faces.landmarks[0] < (x1, y1))).all()


def test_a_face_in_faint_green_is_found_in_grey(detector, head):
    green = np.zeros_like(head)
    green[..., 1] = 10 + head.mean(2) / 10
    assert len(detector.detect([green])[0]) == 0
    assert find_faces(detector, green, CONFIG, 50).looks.tolist() == ["grey and equalised"]
    assert len(find_faces(detector, green, CONFIG, 50, second=False)) == 0
    # What a track remembers is searched without a second look.
    assert len(find_faces(detector, green, CONFIG, 50, looks=["grey and equalised"], second=False)) == 1


def test_an_ordinary_picture_gets_one_search(detector, portrait):
    (plain,) = detector.detect([portrait])
    faces = find_faces(detector, portrait, CONFIG, 50)
    assert np.array_equal(faces.landmarks, plain.landmarks)
    assert faces.looks.tolist() == [""]


@pytest.mark.parametrize("name", ["noise", "ramp", "stripes", "black"])
def test_a_second_look_finds_no_face_where_there_is_none(detector, name):
    rng = np.random.default_rng(0)
    pictures = {
        "noise": rng.integers(0, 256, (240, 320, 3)),
        "ramp": np.broadcast_to(np.linspace(0, 255, 320)[None, :, None], (240, 320, 3)),
        "stripes": np.broadcast_to((np.arange(240) // 8 % 2 * 255)[:, None, None], (240, 320, 3)),
        "black": rng.integers(0, 3, (240, 320, 3)),
    }
    assert len(find_faces(detector, np.ascontiguousarray(pictures[name].astype(np.uint8)), CONFIG, 50)) == 0
    assert len(LOOKS) == 4


def test_right_landmarks_are_plausible(detector, portrait):
    (face,) = detector.detect([portrait])
    assert doubt(detector.detect, portrait, face) == ""
    assert doubt(detector.detect, portrait.astype(np.uint16) * 257, face) == ""
    assert doubt(detector.detect, portrait, face, doubted=True) == ""


def test_a_face_that_was_in_doubt_must_agree_better(detector, portrait):
    (face,) = detector.detect([portrait])
    shifted = Faces(face.boxes, face.scores, face.landmarks + np.array([(0, 0), (0, 0), (0, 0), (0, 14), (0, 14)]))
    assert MOVES * AGAIN < moves_of(detector.detect, portrait, shifted) < MOVES
    assert doubt(detector.detect, portrait, shifted) == ""
    assert "move by" in doubt(detector.detect, portrait, shifted, doubted=True)


@dataclass
class Agreeing:
    """Finds the same landmarks in every look, but for `pixels` of the picture in the mouth."""

    pixels: float
    face: Faces
    found: int = 0

    def detect(self, frames):
        """The looks are told apart by their order, as `_looks` gives them."""
        if self.found % 5 == 0:
            self.looks = [to for _, to in plausibility._looks(np.zeros((400, 400, 3), np.uint8), self.face.boxes[0])]
        points = self.face.landmarks[0] + np.array([(0, 0), (0, 0), (0, 0), (0, self.pixels), (0, self.pixels)])
        placed = transform(self.looks[self.found % 5], points)[None].astype(np.float32)
        self.found += 1
        return [Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), placed)]


@pytest.mark.parametrize(
    ("eyes", "pixels", "wrong"),
    [
        pytest.param(18, 4.5, False, id="a small face may move by some pixels"),
        pytest.param(18, 6.0, True, id="but not by more"),
        pytest.param(60, 15.0, True, id="nor a large one by the same part of its eye distance"),
        pytest.param(60, 8.0, False, id="only by less"),
    ],
)
def test_pixels_of_the_source_bound_the_moves_of_small_unsure_faces(eyes, pixels, wrong):
    points = (TEMPLATE_512 - TEMPLATE_512.mean(0)) * eyes / np.linalg.norm(TEMPLATE_512[1] - TEMPLATE_512[0]) + 200
    box = np.array([[200 - eyes, 200 - 1.2 * eyes, 200 + eyes, 200 + 1.2 * eyes]], np.float32)
    face = Faces(box, np.array([0.95], np.float32), points[None].astype(np.float32))
    agreeing = Agreeing(pixels, face)
    assert bool(doubt(agreeing.detect, np.zeros((400, 400, 3), np.uint8), face)) == wrong
    assert agreeing.found == 5


def test_a_look_shows_where_a_face_is_not_whether_it_is_one(detector, head):
    faint = cv2.GaussianBlur(head, (0, 0), 8)
    (found,), (again,) = detector.detect([faint]), detector.detect_again([faint])
    assert len(found) == 0
    assert len(again) == 1


SHIFTS = {
    "mouth on the collar": (np.array([(0, 0), (0, 0), (0, 8), (0, 30), (0, 30)]), 1.0, "move by"),
    "mouth a little low, unsure": (np.array([(0, 0), (0, 0), (2, 5), (0, 10), (0, 10)]), 0.985, "move by"),
    "all of them low, unsure": (np.array([(0, 12)] * 5), 0.985, "lie low"),
    "one eye on the mouth": (np.array([(0, 45), (0, 0), (0, 0), (0, 0), (0, 0)]), 1.0, "shape of a face"),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_wrong_landmarks_are_in_doubt(detector, portrait, name):
    shift, score, reason = SHIFTS[name]
    (face,) = detector.detect([portrait])
    wrong = Faces(face.boxes, np.array([score], np.float32), (face.landmarks + shift).astype(np.float32))
    assert reason in doubt(detector.detect, portrait, wrong)
