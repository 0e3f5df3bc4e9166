"""All scripts under experiments/: they run, state their command, and name missing data."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from likeness.errors import DataError

ROOT = Path(__file__).parents[2]
SCRIPTS = {path.stem: path.relative_to(ROOT) for path in sorted(ROOT.glob("experiments/*/*.py"))}
READS_FACES = {  # options that are needed before the faces are read
    "compare_checkpoints": ["runs.a=a.ckpt", "runs.b=b.ckpt"],
    "confidence": [],
    "exposure": [],
    "figures": [],
    "filling": [],
    "gate_curves": [],
    "loss_gradients": [],
    "marking": [],
    "good_pictures": [],
    "no_harm": [],
    "noise_levels": [],
    "polygons": [],
    "prior_codes": [],
    "protecting": [],
    "token_probe": [],
}


def load(name: str) -> Any:
    return importlib.import_module(".".join(SCRIPTS[name].with_suffix("").parts))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_states_the_command_and_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        load(name).main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert f"`python {SCRIPTS[name]}" in text
    assert "Options are given as KEY=VALUE." in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_name_shadows_no_module(name: str) -> None:
    """A script's folder comes first on its path, so its name must not be that of a module."""
    assert importlib.util.find_spec(name) is None


@pytest.mark.parametrize("name", READS_FACES)
def test_missing_faces_end_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    assert load(name).main(READS_FACES[name]) == DataError.exit_code
    message = capsys.readouterr().err
    assert message.startswith("error: no faces; give root=DIR")
    assert message.count("\n") == 1


def test_script_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS["compare_methods"]), "base=expert_f"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == DataError.exit_code
    assert done.stderr.startswith("error: images: got none")
