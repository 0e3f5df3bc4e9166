"""From the configuration to the tables on disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import save_file

from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, DataError, LikenessError, OutputError, WeightsError
from likeness.evaluation.config import BenchmarkConfig, EvaluateConfig, from_hydra
from likeness.evaluation.protocol.setup import parts_folder
from likeness.evaluation.report import provenance
from likeness.evaluation.run import BENCHMARKS, evaluate

ROOT = Path(__file__).parents[2]


def _compose(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("evaluate", list(overrides))


@pytest.fixture
def data(faces_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The small data folder as the environment names it; outputs go to a folder of their own."""
    monkeypatch.setenv("LIKENESS_DATA", str(faces_root))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    return faces_root


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_composes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_DATA", "/some/data")
    options = from_hydra(_compose(f"benchmark={name}", "recipe=all"))
    assert options.benchmark.name == name
    assert options.data.root == "/some/data"
    assert options.output_folder == Path(f"experiments/evaluation/{name}-all")
    assert options.sheets_folder == Path(f"outputs/evaluation/{name}-all")
    monkeypatch.delenv("LIKENESS_DATA")
    assert from_hydra(_compose(f"benchmark={name}")).data.root is None


def test_misspelt_options_and_wrong_values_are_refused() -> None:
    with pytest.raises(ConfigCompositionException, match="limmit"):
        _compose("limmit=3")
    with pytest.raises(ConfigCompositionException, match="limit=many"):
        _compose("limit=many")
    with pytest.raises(ConfigError, match=r"limit: .*many"):
        from_hydra(OmegaConf.create({"limit": "many"}))
    with pytest.raises(ConfigError, match="recipe: got 'blurry', expected one of all, clean, gfpgan"):
        from_hydra(_compose("recipe=blurry"))
    with pytest.raises(ConfigError, match="colour"):
        from_hydra(OmegaConf.create({"benchmark": {"colour": 1}}))
    assert EvaluateConfig(recipe="all").recipes == ("gfpgan", "heavy", "mild", "clean")


@pytest.mark.slow
def test_evaluation_repeats_byte_for_byte(data: Path) -> None:
    backbone = Path("squeezenet1_1.safetensors")
    torch.manual_seed(0)
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), backbone)
    options = ["benchmark=faces", "recipe=mild", "limit=3", "methods=[input,lanczos]", "output=out"]
    cfg = _compose(*options, f"weights.lpips={backbone}")
    results = evaluate(cfg)
    assert {p.name for p in Path("out").iterdir()} == {
        "table.md", "table.csv", "table.json", "images.csv", "timing.csv",
        "real-512.png", "synthetic-512.png", "all-256.png", "routes.png",
    }  # fmt: skip
    figures = {(r.view, r.method, r.metric): r.figure.value for r in results.rows}
    assert figures["all, 256", "input", "psnr"] > 20
    assert figures["real, 512", "lanczos", "lpips"] > 0
    assert ("all, 256", "input", "judge") not in figures
    assert "Not measured: judge: no ONNX file" in Path("out/table.md").read_text()
    facts = json.loads(Path("out/table.json").read_text())["provenance"]
    assert facts["weights sha256"]["LPIPS-squeeze"] == hashlib.sha256(backbone.read_bytes()).hexdigest()
    assert facts["benchmark"]["faces (synthetic)"] == 1
    assert str(data) not in Path("out/table.csv").read_text()
    assert Path("outputs/evaluation/faces-mild/mild-lanczos.png").is_file()
    names = ("table.csv", "images.csv", "table.json", "table.md", "routes.png")
    first = {n: Path("out", n).read_bytes() for n in names}
    evaluate(cfg)
    assert {n: Path("out", n).read_bytes() for n in names} == first


