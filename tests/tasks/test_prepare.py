"""From photos to a data set that training reads."""

from __future__ import annotations

import csv
import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likeness.data.faces import read_face, read_manifest
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, InputError, OutputError
from likeness.ops.geometry import invert, resized, similarity, template, transform, warp
from likeness.tasks.prepare import COLUMNS, PrepareOptions, prepare
from likeness.types import Faces, Pixels

SCENE = 800


def scene(seeds: Sequence[int], edges: Sequence[float]) -> tuple[Pixels, Faces]:
    """Drawn faces side by side in one picture, each covering `edge` pixels, and where they are."""
    picture = np.full((SCENE, SCENE, 3), 90, np.float32)
    points = []
    for i, (seed, edge) in enumerate(zip(seeds, edges, strict=True)):
        face = draw_face(512, seed).astype(np.float32)
        matrix = resized(np.eye(2, 3), target=edge / 512)
        matrix[:, 2] += (10 + i * SCENE / 2, 40 + 60 * i)
        inside = warp(np.ones((512, 512), np.float32), matrix, (SCENE, SCENE), border=0, linear=True)[..., None]
        picture = picture * (1 - inside) + warp(face, matrix, (SCENE, SCENE)) * inside
        points.append(transform(matrix, template(512)))
    landmarks = np.array(points, np.float32).reshape(-1, 5, 2)
    boxes = np.concatenate([landmarks.min(1), landmarks.max(1)], 1) if points else np.zeros((0, 4), np.float32)
    faces = Faces(boxes.astype(np.float32), np.ones(len(points), np.float32), landmarks)
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8), faces


class KnownFaces:
    """Finds the faces of the scenes that it has been shown."""

    def __init__(self) -> None:
        self.known: dict[bytes, Faces] = {}
        self.asked = 0

    def add(self, file: Path, picture: Pixels, faces: Faces) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
        self.known[picture.tobytes()] = faces

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        self.asked += 1
        return [self.known.get(f.tobytes(), Faces.empty()) for f in frames]


@pytest.fixture
def detector() -> KnownFaces:
    return KnownFaces()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KnownFaces]:
    """The folder of `photos`, and who is in it."""
    folder, shown = tmp_path_factory.mktemp("album"), KnownFaces()
    shown.add(folder / "two.png", *scene([1, 2], [380, 330]))
    shown.add(folder / "deep/one.png", *scene([3], [600]))
    shown.add(folder / "small.png", *scene([4], [120]))
    shown.add(folder / "nobody.png", *scene([], []))
    (folder / "twin.png").write_bytes((folder / "two.png").read_bytes())
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8 not really")
    (folder / "cut.png").write_bytes((folder / "two.png").read_bytes()[:3000])
    (folder / "notes.txt").write_text("no photo")
    return folder, shown


@pytest.fixture
def photos(tmp_path: Path, detector: KnownFaces, album: tuple[Path, KnownFaces]) -> Path:
    """Two faces in one photo, one in another, a small one, and what goes wrong in real folders."""
    detector.known |= album[1].known
    return Path(shutil.copytree(album[0], tmp_path / "holiday photos"))


def options(src: Path, dst: Path, **more: object) -> PrepareOptions:
    return PrepareOptions(str(src), str(dst), **{"format": "png", **more})  # type: ignore[arg-type]


def rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_set_is_what_training_reads(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    manifest = prepare(options(photos, tmp_path / "set"), detector)
    assert manifest == tmp_path / "set" / "manifest.csv"
    found = rows(manifest)
    assert tuple(found[0]) == COLUMNS
    records = read_manifest(tmp_path / "set")
    assert sorted(r.native_px for r in records) == pytest.approx([330, 380, 600], rel=1e-3)
    assert [r.sharp for r in sorted(records, key=lambda r: r.native_px)] == [False, False, True]
    assert {(r.set, r.kind, r.size) for r in records} == {("holiday_photos", "real", 512)}
    digests = {hashlib.md5((photos / f).read_bytes()).hexdigest() for f in ("two.png", "deep/one.png")}
    assert {row["source_md5"] for row in found} == digests


def test_crops_are_the_aligned_faces(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    prepare(options(photos, tmp_path / "set"), detector)
    by_size = {round(r.native_px): read_face(tmp_path / "set", r) for r in read_manifest(tmp_path / "set")}
    for native, seed in ((600, 3), (380, 1)):
        expected = draw_face(512, seed).astype(int)
        difference = np.abs(by_size[native] - expected)[40:-40, 40:-40]
        assert difference.mean() < (3 if native == 600 else 6)
        # A shift by half a pixel would cost more than what resampling costs.
        moved = np.abs(by_size[native] - np.roll(expected, 1, 1))[40:-40, 40:-40]
        assert difference.mean() < 0.8 * moved.mean()


def test_a_shrunken_crop_is_anti_aliased(tmp_path: Path, detector: KnownFaces) -> None:
    """A checkerboard under a large face becomes grey, not a moire."""
    board = np.where(np.indices((2400, 2400)).sum(0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, 2)
    points = transform(invert(similarity(template(512), 512)), template(512)) * 4 + 200
    faces = Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), points[None].astype(np.float32))
    detector.add(tmp_path / "in/board.png", board, faces)
    prepare(options(tmp_path / "in", tmp_path / "set"), detector)
    (record,) = read_manifest(tmp_path / "set")
    assert record.native_px == pytest.approx(2048, rel=1e-3)
    crop = read_face(tmp_path / "set", record).astype(int)
    assert np.abs(crop[20:-20, 20:-20] - 127.5).max() < 30


def test_avif_is_small_and_near(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    pytest.importorskip("PIL._avif", reason="this Pillow has no AVIF codec")
    prepare(options(photos, tmp_path / "png"), detector)
    prepare(options(photos, tmp_path / "avif", format="avif"), detector)
    exact, small = (read_manifest(tmp_path / kind) for kind in ("png", "avif"))
    for a, b in zip(exact, small, strict=True):
        assert Path(b.file).suffix == ".avif"
        error = read_face(tmp_path / "png", a).astype(float) - read_face(tmp_path / "avif", b)
        assert 10 * np.log10(255**2 / np.square(error).mean()) > 36
        assert (tmp_path / "avif" / b.file).stat().st_size < 0.5 * (tmp_path / "png" / a.file).stat().st_size


def test_summary_counts_skipped_photos(
    photos: Path, tmp_path: Path, detector: KnownFaces, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "likeness.tasks.prepare"):
        prepare(options(photos, tmp_path / "set"), detector)
    assert "damaged.jpg: skipped, cannot be read" in caplog.text
    assert "cut.png: skipped, cannot be read" in caplog.text
    assert "3 faces stored" in caplog.text
    assert "2 damaged, 1 duplicate, 1 without a face; faces too small or cut off: 1" in caplog.text


def test_min_native(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    prepare(options(photos, tmp_path / "set", min_native=100.0), detector)
    assert len(read_manifest(tmp_path / "set")) == 4


def test_a_face_cut_off_by_the_photo_is_left_out(tmp_path: Path, detector: KnownFaces) -> None:
    picture, faces = scene([1, 2], [380, 380])
    detector.add(tmp_path / "in/a.png", picture[:, 200:], Faces(faces.boxes, faces.scores, faces.landmarks - [200, 0]))
    prepare(options(tmp_path / "in", tmp_path / "set"), detector)
    assert len(read_manifest(tmp_path / "set")) == 1
    prepare(options(tmp_path / "in", tmp_path / "all", min_inside=0.0), detector)
    assert len(read_manifest(tmp_path / "all")) == 2


def test_orientation_in_the_file_is_applied(tmp_path: Path, detector: KnownFaces) -> None:
    picture, faces = scene([1], [600])
    detector.known[picture.tobytes()] = faces
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter clockwise
    Image.fromarray(np.rot90(picture).copy()).save(tmp_path / "in/a.png", exif=exif)
    prepare(options(tmp_path / "in", tmp_path / "set"), detector)
    assert len(read_manifest(tmp_path / "set")) == 1


def test_split_stays_for_each_photo_whatever_else_there_is(tmp_path: Path, detector: KnownFaces) -> None:
    for i in range(8):
        detector.add(tmp_path / f"in/{i}.png", *scene([i, i + 50], [300, 300]))
    prepare(options(tmp_path / "in", tmp_path / "a", val=0.5, size=256), detector)
    first = rows(tmp_path / "a/manifest.csv")
    splits = {row["source_md5"]: row["split"] for row in first}
    assert all(splits[row["source_md5"]] == row["split"] for row in first)
    assert set(splits.values()) == {"train", "val"}
    for i in range(4):
        (tmp_path / f"in/{i}.png").unlink()
    (tmp_path / "in/7.png").rename(tmp_path / "in/renamed.png")
    prepare(options(tmp_path / "in", tmp_path / "b", val=0.5, size=256), detector)
    second = rows(tmp_path / "b/manifest.csv")
    assert len(second) == 8
    assert all(splits[row["source_md5"]] == row["split"] for row in second)
    assert {row["file"].split("/")[1] for row in second} <= {row["file"].split("/")[1] for row in first}


def test_no_face_at_all_is_an_error(tmp_path: Path, detector: KnownFaces) -> None:
    detector.add(tmp_path / "in/a.png", *scene([4], [120]))
    with pytest.raises(InputError, match=r"no face of .* could be stored .*cut off: 1.*min_native \(now 256\)"):
        prepare(options(tmp_path / "in", tmp_path / "set"), detector)
    assert not (tmp_path / "set/manifest.csv").exists()


def test_an_interrupted_run_leaves_no_manifest(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    find = detector.detect

    def stops(frames: Sequence[Pixels]) -> list[Faces]:
        if detector.asked == 2:
            raise KeyboardInterrupt
        return find(frames)

    detector.detect = stops  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        prepare(options(photos, tmp_path / "set"), detector)
    assert not (tmp_path / "set/manifest.csv").exists()
    detector.detect = find  # type: ignore[method-assign]
    prepare(options(photos, tmp_path / "set"), detector)
    assert len(read_manifest(tmp_path / "set")) == 3


def test_an_existing_set_is_not_overwritten(photos: Path, tmp_path: Path, detector: KnownFaces) -> None:
    prepare(options(photos, tmp_path / "set"), detector)
    before = (tmp_path / "set/manifest.csv").read_bytes()
    with pytest.raises(OutputError, match="already exists and is not overwritten"):
        prepare(options(photos, tmp_path / "set"), detector)
    assert (tmp_path / "set/manifest.csv").read_bytes() == before


def test_its_own_crops_are_no_photos(photos: Path, detector: KnownFaces) -> None:
    """`dst` may lie inside `src`."""
    prepare(options(photos, photos / "faces"), detector)
    asked = detector.asked
    (photos / "faces/manifest.csv").unlink()
    prepare(options(photos, photos / "faces"), detector)
    assert detector.asked == 2 * asked


BAD = {
    "size": ({"size": 100}, "size: got 100"),
    "kind": ({"kind": "fake"}, "kind: got 'fake', expected real or synthetic"),
    "format": ({"format": "gif"}, "format: got 'gif'"),
    "val": ({"val": 8.0}, "val: got 8.0, expected a fraction"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str, tmp_path: Path, detector: KnownFaces) -> None:
    more, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        prepare(options(tmp_path, tmp_path / "set", **more), detector)


def test_missing_folder_is_named(tmp_path: Path, detector: KnownFaces) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        prepare(options(tmp_path / "nowhere", tmp_path / "set"), detector)


def test_with_the_real_detector(tmp_path: Path, photo: Pixels, astronaut_points: np.ndarray) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).resize((1024, 1024), Image.Resampling.BICUBIC).save(tmp_path / "in/astronaut.png")
    prepare(options(tmp_path / "in", tmp_path / "set"))
    (record,) = read_manifest(tmp_path / "set")
    expected = 2 * 512 * np.sqrt(np.linalg.det(invert(similarity(astronaut_points, 512))[:, :2]))
    assert record.native_px == pytest.approx(expected, rel=0.02)
