"""Obstructions and repair in the whole flow, with a known network: what stays, what is filled, what is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.errors import ConfigError
from likeness.media.naming import OutputNames
from likeness.nets.obstructions import CLASSES
from likeness.ops.geometry import enlarged, invert, transform
from likeness.pipeline.config import from_overrides
from likeness.pipeline.job import Job
from likeness.pipeline.report import face_record
from likeness.pipeline.state import ClipState, Context, FrameResult, pasted
from likeness.pipeline.steps import restore_frame
from likeness.stages.background.lanczos import lanczos
from likeness.types import Faces, Frame, Pixels, Restored


class MarksRectangle(torch.nn.Module):
    """Marks rows 64 to 100 and columns 40 to 90 of every crop as one class."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.anchor = CLASSES.index(kind), torch.nn.Parameter(torch.zeros(1))

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        p = torch.zeros(len(x), len(CLASSES), *x.shape[2:])
        p[:, 0] = 1
        p[:, 0, 64:100, 40:90], p[:, self.kind, 64:100, 40:90] = 0, 1
        return p


class MarksWhite(MarksRectangle):
    """Marks white pixels as damage."""

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        white = (x.mean(1) > 0.98).float()
        p = torch.zeros(len(x), len(CLASSES), *x.shape[2:])
        p[:, 0], p[:, self.kind] = 1 - white, white
        return p


def run(scene: Pixels, face: Faces, models, *options: str) -> FrameResult:
    context = Context(models, from_overrides(options), "photo", 1)
    return restore_frame(Frame(scene), ClipState(), context, face)[0]


def in_picture(result: FrameResult, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice]:
    """A rectangle of the crop, of 128 pixels, in the picture."""
    corners = np.array([(columns[0], rows[0]), (columns[1], rows[1])]) * 2.0
    (x0, y0), (x1, y1) = np.rint(transform(invert(result.faces[0].crop.matrix), corners)).astype(int)
    return slice(y0, y1), slice(x0, x1)


@pytest.mark.parametrize("method", ["poisson", "feather"])
@pytest.mark.parametrize("kind", ["mask", "object", "text"])
def test_protected_pixels_equal_the_background(scene, face_at, make_models, method, kind):
    models, face = replace(make_models(), obstructions=MarksRectangle(kind)), face_at(150, 110, 80)
    options = (f"composite.method={method}", "guard.enabled=false")
    plain = run(scene, face, models, *options)
    kept = run(scene, face, models, *options, "composite.protect=true")
    inside = in_picture(kept, (70, 94), (46, 84))
    np.testing.assert_array_equal(kept.pixels[inside], lanczos(scene, 1)[inside])
    assert (plain.pixels[inside] != scene[inside]).any()
    forehead = in_picture(kept, (40, 56), (46, 84))
    assert (kept.pixels[forehead] != scene[forehead]).any()
    record = face_record(kept.faces[0])["profile"]
    assert record["obstructions"][kind] > 0.2
    assert any("its pixels stay" in remark for remark in record["remarks"])


@pytest.mark.parametrize("kind", ["glasses", "hair", "damage"])
def test_glasses_and_hair_are_restored_as_part_of_the_face(scene, face_at, make_models, kind):
    models, face = replace(make_models(), obstructions=MarksRectangle(kind)), face_at(150, 110, 80)
    plain, kept = (run(scene, face, models, f"composite.protect={p}") for p in ("false", "true"))
    np.testing.assert_array_equal(plain.pixels, kept.pixels)


class RemembersMask:
    """An expert that paints unknown pixels green and copies the rest."""

    name, input_size, output_size, sha256 = "expert_t", 256, 512, "0" * 64

    def __init__(self) -> None:
        self.unknown: list[np.ndarray | None] = []

    def restore(self, crops, conditions=None):
        self.unknown += [None] * len(crops) if conditions is None else [c.unknown for c in conditions]
        return [self._one(crop, mask) for crop, mask in zip(crops, self.unknown[-len(crops) :], strict=True)]

    def _one(self, crop, mask):
        large = enlarged(crop, 512)  # a residual of nothing
        if mask is not None:
            large = np.where(np.kron(mask, np.ones((2, 2), bool))[..., None], np.float32([0, 1, 0]), large)
        return Restored(large, np.full((64, 64), 0.75, np.float32))


def scratched(scene: Pixels) -> Pixels:
    broken = scene.copy()
    broken[:, 150:153] = 255  # through the face
    broken[:, 306:309] = 255  # beside it
    return broken


