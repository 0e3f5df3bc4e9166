"""Every example runs as a user runs it, on tiny inputs."""

from __future__ import annotations

import ast
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage.data import astronaut
from spandrel.architectures.Compact import Compact

from likeness.ops.geometry import similarity, transform
from likeness.pipeline import models, restorer
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.stages.detect.registry import DETECTORS
from likeness.stages.restore.registry import EXPERTS

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("name.py", *arguments)`: what the example prints; registries are as before afterwards."""
    for registry in (EXPERTS, DETECTORS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)

    def start(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        code: object = 0
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert not code, said
        return said.out

    return start


@pytest.fixture(scope="module")
def loaded() -> models.Models:
    return models.load_models(from_overrides(["device=cpu", "background.name=lanczos"]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, loaded: models.Models) -> list[RestorerConfig]:
    """Released networks that are loaded once; the options of every restorer that asked for them."""
    asked: list[RestorerConfig] = []
    monkeypatch.setattr(restorer, "load_models", lambda config: asked.append(config) or loaded)
    return asked


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with a portrait, its mirror image in a sub-folder, and a landscape without faces."""
    folder = tmp_path / "album"
    (folder / "trip").mkdir(parents=True)
    portrait = np.ascontiguousarray(astronaut()[20:180, 140:300])
    Image.fromarray(portrait).save(folder / "a.png")
    Image.fromarray(portrait[:, ::-1]).save(folder / "trip" / "b.png")
    Image.fromarray(astronaut()[400:460, :80]).save(folder / "c.png")
    return folder


def test_every_example_is_run_here_and_says_how_to_run_it() -> None:
    tested = {node.value for node in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(node, ast.Constant)}
    for file in EXAMPLES.glob("*.py"):
        if file.name == "api_client.py":  # needs a server: tests/web/test_docs.py runs it
            continue
        assert file.name in tested, file
        assert f"python examples/{file.name} " in (ast.get_docstring(ast.parse(file.read_text())) or ""), file


def test_restore_folder(run: Run, quick: list[RestorerConfig], album: Path, tmp_path: Path) -> None:
    said = run("restore_folder.py", album, tmp_path / "out")
    assert said.count("1 face: 1 restored") == 2
    assert said.count("no faces found") == 1
    assert {p.name for p in (tmp_path / "out").glob("**/*_report.json")} == {f"{name}_report.json" for name in "abc"}
    (asked,) = quick
    assert (asked.upscale, asked.faces.min) == ("2", 60)


def test_restore_folder_names_a_damaged_file_and_goes_on(quick, album: Path, tmp_path: Path) -> None:
    (album / "b.jpg").write_bytes(b"no picture")
    example = runpy.run_path(str(EXAMPLES / "restore_folder.py"))
    assert example["main"](album, tmp_path / "out") == 1
    assert len(list((tmp_path / "out").glob("**/*_report.json"))) == 3


def test_thread_pool(run: Run, quick: list[RestorerConfig], album: Path, tmp_path: Path) -> None:
    photos = sorted(album.rglob("*.png"))
    said = run("thread_pool.py", tmp_path / "out", *photos)
    assert [line.rpartition(": ")[2] for line in said.splitlines()] == ["expert_f", "no face", "expert_f"]
    alone = restorer.Restorer(upscale=1)
    for photo in photos:
        result = np.asarray(Image.open(tmp_path / "out" / photo.name))
        np.testing.assert_array_equal(result, alone.image(np.array(Image.open(photo))).pixels)


def test_own_expert(run: Run, album: Path, tmp_path: Path) -> None:
    assert "1 restored" in run("own_expert.py", album / "a.png", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "a_report.json").read_text())
    assert report["faces"][0]["expert"] == "unsharp"


def test_own_detector(run: Run, album: Path, tmp_path: Path) -> None:
    assert "1 face: 1 restored" in run("own_detector.py", album / "a.png", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "a_report.json").read_text())
    assert report["settings"]["detect"]["name"] == "cascade"


def test_own_detector_aligns_like_measured_landmarks(run: Run, astronaut_points: np.ndarray) -> None:
    detector = runpy.run_path(str(EXAMPLES / "own_detector.py"))["CascadeDetector"](28)
    (faces,) = detector.detect([astronaut()])
    assert len(faces) == 1
    guessed, measured = (similarity(points, 256) for points in (faces.landmarks[0], astronaut_points))
    apart = transform(guessed, astronaut_points) - transform(measured, astronaut_points)
    assert np.abs(apart).max() < 16, "in a crop of 256 px"
    assert len(detector.detect([np.zeros((64, 64, 3), np.uint8)])[0]) == 0


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A small 1x network of an architecture that spandrel knows."""
    torch.manual_seed(0)
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2, act_type="prelu")
    save_file(net.state_dict(), tmp_path / "theirs.safetensors")
    return tmp_path / "theirs.safetensors"


def test_evaluate_external(run: Run, network: Path, astronaut_face: np.ndarray, tmp_path: Path) -> None:
    data = tmp_path / "data" / "faces"
    (data / "a").mkdir(parents=True)
    Image.fromarray(astronaut_face).save(data / "a" / "face.png")
    header = "file,set,kind,group,size,native_px,laplacian_256,split,source_md5"
    (data / "manifest.csv").write_text(f"{header}\na/face.png,a,real,,512,600,0,val,x\n")
    table = run("evaluate_external.py", network, data.parent, tmp_path / "out", 1)
    for method in ("input", "external", "expert_f", "expert_t"):
        assert f"| {method} |" in table


def test_train_on_your_photos(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    portrait = Image.fromarray(astronaut()[:280, 100:350]).resize((500, 560), Image.Resampling.BICUBIC)
    for turn in range(8):  # the hash of a BMP decides whether it is for training
        portrait.rotate(turn).save(photos / f"{turn}.bmp")
    tiny = ("experiment=smoke", "data=faces", "model.loss.weights.identity=0", "data.workers=0", "data.batch_size=2")
    short = ("data.epoch_images=4", "data.val_faces=1", "data.synthetic=0", "trainer.max_epochs=1", "threads=1")
    said = run("train_on_your_photos.py", photos, tmp_path / "out", *tiny, *short)
    weights = Path(said.splitlines()[-1])
    assert weights == tmp_path / "out" / "my_expert.safetensors"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(weights).values())
