"""The ported recogniser against dlib itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from likeness.data.faces import read_face, read_manifest, split_records
from likeness.data.synthetic_faces import draw_face
from likeness.errors import WeightsError
from likeness.nets.face_embedder import SAME_PERSON, WINDOW, FaceEmbedder, chips, load_embedder, weights_file
from likeness.types import Pixels


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    return load_embedder()


def tensor(*faces: Pixels) -> Tensor:
    """(B, 3, 256, 256) in [0, 1] of (512, 512, 3) uint8 faces."""
    batch = torch.from_numpy(np.stack([np.array(f) for f in faces])).permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.avg_pool2d(batch, 2)


def by_dlib(chip: Tensor) -> np.ndarray:
    """dlib's own descriptor of one (3, 150, 150) chip of whole grey levels."""
    dlib = pytest.importorskip("dlib", reason="compares with dlib; pip install dlib-bin")
    recogniser = dlib.face_recognition_model_v1(str(weights_file()))
    pixels = np.ascontiguousarray(chip.permute(1, 2, 0).numpy().astype(np.uint8))
    return np.array(recogniser.compute_face_descriptor(pixels))


def test_same_as_dlib(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    batch = chips(tensor(astronaut_face, draw_face(512, 1), draw_face(512, 2))).round().clamp(0, 255)
    found = embedder(batch).numpy()
    for i, chip in enumerate(batch):
        np.testing.assert_allclose(found[i], by_dlib(chip), atol=1e-4)


def test_the_fixed_window_is_where_dlib_cuts(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    """dlib finds the face again and aligns it by its own landmarks; ours is one window for all aligned faces."""
    dlib = pytest.importorskip("dlib", reason="compares with dlib; pip install dlib-bin")
    predictor = dlib.shape_predictor(str(weights_file().parent / "shape_predictor_5_face_landmarks.dat"))
    face = tensor(astronaut_face)
    pixels = np.ascontiguousarray((face[0] * 255).round().byte().permute(1, 2, 0).numpy())
    (found,) = dlib.get_frontal_face_detector()(pixels, 1)
    chip = dlib.get_face_chip(pixels, predictor(pixels, found), size=150, padding=0.25)
    theirs = embedder(torch.from_numpy(chip).permute(2, 0, 1)[None].float())
    # Their landmarks and ours differ by some pixels; a window 9 pixels off would be .4 away.
    assert (embedder.embed_aligned(face) - theirs).norm() < 0.25


@pytest.mark.data
def test_same_as_dlib_on_real_faces(embedder: FaceEmbedder, data_root: Path) -> None:
    root = data_root / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"][::40][:6]
    batch = chips(tensor(*(read_face(root, r) for r in records))).round().clamp(0, 255)
    found = embedder(batch).numpy()
    for i, chip in enumerate(batch):
        np.testing.assert_allclose(found[i], by_dlib(chip), atol=1e-4)


@pytest.mark.data
def test_photos_of_different_people_lie_further_away_than_of_one(embedder: FaceEmbedder, data_root: Path) -> None:
    root = data_root / "faces"
    records = [r for r in split_records(read_manifest(root), "val") if r.kind == "real"][::12][:10]
    faces = tensor(*(read_face(root, r) for r in records))
    people, mirrored = embedder.embed_aligned(faces), embedder.embed_aligned(faces.flip(3))
    same = (people - mirrored).norm(dim=1)
    others = torch.pdist(people)
    assert same.max() < SAME_PERSON
    assert (others > SAME_PERSON).float().mean() > 0.9


def test_a_gradient_reaches_the_picture_and_not_the_weights(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    x = tensor(astronaut_face).requires_grad_()
    embedder.embed_aligned(x).square().sum().backward()
    assert x.grad is not None
    x0, y0, x1, y1 = WINDOW
    assert (x.grad[0, :, y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].abs().sum(0) > 0).float().mean() > 0.99
    outside = x.grad.clone()
    outside[:, :, y0:y1, x0:x1] = 0
    assert outside.abs().max() == 0
    assert all(p.grad is None for p in embedder.parameters())


def test_gradient_is_the_slope(astronaut_face: Pixels) -> None:
    """Against a central difference along a random direction, in double precision."""
    net = load_embedder().double()
    generator = torch.Generator().manual_seed(0)
    x = tensor(astronaut_face).double()
    # In flat places the max-pool has ties, where there is no one slope; grain takes them away.
    x = (x + 0.01 * torch.rand(x.shape, generator=generator, dtype=x.dtype)).requires_grad_()
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    target = net.embed_aligned(tensor(draw_face(512, 3)).double()).detach()

    def distance(face: Tensor) -> Tensor:
        return (net.embed_aligned(face) - target).square().sum()

    (slope,) = torch.autograd.grad(distance(x), x)
    with torch.no_grad():
        step = 1e-8
        numeric = (distance(x + step * direction) - distance(x - step * direction)) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), numeric, rtol=1e-4, atol=1e-8)


def test_a_face_does_not_depend_on_its_neighbours_in_the_batch(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    faces = tensor(astronaut_face, draw_face(512, 1), draw_face(512, 2))
    torch.testing.assert_close(
        embedder.embed_aligned(faces)[1:2], embedder.embed_aligned(faces[1:2]), atol=1e-5, rtol=0
    )


def test_the_same_person_moved_is_nearer_than_another(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    face = tensor(astronaut_face)
    views = {
        "itself": face,
        "mirrored": face.flip(3),
        "moved": torch.roll(face, (4, -4), (2, 3)),
        "darker": face * 0.8,
    }
    own = embedder.embed_aligned(face)
    distances = {name: float((embedder.embed_aligned(view) - own).norm()) for name, view in views.items()}
    other = float((embedder.embed_aligned(tensor(draw_face(512, 5))) - own).norm())
    assert distances["itself"] == 0
    assert max(distances.values()) < 0.8 * other
    assert max(distances.values()) < SAME_PERSON


def test_four_views_are_the_mean_of_four(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    faces = tensor(astronaut_face, draw_face(512, 1))
    views = [torch.roll(f, s, 3) for f in (faces, faces.flip(3)) for s in (-4, 4)]
    expected = sum(embedder.embed_aligned(v) for v in views) / 4
    torch.testing.assert_close(embedder.embed_views(faces), expected, atol=1e-6, rtol=0)


def test_512_and_256_agree(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    large = torch.from_numpy(np.array(astronaut_face)).permute(2, 0, 1)[None].float() / 255
    difference = (embedder.embed_aligned(large) - embedder.embed_aligned(tensor(astronaut_face))).norm()
    assert difference < 0.05


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*none\.dat"):
        load_embedder(tmp_path / "none.dat")


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.dat"
    file.write_bytes(b"con_5 and nothing else")
    with pytest.raises(WeightsError, match="not dlib's face recogniser"):
        load_embedder(file)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.dat"
    file.write_bytes(weights_file().read_bytes()[:1_000_000])
    with pytest.raises(WeightsError, match="ends before its last layer"):
        load_embedder(file)


def test_inputs_unchanged(embedder: FaceEmbedder, astronaut_face: Pixels) -> None:
    face = tensor(astronaut_face)
    before = face.clone()
    embedder.embed_views(face)
    assert torch.equal(face, before)
