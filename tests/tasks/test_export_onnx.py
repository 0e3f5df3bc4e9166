"""ONNX Runtime gives what torch gives, and runs only the files that were made of the weights in use."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, InputError, WeightsError
from likeness.nets.blocks import FourierUnit, MatrixFourierUnit, without_complex_numbers
from likeness.nets.expert_f import ExpertF
from likeness.nets.expert_t import ExpertT
from likeness.nets.gate import Gate
from likeness.nets.prior import Prior
from likeness.pipeline.config import from_overrides
from likeness.pipeline.models import load_models
from likeness.stages.restore.onnx import open_graph
from likeness.tasks.export import main
from likeness.tasks.export_onnx import OnnxOptions, export_onnx
from likeness.types import Conditions, FloatArray
from likeness.weights.files import file_hash, save_weights
from likeness.weights.manifest import released
from tests.tiny import FIRST, PRIOR, TINY

SHALLOW = replace(FIRST, encoder=(1, 1, 1))  # torch takes long to write a deep graph


@pytest.fixture(scope="module")
def crop() -> FloatArray:
    return (draw_face(256, 3) / 255).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weight files of four tiny networks, every weight of which does something."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    nets: dict[str, Any] = {
        "expert_f": ExpertF(SHALLOW),
        "expert_t": ExpertT(TINY),
        "prior": Prior(PRIOR),
        "gate": Gate(),
    }
    nets["prior"].train()(torch.rand(2, 3, 256, 256))  # starts the codes
    for name, net in nets.items():
        for key, weight in net.named_parameters():
            if "codebook" not in key:
                torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.1)
        save_weights(folder / f"{name}.safetensors", name, net.config.to_dict(), net.state_dict(), {})
    return {name: str(folder / f"{name}.safetensors") for name in nets}


@pytest.fixture(scope="module")
def folder(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("onnx")
    paths = export_onnx(OnnxOptions(dst=str(made), **files))
    assert [p.name for p in paths] == ["expert_f.onnx", "expert_t.onnx", "gate.onnx"]
    return made


def options(files: dict[str, str], *more: str) -> list[str]:
    return ["device=cpu", *(f"weights.{name}={file}" for name, file in files.items() if name != "gate"), *more]


@pytest.mark.parametrize("knobs", [(), ("expert_t.fidelity=0.9", "expert_t.quality=0.2")], ids=["default", "knobs"])
def test_onnx_restores_like_torch(
    files: dict[str, str], folder: Path, crop: FloatArray, knobs: tuple[str, ...]
) -> None:
    ours = load_models(from_overrides(options(files, *knobs)))
    theirs = load_models(from_overrides(options(files, *knobs, "runtime=onnx", f"weights.onnx={folder}")))
    assert set(theirs.experts) == set(ours.experts) == {"expert_f", "expert_t"}
    before = crop.copy()
    for name in ours.experts:
        expected = ours.experts[name].restore([crop, crop[::-1].copy()])
        found = theirs.experts[name].restore([crop, crop[::-1].copy()])
        for a, b in zip(expected, found, strict=True):
            assert a.image.std() > 0.05
            np.testing.assert_allclose(b.image, a.image, atol=2e-3)
            assert a.confidence is not None
            assert b.confidence is not None
            np.testing.assert_allclose(b.confidence, a.confidence, atol=2e-3)
        assert theirs.hashes[name] != ours.hashes[name]
    np.testing.assert_array_equal(crop, before)


def test_onnx_restores_a_sequence_like_torch(files: dict[str, str], folder: Path, crop: FloatArray) -> None:
    words = options(files, "expert_t.code_smoothing=0.8")
    ours = load_models(from_overrides(words)).experts["expert_t"]
    theirs = load_models(from_overrides([*words, "runtime=onnx", f"weights.onnx={folder}"])).experts["expert_t"]
    rng = np.random.default_rng(0)
    frames = [np.clip(crop + 0.05 * rng.standard_normal(crop.shape, np.float32), 0, 1) for _ in range(3)]
    a_state = b_state = None
    for i, frame in enumerate(frames):
        (a,) = ours.restore([frame], [Conditions(a_state, 1.0 + i)])
        (b,) = theirs.restore([frame], [Conditions(b_state, 1.0 + i)])
        np.testing.assert_allclose(b.image, a.image, atol=2e-3)
        a_state, b_state = a.state, b.state
    (alone,) = theirs.restore([frames[-1]])
    assert np.abs(alone.image - b.image).max() > 10 * np.abs(a.image - b.image).max()  # the state matters
    same, again = theirs.restore([crop, crop], [Conditions(None, 2.0), Conditions(None, 1.0)])
    np.testing.assert_array_equal(same.image, again.image)
    np.testing.assert_array_equal(theirs.restore([crop])[0].image, same.image)


def test_options_reach_the_graph(files: dict[str, str], folder: Path, crop: FloatArray) -> None:
    def image(*knobs: str) -> FloatArray:
        words = options(files, *knobs, "runtime=onnx", f"weights.onnx={folder}")
        return load_models(from_overrides(words)).experts["expert_t"].restore([crop])[0].image

    usual = image()
    assert np.abs(image("expert_t.fidelity=0") - usual).max() > 1e-3
    assert np.abs(image("expert_t.quality=0") - usual).max() > 1e-4


def test_the_gate_gives_its_calibrated_probability(files: dict[str, str], folder: Path) -> None:
    from likeness.weights.networks import load_network

    gate = load_network("gate", files["gate"])[0].eval()
    for seed in range(3):
        features = np.random.default_rng(seed).random((1, 7), np.float32) * 100
        (found,) = open_graph(folder / "gate.onnx")({"features": features})
        np.testing.assert_allclose(found, gate.probabilities(features), atol=1e-5)  # type: ignore[operator]


def test_onnx_runtime_has_no_bf16(folder: Path, files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="bf16"):
        load_models(from_overrides(options(files, f"weights.onnx={folder}", "precision=bf16", "runtime=onnx")))


def test_a_graph_of_other_weights_is_refused(files: dict[str, str], folder: Path, tmp_path: Path) -> None:
    words = [w for w in options(files) if "expert_f" not in w]  # the released Expert-F
    with pytest.raises(WeightsError, match="other weights"):
        load_models(from_overrides([*words, "expert.name=expert_f", "runtime=onnx", f"weights.onnx={folder}"]))
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    facts = json.loads((old / "expert_t.json").read_text())
    del facts["inputs"]
    (old / "expert_t.json").write_text(json.dumps(facts))
    with pytest.raises(WeightsError, match="earlier release"):
        load_models(from_overrides([*options(files), "runtime=onnx", f"weights.onnx={old}"]))
    with pytest.raises(WeightsError, match="missing"):
        load_models(from_overrides([*options(files), "runtime=onnx", f"weights.onnx={tmp_path}"]))


@pytest.mark.slow
def test_the_released_expert_t_stands_on_the_released_expert_f(files: dict[str, str], tmp_path: Path) -> None:
    export_onnx(OnnxOptions(dst=str(tmp_path), expert_f=files["expert_f"]))
    made_of = {
        name: json.loads((tmp_path / f"{name}.json").read_text())["weights"] for name in ("expert_f", "expert_t")
    }
    assert made_of["expert_f"] == {"expert_f": file_hash(files["expert_f"])}
    assert made_of["expert_t"] == {name: file_hash(released(name)) for name in ("expert_t", "prior", "expert_f")}
    words = ["device=cpu", "runtime=onnx", f"weights.onnx={tmp_path}", f"weights.expert_f={files['expert_f']}"]
    assert set(load_models(from_overrides(words)).experts) == {"expert_f", "expert_t"}


def test_damaged_graph_raises_one_line(tmp_path: Path) -> None:
    (tmp_path / "expert_f.onnx").write_bytes(b"no graph")
    with pytest.raises(WeightsError, match="cannot be read"):
        open_graph(tmp_path / "expert_f.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runtime=tensorrt"], "runtime"),
        (["runtime=onnx"], r"weights\.onnx"),
        (["weights.onnx=somewhere"], "runtime=torch"),
        (["runtime=onnx", "weights.onnx=d", "device=cuda"], "on the CPU"),
        (["runtime=onnx", "weights.onnx=d", "expert.name=external", "expert.file=f"], "our experts"),
        (["runtime=onnx", "weights.onnx=d", "expert_t.code_smoothing=0.5", "expert_t.pool=false"], "code_smoothing"),
        (["runtime=onnx", "weights.onnx=d", "expert_t.lookup=hard"], "lookup"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_conflicting_options_raise(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_overrides(words)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["format=onyx", f"dst={tmp_path}"]) == ConfigError.exit_code
    assert "expected onnx or weights" in capsys.readouterr().err
    assert main(["format=onnx"]) == ConfigError.exit_code
    assert main(["format=weights", f"ckpt={tmp_path}/none", f"dst={tmp_path}/w.safetensors"]) == InputError.exit_code


def test_the_matrix_is_the_transform() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(FourierUnit(6, 4), torch.nn.MaxPool2d(2), FourierUnit(6, 4))
    for unit in (net[0], net[2]):
        torch.nn.init.normal_(unit.leave.weight)
    x = torch.randn(2, 6, 16, 12)
    other = without_complex_numbers(net, [x])
    assert [type(m) for m in (other[0], other[2], net[0])] == [MatrixFourierUnit, MatrixFourierUnit, FourierUnit]
    with torch.inference_mode():
        torch.testing.assert_close(other(x), net(x), atol=1e-5, rtol=1e-4)


def test_export_notes_name_the_source(folder: Path) -> None:
    assert set(json.loads((folder / "expert_t.json").read_text())["weights"]) == {"expert_t", "prior", "expert_f"}
