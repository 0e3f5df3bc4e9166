"""Reports of a photo, a clip and a GIF against the schema, and what they say against what happened."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from likeness.metrics.psnr import psnr
from likeness.ops.color import to_float
from likeness.ops.tensors import to_tensor
from likeness.pipeline.config import from_overrides
from likeness.pipeline.report import Spread, Tally, summary
from likeness.pipeline.restorer import Restorer
from likeness.pipeline.state import FrameResult
from likeness.stages.background.base import BackgroundPlan
from likeness.tasks.report_schema import report_schema
from likeness.types import Faces

FILE = Path(__file__).parents[2] / "docs" / "report.schema.json"
SCHEMA = json.loads(FILE.read_text("utf-8"))
REPORT = jsonschema.Draft202012Validator(SCHEMA)
LINE = jsonschema.Draft202012Validator({"$ref": "#/$defs/FrameRecord", "$defs": SCHEMA["$defs"]})


@pytest.fixture
def restore(tmp_path, make_models):
    """Restores a file with known networks; returns the result and the report as it lies on disk."""

    def run(path, *options, faces=(), reference=None, **models):
        restorer = Restorer(from_overrides(options))
        restorer._models = make_models(*faces, **models)
        result = restorer.file(path, tmp_path / "out", reference)
        text = result.outputs["report"].read_text()
        return result, json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


@pytest.fixture
def photo(tmp_path, scene):
    path = tmp_path / "photo.png"
    Image.fromarray(scene).save(path)
    return path


def every_face_once(face_at, together) -> Faces:
    return together(face_at(150, 110, 160), face_at(250, 90, 90), face_at(40, 180, 30))


def test_the_schema_is_that_of_the_types():
    assert report_schema() == SCHEMA, "the types have changed: make schema"


def test_the_schema_is_one_and_describes_everything():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def walk(node, path):
        if isinstance(node, dict) and "properties" in node:
            assert node.get("additionalProperties") is False, path
            for name, child in node["properties"].items():
                assert child.get("description") or "$ref" in child, f"{path}/{name} lacks a description"
                walk(child, f"{path}/{name}")
        for name in ("items", "$defs"):
            if isinstance(node, dict) and name in node:
                children = node[name].items() if name == "$defs" else [("", node[name])]
                for key, child in children:
                    walk(child, f"{path}/{name}/{key}")

    walk(SCHEMA, "")


def test_photo(restore, photo, face_at, together):
    faces = every_face_once(face_at, together)
    result, report = restore(photo, "upscale=2", faces=[faces])
    REPORT.validate(report)
    assert "reference" not in report
    assert report["input"] | {"file": ""} == {
        "file": "", "kind": "photo", "format": "png", "width": 320, "height": 240, "frames": 1, "fps": None,
        "seconds": None, "codec": "", "audio": [], "loop": None,
    }  # fmt: skip
    assert report["settings"]["upscale"] == "2"
    assert report["upscale"] == 2
    wide, middle, small = report["faces"]
    assert (wide["route"], wide["expert"], wide["guard"], wide["identity_distance"]) == ("resize", None, None, None)
    assert (middle["route"], middle["expert"]) == ("expert_t", "expert_t")
    assert (small["route"], small["restored_frames"]) == ("skip", 0)
    assert middle["w"] == pytest.approx(90, abs=0.5)
    np.testing.assert_allclose(middle["landmarks"], faces.landmarks[1], atol=0.01)
    np.testing.assert_allclose(middle["box"], faces.boxes[1], atol=0.01)
    assert middle["confidence"] == 0.75
    assert middle["guard"]["verdict"] == "same"
    assert middle["guard"]["bound"] == 5.0
    assert middle["identity_distance"] > 0
    assert report["totals"]["faces"] == 3
    assert report["totals"]["restored"] == 1
    assert report["totals"]["fallbacks"] == {}
    assert report["totals"]["errors"] == {}
    assert {
        "read",
        "detect",
        "align",
        "measure",
        "profile",
        "restore",
        "identity",
        "background",
        "composite",
        "write",
    } == set(report["totals"]["seconds_by_stage"])
    assert report["totals"]["peak_memory_mb"] > 100
    assert sum(report["totals"]["seconds_by_stage"].values()) <= report["totals"]["seconds"] + 0.02
    assert (
        report["summary"]
        == result.summary
        == ("3 faces: 1 restored, 1 too small (30 px), 1 already good; route.skip_below=30 includes small ones")
    )
    assert {role for role, path in result.outputs.items() if path.is_file()} == {
        "restored",
        "compare",
        "cards",
        "report",
    }
    assert report["outputs"] == {role: str(path) for role, path in result.outputs.items()}


@pytest.mark.parametrize(
    ("same", "other", "verdict"), [(0.3, 9.0, "reduced"), (0.8, 0.5, "undecided"), (5.0, 9.0, "same")]
)
def test_verdicts_and_figures_of_the_guard(restore, photo, face_at, stub_expert, same, other, verdict):
    stranger = stub_expert(face=np.zeros((512, 512, 3), np.float32))
    _, report = restore(photo, faces=[face_at(150, 110, 90)], expert=stranger, same=same, other=other)
    REPORT.validate(report)
    guard = report["faces"][0]["guard"]
    assert guard["verdict"] == verdict
    assert guard["bound"] == (None if verdict == "undecided" else same)
    assert guard["distance"] >= guard["final_distance"]
    assert ("kept closer" in report["summary"]) == (verdict == "reduced")


def test_the_guard_switched_off_and_poisson_falling_back(restore, photo, face_at):
    _, report = restore(photo, "guard.enabled=false", faces=[face_at(0, 110, 90)])
    REPORT.validate(report)
    assert report["faces"][0]["guard"] is None
    assert report["faces"][0]["identity_distance"] > 0
    _, corner = restore(photo, faces=[face_at(0, 0, 90)])
    REPORT.validate(corner)
    assert corner["totals"]["fallbacks"]["poisson -> feather"] == 1
    assert any("26 %" in n or "%" in n for n in corner["faces"][0]["notes"])


def test_no_faces(restore, photo):
    result, report = restore(photo, "upscale=1")
    REPORT.validate(report)
    assert (report["faces"], report["summary"]) == ([], "no faces found")
    assert result.outputs["restored"].read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("kind", ["video", "gif"])
def test_clips(restore, make_clip, make_gif, scene, face_at, kind):
    pictures = [scene] * 8
    path = (
        make_clip("clip.mp4", pictures)
        if kind == "video"
        else make_gif("loop.gif", [np.roll(scene, i, 1) for i in range(8)], [40, 70] * 4)
    )
    result, report = restore(path, "compare=yes", faces=[face_at(150, 110, 90)])
    REPORT.validate(report)
    lines = [json.loads(line) for line in result.outputs["frames"].read_text().splitlines()]
    for line in lines:
        LINE.validate(line)
    assert [line["frame"] for line in lines] == list(range(8))
    times = [i / 25 for i in range(8)] if kind == "video" else [0, 0.04, 0.11, 0.15, 0.22, 0.26, 0.33, 0.37]
    np.testing.assert_allclose([line["time"] for line in lines], times, atol=1e-3)
    (face,) = report["faces"]
    assert (face["track"], face["frames"], face["restored_frames"]) == (0, 8, 8)
    added = ("frames", "restored_frames", "propagated_frames", "identity_spread", "card", "best_frames")
    assert lines[-1]["faces"][0] == {k: v for k, v in face.items() if k not in added}
    assert face["propagated_frames"] == 0
    assert 0 <= face["identity_spread"] < 0.05
    assert report["totals"]["frames"] == 8
    assert report["totals"]["fallbacks"] == {}
    assert "track" in report["totals"]["seconds_by_stage"]
    facts = report["input"]
    assert facts["kind"] == kind
    assert (facts["fps"], facts["codec"], facts["audio"]) == (
        ("25", "h264", ["aac"]) if kind == "video" else (facts["fps"], "", [])
    )
    assert facts["loop"] == (None if kind == "video" else 0)


def test_the_schema_refuses_what_is_wrong(restore, photo, face_at):
    _, report = restore(photo, faces=[face_at(150, 110, 90)])
    broken = [
        report | {"extra": 1},
        report | {"schema": 2},
        report | {"reference": None},
        {k: v for k, v in report.items() if k != "device"},
        report | {"faces": [report["faces"][0] | {"route": "maybe"}]},
        report | {"faces": [report["faces"][0] | {"w": "wide"}]},
        report | {"weights": {"expert_f": 1}},
        report | {"settings": report["settings"] | {"strengh": 1}},
        report | {"faces": [report["faces"][0] | {"score": 1.5}]},
    ]
    for one in broken:
        assert not REPORT.is_valid(one)


@pytest.mark.data
def test_reference_with_lpips(restore, photo, face_at, data_root, monkeypatch):
    _check_reference(restore, photo, face_at, lpips=True)


def test_reference_without_the_lpips_backbone(restore, photo, face_at, tmp_path, monkeypatch):
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    _check_reference(restore, photo, face_at, lpips=False)


def _check_reference(restore, photo, face_at, lpips):
    truth = photo.with_name("truth.png")
    picture = np.asarray(Image.open(photo))
    Image.fromarray(np.clip(picture.astype(int) + 12, 0, 255).astype(np.uint8)).save(truth)
    _, report = restore(photo, "upscale=1", faces=[face_at(150, 110, 90)], reference=truth)
    REPORT.validate(report)
    reference = report["reference"]
    names = {"psnr", "ssim", "gmsd", "identity_distance", "identity_cosine"} | ({"lpips"} if lpips else set())
    assert set(reference["output"]) == set(reference["input"]) == names
    assert reference["faces"] == 1
    assert len(reference["missing"]) == (0 if lpips else 1)
    assert ("lpips" in report["weights"]) == lpips
    expected = float(psnr(*(to_tensor(to_float(p)) for p in (picture, np.asarray(Image.open(truth))))))
    assert reference["input"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert reference["output"]["psnr"] != reference["input"]["psnr"]


def test_an_equal_reference_has_no_infinite_figure(restore, photo):
    _, report = restore(photo, "upscale=1", reference=photo)
    REPORT.validate(report)
    assert report["reference"]["output"]["psnr"] is None
    assert report["reference"]["output"]["ssim"] == pytest.approx(1)
    assert "identity_distance" not in report["reference"]["output"]


def face(route="expert_f", restored=1, w=120.0, reason="", guard=None, expert=None, propagated=0, gate=None):
    expert = route if route.startswith("expert") else expert
    return {"route": route, "restored_frames": restored, "w": w, "reason": reason, "guard": guard, "gate": gate,
            "expert": expert, "propagated_frames": propagated}  # fmt: skip


REDUCED = {"verdict": "reduced"}
SMALL = {"route": "skip", "restored": 0, "reason": "too small: width 38 px < 50", "w": 38.0}
LEAVE = {"probability": 0.2, "leave": 0.9, "features": {}}
CHOSEN = {"route": "skip", "restored": 0, "reason": "not chosen: faces.only=largest"}


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([], "no faces found"),
        ([face()], "1 face: 1 restored"),
        ([face(guard=REDUCED), face()], "2 faces: 2 restored (1 kept closer to the original)"),
        (
            [face(), face(**SMALL), face("resize", 0)],
            "3 faces: 1 restored, 1 too small (38 px), 1 already good; route.skip_below=35 includes small ones",
        ),
        ([face(**SMALL)] * 6, "6 faces: 6 too small (38, 38, 38, 38 px); route.skip_below=35 includes small ones"),
        ([face(**SMALL | {"w": 19.9})], "1 face: 1 too small (19 px)"),
        ([face(**CHOSEN)], "1 face: 1 not chosen"),
        ([face(restored=0)], "1 face: 1 left as it was"),
        (
            [face("resize", 0, gate=LEAVE), face(**CHOSEN), face(**SMALL), face("resize", 0)],
            "4 faces: 1 too small (38 px), 1 already good, 1 better left alone, 1 not chosen; route.skip_below=35 "
            "includes small ones; gate.leave_threshold=1 restores those left alone",
        ),
        ([face("resize", 0, gate=LEAVE, expert="expert_t")], "1 face: 1 left as it was"),  # `repair` filled nothing
        (
            [face(restored=8, propagated=4), face(restored=2)],
            "2 faces: 2 restored (40% of their frames propagated from the last restored one)",
        ),
    ],
)
def test_summary(faces, expected):
    assert summary(faces) == expected


def test_the_spread_is_the_distance_to_the_mean():
    vectors = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    spread = Spread()
    assert spread.value() is None
    for vector in vectors:
        spread.add(vector)
    apart = np.linalg.norm(vectors - vectors.mean(0), axis=1)
    assert spread.value() == pytest.approx(np.sqrt((apart**2).mean()), rel=1e-5)
    same = Spread()
    for _ in range(3):
        same.add(vectors[0])
    assert same.value() == pytest.approx(0, abs=1e-3)


def test_an_empty_tally():
    tally = Tally()
    plan = BackgroundPlan("lanczos", "test")
    assert tally.add(FrameResult(np.zeros((1, 1, 3), np.uint8), (), plan, {"detect": 0.5})) == []
    assert (tally.frames, tally.changed, tally.seconds["detect"]) == (1, False, 0.5)
