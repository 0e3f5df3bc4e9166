"""The wheel carries configs and weights, and restores a picture from where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# Hides every package that the wheel's own requirements, without extras, do not bring.
CORE_ONLY = """
import importlib.metadata as metadata, re, sys
from packaging.requirements import Requirement

def name_of(text):
    return re.sub("[-_.]+", "-", text).lower()

core, waiting = set(), ["likeness"]
while waiting:
    name = name_of(waiting.pop())
    if name in core:
        continue
    core.add(name)
    try:
        needed = map(Requirement, metadata.requires(name) or [])
    except metadata.PackageNotFoundError:
        continue  # for another system or Python
    waiting += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
owners = {m: {name_of(d) for d in ds} for m, ds in metadata.packages_distributions().items()}
hidden = {module for module, names in owners.items() if not names & core}
assert {"lightning", "hydra", "wandb"} <= hidden, hidden
finder = next(f for f in sys.meta_path if getattr(f, "__name__", "") == "PathFinder")

class Core:
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(finder, name)

sys.meta_path[sys.meta_path.index(finder)] = Core()
import likeness
print(likeness.__file__)
from likeness.cli import main
code = main(sys.argv[1:])
assert not hidden & set(sys.modules), hidden & set(sys.modules)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (file,) = folder.glob("likeness-*.whl")
    return file


def test_the_wheel_holds_configs_and_weights(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "likeness/_assets/configs/infer.yaml",
        "likeness/_assets/configs/train.yaml",
        "likeness/_assets/weights/expert_f.safetensors",
        "likeness/_assets/weights/calibration.json",
    } <= names
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert f"likeness/_assets/configs/{file.relative_to(ROOT / 'configs').as_posix()}" in names
    assert not [n for n in names if n.startswith(("tests/", "experiments/"))]


def test_the_wheel_restores_a_picture_with_its_core_packages_alone(wheel, python, portrait_file, tmp_path):
    target, away = tmp_path / "installed", tmp_path / "away"
    away.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", target, wheel],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    source = portrait_file("in/face.png")
    done = python(["-c", CORE_ONLY, "restore", source, f"output={tmp_path / 'out'}", "device=cpu"], away, source=target)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).is_relative_to(target)
    assert done.stdout.splitlines()[-1].strip() == "1 face: 1 restored"
    report = json.loads((tmp_path / "out" / "face" / "face_report.json").read_text())
    assert report["weights"]["expert_f"]
    assert list(away.iterdir()) == []
