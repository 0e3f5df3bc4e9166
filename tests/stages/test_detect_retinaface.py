"""RetinaFace: decoding against facexlib's own, and faces found with the small network where its weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from facexlib.detection.retinaface import RetinaFace, generate_config
from facexlib.detection.retinaface_utils import PriorBox
from facexlib.detection.retinaface_utils import decode as their_decode
from facexlib.detection.retinaface_utils import decode_landm as their_decode_landmarks
from safetensors.torch import save_file

from likeness.errors import ConfigError, WeightsError
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.retinaface import RetinaFaceDetector, anchors, decode


@pytest.fixture(scope="module")
def detector(data_root: Path) -> RetinaFaceDetector:
    file = data_root / "detectors" / "retinaface_mobilenet0.25.safetensors"
    if not file.is_file():
        pytest.skip(f"{file} is not there: this test needs trained weights")
    return RetinaFaceDetector(DetectConfig("retinaface", str(file)))


@pytest.mark.parametrize("size", [(64, 96), (256, 256), (480, 640)])
def test_anchors_are_those_of_facexlib_in_pixels(size):
    theirs = PriorBox(generate_config("mobile0.25"), image_size=size).forward()
    height, width = size
    assert torch.allclose(anchors(*size), theirs * torch.tensor([width, height, width, height]), atol=1e-3)


def test_decoding_is_that_of_facexlib():
    generator = torch.Generator().manual_seed(3)
    priors = anchors(128, 160)
    offsets = torch.randn(len(priors), 4, generator=generator)
    points = torch.randn(len(priors), 10, generator=generator)
    boxes, marks = decode(offsets, points, priors)
    size = torch.tensor([160.0, 128.0])
    relative = priors / size.repeat(2)
    assert torch.allclose(boxes, their_decode(offsets, relative, [0.1, 0.2]) * size.repeat(2), atol=1e-2)
    theirs = their_decode_landmarks(points, relative, [0.1, 0.2]).view(-1, 5, 2) * size
    assert torch.allclose(marks, theirs, atol=1e-2)


@pytest.mark.data
def test_finds_the_portrait_where_mtcnn_does(detector, portrait, points):
    (faces,) = detector.detect([portrait])
    assert len(faces) == 1
    assert np.linalg.norm(faces.landmarks[0] - points, axis=1).max() < 6
    x0, y0, x1, y1 = faces.boxes[0]
    assert ((points > (x0, y0)) & (points < (x1, y1))).all()


@pytest.mark.data
def test_batches_sizes_and_borders_change_nothing(detector, portrait, points):
    alone = detector.detect([portrait])[0]
    flipped = np.ascontiguousarray(portrait[:, ::-1])
    pair = detector.detect([portrait, flipped])
    assert np.abs(pair[0].landmarks - alone.landmarks).max() < 1e-2
    mirrored = 511 - pair[1].landmarks[0, [1, 0, 2, 4, 3], 0]
    assert np.abs(mirrored - alone.landmarks[0, :, 0]).max() < 4
    # No multiple of the largest stride, and shifted: the points move along.
    cut = np.ascontiguousarray(portrait[11:402, 7:460])
    moved = detector.detect([cut])[0].landmarks[0]
    assert np.linalg.norm(moved - (points - (7, 11)), axis=1).max() < 6


@pytest.mark.data
def test_a_large_frame_is_searched_small_and_answers_in_its_own_pixels(detector, portrait, points):
    config = DetectConfig("retinaface", detector.config.file, max_side=256)
    small = RetinaFaceDetector(config).detect([portrait])[0]
    assert np.linalg.norm(small.landmarks[0] - points, axis=1).max() < 8


@pytest.mark.data
def test_nothing_is_found_in_noise_and_inputs_stay(detector):
    noise = np.random.default_rng(0).integers(0, 256, (200, 320, 3), dtype=np.uint8)
    before = noise.copy()
    assert len(detector.detect([noise])[0]) == 0
    assert np.array_equal(noise, before)
    assert detector.detect([]) == []


WRONG = {
    "no weights": ({"name": "retinaface"}, "detect.file=FILE"),
    "weights for mtcnn": ({"name": "mtcnn", "file": "a.pth"}, "brings its own"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_make_no_sense(case):
    options, said = WRONG[case]
    with pytest.raises(ConfigError, match=said):
        DetectConfig(**options)


def test_a_file_of_another_network_is_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match=r"other\.safetensors does not fit"):
        RetinaFaceDetector(DetectConfig("retinaface", str(file)))


def test_a_training_checkpoint_of_the_network_is_read(tmp_path):
    torch.manual_seed(0)
    net = RetinaFace(network_name="mobile0.25", device=torch.device("cpu"))
    file = tmp_path / "wrapped.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, file)
    read = RetinaFaceDetector(DetectConfig("retinaface", str(file))).net.state_dict()
    assert all(torch.equal(read[k], v) for k, v in net.state_dict().items())