@pytest.mark.parametrize("width", [80, 160], ids=["restored", "already good"])
def test_scratches_are_filled_in_the_picture_and_by_the_expert_in_the_face(scene, face_at, make_models, width):
    expert, broken = RemembersMask(), scratched(scene)
    models = replace(make_models(expert=expert), obstructions=MarksWhite("damage"))
    before = broken.copy()
    options = ("repair.name=scratches", "guard.enabled=false", "composite.method=feather")
    result = run(broken, face_at(150, 110, width), models, *options)
    np.testing.assert_array_equal(broken, before)
    (face,) = result.faces
    assert face.decision.expert == "expert_t"
    assert "repair" in face.decision.reason
    (unknown,) = expert.unknown
    assert unknown is not None
    assert 0.005 < unknown.mean() < 0.2
    assert result.pixels[110, 151, 1] > 200  # the expert's green
    assert result.pixels[110, 151, 0] < 100
    beside = result.pixels[:, 307].astype(int) - scene[:, 307]
    assert np.abs(beside).mean() < 25  # the picture's own colours instead of white
    assert 0.01 < result.invented < 0.08
    used = pasted(face)
    assert used is not None
    assert used.restored.confidence is not None
    assert used.restored.confidence.min() < 0.5  # 0.75 elsewhere
    assert face_record(face)["invented"] == pytest.approx(float(unknown.mean()), abs=1e-4)
    changed = (result.pixels[:, :140] != scene[:, :140]).any(2)
    assert changed.mean() < 0.005  # white pixels of the photo itself


def test_glasses_are_removed_on_request(scene, face_at, make_models):
    expert = RemembersMask()
    models = replace(make_models(expert=expert), obstructions=MarksRectangle("glasses"))
    options = ("repair.name=glasses", "guard.enabled=false", "composite.method=feather")
    result = run(scene, face_at(150, 110, 80), models, *options)
    (unknown,) = expert.unknown
    assert unknown is not None
    assert unknown[2 * 64 : 2 * 100, 2 * 40 : 2 * 90].all()
    inside = in_picture(result, (70, 94), (46, 84))
    assert result.pixels[inside][..., 1].mean() > 200
    assert result.invented == 0


def test_a_removed_mask_is_not_protected(scene, face_at, make_models):
    models = replace(make_models(expert=RemembersMask()), obstructions=MarksRectangle("mask"))
    options = ("repair.name=mask", "guard.enabled=false", "composite.method=feather", "composite.protect=true")
    result = run(scene, face_at(150, 110, 80), models, *options)
    inside = in_picture(result, (70, 94), (46, 84))
    assert result.pixels[inside][..., 1].mean() > 200


def test_nothing_is_filled_by_default(scene, face_at, make_models):
    expert = RemembersMask()
    result = run(scratched(scene), face_at(150, 110, 80), make_models(expert=expert), "guard.enabled=false")
    assert expert.unknown == [None]
    assert result.invented == 0
    assert (result.pixels[:, 307] == 255).all()


@pytest.mark.parametrize("deep", [False, True], ids=["8 bit", "16 bit"])
def test_a_mask_of_the_user_says_what_is_filled(scene, make_models, tmp_path: Path, deep: bool):
    mask = np.zeros(scene.shape[:2], np.uint8)
    mask[50:70, 200:230] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    picture = scene.astype(np.uint16) * 257 if deep else scene
    result = run(picture, Faces.empty(), make_models(), f"repair.name={tmp_path / 'mask.png'}")
    assert result.pixels.dtype == picture.dtype
    assert result.invented == pytest.approx(600 / mask.size)
    changed = (result.pixels != picture).any(2)
    assert changed[mask > 0].mean() > 0.5
    assert not changed[:40].any()


def test_the_report_says_what_was_invented_and_a_clip_is_refused(scene, make_models, tmp_path: Path):
    Image.fromarray(scratched(scene)).save(tmp_path / "old.png")
    models = replace(make_models(), obstructions=MarksWhite("damage"))
    config = from_overrides(["repair.name=scratches", "upscale=1"])
    result = Job(models, config, OutputNames(tmp_path / "old.png", tmp_path / "out"), "photo").run()
    report = json.loads(result.outputs["report"].read_text())
    assert report["totals"]["invented"] > 0.01
    assert any(note.startswith("repair: ") and "invented" in note for note in report["notes"])
    with pytest.raises(ConfigError, match="repair: got scratches for a clip"):
        Job(models, config, OutputNames(tmp_path / "a.mp4", tmp_path / "out2"), "video")
