"""Graphs in int8 are near those in fp32, by ranges that belong to their weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from likeness.data.degradations.stills import degrade
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, WeightsError
from likeness.nets.expert_f import ExpertF
from likeness.pipeline import models
from likeness.pipeline.config import from_overrides
from likeness.pipeline.models import load_models
from likeness.stages.restore.onnx import OnnxExpert, open_graph
from likeness.tasks import calibrate_int8
from likeness.tasks.export_onnx import OnnxOptions, export_onnx
from likeness.weights import int8
from likeness.weights.files import file_hash, save_weights
from likeness.weights.int8 import ConvRange, measure_ranges, quantise, released_ranges, write_ranges
from likeness.weights.manifest import released
from likeness.weights.onnx import Graph, load_graph, write_graph
from tests.tiny import FIRST


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Expert-F, every weight of which does something."""
    torch.manual_seed(0)
    net = ExpertF(FIRST)
    for weight in net.parameters():
        nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.1)
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(file, "expert_f", net.config.to_dict(), net.state_dict(), {})
    return file


def face(seed: int) -> np.ndarray:
    """(1, 3, 256, 256) in [0, 1], slightly degraded."""
    pixels = degrade(draw_face(256, seed), "mild", np.random.default_rng(seed))[0]
    return (pixels / 255).astype(np.float32).transpose(2, 0, 1)[None]


@pytest.fixture(scope="module")
def measured(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ConvRange]]:
    """Its graph in fp32, and the ranges of four faces."""
    graph, hashes = load_graph("expert_f", {"expert_f": weights})
    path = tmp_path_factory.mktemp("fp32") / "expert_f.onnx"
    write_graph(graph, path, hashes)
    return path, measure_ranges(path, [{"face": face(i)} for i in range(4)])


@pytest.fixture
def ranges(
    weights: Path, measured: tuple[Path, list[ConvRange]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Released ranges of the tiny network."""
    file = tmp_path / "int8.json"
    write_ranges(file, {"expert_f": ({"expert_f": file_hash(weights)}, measured[1])})
    monkeypatch.setattr(int8, "released", lambda name: file)
    return file


def test_ranges_are_those_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
    pictures = [torch.randn(1, 3, 8, 8) for _ in range(3)]
    write_graph(Graph(nn.Sequential(first, nn.ReLU(), second), {"x": pictures[0]}, ("y",)), tmp_path / "a.onnx", {})
    found = measure_ranges(tmp_path / "a.onnx", [{"x": p.numpy()} for p in pictures])
    with torch.inference_mode():
        x = torch.cat(pictures)
        steps = x, first(x), first(x).relu(), second(first(x).relu())
    assert [c.kernel for c in found] == [(4, 3, 3, 3), (2, 4, 1, 1)]
    limits = [(float(s.min()), float(s.max())) for s in steps]
    for got, expected in zip((found[0].input, found[0].output, found[1].input, found[1].output), limits, strict=True):
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_int8_is_near_fp32(measured: tuple[Path, list[ConvRange]], tmp_path: Path) -> None:
    path, found = measured
    copy = tmp_path / "expert_f.onnx"
    copy.write_bytes(path.read_bytes())
    copy.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())
    quantise(copy, [replace(found[0], int8=False), *found[1:]])
    unseen = {"face": face(9)}
    expected, got = open_graph(path)(unseen)[0], open_graph(copy)(unseen)[0]
    error = float(np.sqrt(np.square(expected - got).mean()))
    assert 1e-5 < error < 0.1 * float(expected.std())
    assert json.loads(copy.with_suffix(".json").read_text())["precision"] == "int8"
    stored = {t.name: t for t in onnx.load(str(copy)).graph.initializer}
    kernels = [t for name, t in stored.items() if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(kernels) == len(found) - 1  # the first one stays in fp32
    for kernel in kernels:
        assert list(stored[kernel.name.replace("_quantized", "_scale")].dims) == [kernel.dims[0]]  # per channel


def test_ranges_of_another_graph_are_refused(measured: tuple[Path, list[ConvRange]]) -> None:
    path, found = measured
    with pytest.raises(WeightsError, match="convolutions"):
        quantise(path, found[:-1])
    assert "precision" not in json.loads(path.with_suffix(".json").read_text())


def test_the_released_ranges_belong_to_the_released_weights() -> None:
    hashes = {name: file_hash(released(name)) for name in ("expert_f", "expert_t", "prior")}
    assert len(released_ranges("expert_f", {"expert_f": hashes["expert_f"]}) or []) == 48
    assert len(released_ranges("expert_t", hashes) or []) == 90
    assert released_ranges("expert_t", {**hashes, "prior": "another"}) is None


def test_the_export_needs_ranges_of_its_weights(ranges: Path, weights: Path, tmp_path: Path) -> None:
    ranges.write_text("{}")
    with pytest.raises(WeightsError, match="holds no ranges"):
        export_onnx(OnnxOptions(dst=str(tmp_path / "out"), precision="int8", expert_f=str(weights)))
    with pytest.raises(ConfigError, match="fp32 or int8"):
        export_onnx(OnnxOptions(dst=str(tmp_path / "out"), precision="int4"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("has", "words", "taken"),
    [(True, [], True), (False, [], False), (True, ["precision=fp32"], False), (True, ["repair.name=glasses"], False)],
    ids=["VNNI", "none", "fp32", "repair"],
)
def test_auto_takes_int8_where_the_cpu_has_it(
    has: bool,
    words: list[str],
    taken: bool,
    ranges: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "int8_runs", lambda: has)
    config = from_overrides(
        ["runtime=auto", "device=cpu", "expert.name=expert_f", f"weights.expert_f={weights}", *words]
    )
    expert = load_models(config).experts["expert_f"]
    assert isinstance(expert, OnnxExpert) == taken
    graphs = list((tmp_path / "cache").rglob("*.onnx"))
    assert len(graphs) == taken
    if taken:  # the second time the file is there
        monkeypatch.setattr(int8, "write_graph", None)
        assert load_models(config).hashes["expert_f"] == file_hash(graphs[0])


def test_auto_without_ranges_runs_in_torch(ranges: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges.write_text("{}")
    monkeypatch.setattr(models, "int8_runs", lambda: True)
    words = ["runtime=auto", "device=cpu", "expert.name=expert_f", f"weights.expert_f={weights}"]
    assert not isinstance(load_models(from_overrides(words)).experts["expert_f"], OnnxExpert)


def test_faces_of_calib_are_degraded_by_every_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_int8, "real_faces", lambda root, count, split: list(range(count)))
    monkeypatch.setattr(calibrate_int8, "read_face", lambda root, record, size: draw_face(size, record))
    options = calibrate_int8.CalibrateInt8Options(root=str(tmp_path), faces=2, recipes=["clean", "heavy"])
    crops = calibrate_int8.degraded_crops(options)
    assert [crop.shape for crop in crops] == [(256, 256, 3)] * 4
    np.testing.assert_array_equal(crops[0], draw_face(256, 0) / np.float32(255))
    assert np.abs(crops[0] - crops[1]).mean() > 0.01


@pytest.mark.parametrize(
    ("has", "installed", "runs"),
    [(True, True, True), (True, False, False), (False, True, False)],
    ids=["both", "without the extra", "without VNNI"],
)
def test_int8_needs_the_cpu_and_the_extra(
    has: bool, installed: bool, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "cpu_has_int8", lambda: has)
    monkeypatch.setattr(int8, "find_spec", lambda name: installed or name != "onnxscript")
    assert int8.int8_runs() == runs