def test_lfw_is_measured_and_verified(data: Path, tmp_path: Path) -> None:
    lfw = tmp_path / "lfw"
    for person in range(4):
        for picture in (1, 2):
            file = lfw / "lfw" / f"P{person}" / f"P{person}_{picture:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            face = np.roll(draw_face(256, person), picture, axis=1)
            Image.fromarray(face).resize((250, 250)).save(file)
    (lfw / "pairsDevTest.txt").write_text("2\nP0 1 2\nP1 1 2\nP0 1 P1 2\nP1 1 P0 2\n")
    (lfw / "pairs.txt").write_text("2 1\nP0 1 2\nP0 1 P1 2\nP2 1 2\nP2 1 P3 2\n")
    cfg = _compose("benchmark=lfw", f"data.lfw={lfw}", "recipe=heavy", "methods=[input,unsharp]", "output=out")
    results = evaluate(cfg)
    assert {r.view for r in results.rows} == {"LFW, 256"}
    text = Path("out/verification.md").read_text()
    assert "4 pairs in 2 folds" in text
    assert [line.split(" | ")[:2] for line in text.splitlines() if line.startswith(("| - |", "| heavy |"))] == [
        ["| -", "clean pictures"], ["| heavy", "input"], ["| heavy", "unsharp"]
    ]  # fmt: skip
    assert Path("out/roc-heavy.png").is_file()
    first = {p.name: p.read_bytes() for p in Path("out").iterdir() if p.name != "timing.csv"}
    evaluate(cfg)
    assert {p.name: p.read_bytes() for p in Path("out").iterdir() if p.name != "timing.csv"} == first
    assert not list(Path("outputs/cache").glob("scores-*"))  # nothing is left of a finished run


def test_kept_parts_serve_another_gate(tmp_path: Path) -> None:
    facts = {"commit": "a", "weights sha256": {"gate": "1", "expert_t": "2"}}
    options = EvaluateConfig(cache=str(tmp_path), keep=True)

    def folder(message: dict[str, Any], options: EvaluateConfig = options, late: Sequence[str] = ("gate",)) -> Path:
        with parts_folder(options, message, ["lfw"], late) as path:
            path.mkdir(exist_ok=True)
        return path

    first = folder(facts)
    assert first.is_dir()
    other_gate = {"commit": "b", "weights sha256": {"gate": "3", "expert_t": "2"}}
    assert folder(other_gate) == first
    assert folder({**facts, "weights sha256": {"gate": "1", "expert_t": "4"}}) != first
    assert folder(facts, late=()) != folder(other_gate, late=())  # where the pipeline asks the gate it decides
    assert folder(facts, replace(options, benchmark=BenchmarkConfig(count=9))) != first
    assert folder(facts, replace(options, keep=False)) == first
    assert not first.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param(["benchmark=lfw"], DataError, r"data\.lfw=DIR", id="no LFW"),
        pytest.param(["data.root=null"], DataError, "LIKENESS_DATA", id="no data folder"),
        pytest.param(["judge=absent.onnx"], WeightsError, r"judge: absent\.onnx does not exist", id="no such judge"),
        pytest.param(["weights.lpips=absent.pth"], WeightsError, r"absent\.pth does not exist", id="no such backbone"),
        pytest.param(["benchmark.verification=true"], ConfigError, "benchmark=faces, which has no", id="no pairs"),
        pytest.param(["methods=[pipeline]"], ConfigError, "expected any but pipeline", id="frames for crops"),
        pytest.param(["methods=[input,magic]"], ConfigError, "magic", id="unknown method"),
        pytest.param(
            ["benchmark.name=celeba"],
            ConfigError,
            "expected one of faces, fairness, lfw, lfw_frames, pictures, real, video",
            id="unknown benchmark",
        ),
        pytest.param(["limit=1", "output=taken"], OutputError, "cannot write to taken", id="output is a file"),
    ],
)
def test_wrong_options_are_refused(options: list[str], error: type[LikenessError], message: str, data: Path) -> None:
    Path("taken").write_text("a file")
    with pytest.raises(error, match=message):
        evaluate(_compose("benchmark=faces", "methods=[input]", *options))


def test_command_ends_in_one_line_and_an_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), "methods=[input]", f"data.lfw={tmp_path}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TORCH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == DataError.exit_code
    message = done.stdout + done.stderr
    assert "pairsDevTest.txt" in message
    assert "Traceback" not in message


def test_command_names_folders_of_this_machine_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path / "data"))
    given = ["evaluate.py", f"judge={tmp_path}/data/judge/a.onnx", f"output={tmp_path}/out", f"cache=/x{tmp_path}/c"]
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/{given[0]}", *given[1:], "methods=[a,b]"])
    assert provenance.command() == (
        f"python evaluate.py judge=$LIKENESS_DATA/judge/a.onnx output=./out cache=/x{tmp_path}/c 'methods=[a,b]'"
    )


def test_provenance_states_hash_versions_and_machine(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert provenance.weight_hashes({"x": tmp_path / "abc"}) == {"x": known}
    assert provenance.versions()["torch"] == torch.__version__
    assert provenance.machine("cpu").startswith("cpu: ")
    assert "threads" in provenance.machine("cpu")
