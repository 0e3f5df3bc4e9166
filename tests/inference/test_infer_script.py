"""infer.py as a process; its refusals within the tests' own."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_infer_takes_any_name_and_hydras_options(python, portrait_file, tmp_path):
    source = portrait_file("in/a=b, [c] ü.png")
    before = source.read_bytes()
    done = python(
        [ROOT / "infer.py", f"input={source}", f"output={tmp_path / 'o, 1'}", "upscale=1", "composite.method=feather"],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "1 face: 1 restored"
    folder = tmp_path / "o, 1" / source.stem
    report = json.loads((folder / f"{source.stem}_report.json").read_text())
    assert report["settings"]["composite"]["method"] == "feather"
    assert (folder / source.name).is_file()
    assert source.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"in", "o, 1"}  # Hydra leaves nothing behind


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the script with these words in an empty folder; returns its exit code."""

    def run(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(ROOT / "infer.py"), *words])
        with pytest.raises(SystemExit) as leaving:
            runpy.run_path(str(ROOT / "infer.py"), run_name="__main__")
        return leaving.value.code

    return run


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["input=none.png"], 2, "no such file"),
        (["input=none.png", "upscale=3"], 4, "upscale"),
        (["input="], 4, "empty"),
    ],
)
def test_a_wrong_option_is_one_line_and_an_exit_code(command, capsys, words, code, message):
    assert command(*words) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_misspelt_key_is_refused(command, capsys):
    assert command("input=none.png", "upscle=2") == 1
    message = capsys.readouterr().err
    assert "upscle" in message
    assert "Traceback" not in message


@pytest.mark.slow
def test_infer_without_input_runs_the_demo_and_says_so(python, tmp_path):
    done = python([ROOT / "infer.py", f"output={tmp_path / 'o'}", "device=cpu"], tmp_path, seconds=600)
    assert done.returncode == 0, done.stderr
    assert "no input= given: running the demo" in done.stdout
    assert (tmp_path / "o" / "demo" / "photo" / "photo.png").is_file()
    assert (tmp_path / "o" / "demo" / "clip" / "clip.mp4").is_file()
