"""Every command of README, CONTRIBUTING and docs is known to its parser; README's restorations and Python run."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from likeness import cli
from likeness.pipeline import models, restorer
from likeness.pipeline.config import from_overrides
from tests.docs.commands import ROOT, Command, commands, fault, pages

COMMANDS = [c for page in pages() for c in commands(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))]
README = (ROOT / "README.md").read_text("utf-8")
RESTORED = sorted(
    {shlex.join(c.words[1:]) for c in commands("README.md", README) if c.words[:2] == ("likeness", "restore")}
)
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_known_to_its_parser(command: Command) -> None:
    assert fault(command) is None


def test_all_kinds_of_commands_are_found() -> None:
    text = {shlex.join(c.words) for c in COMMANDS}
    assert {"make demo", "likeness restore photo.jpg"} <= text
    for start in ("python train.py", "python evaluate.py", "python infer.py", "python -m likeness.tasks.prepare"):
        assert any(line.startswith(start) for line in text), start


def test_blocks_are_split_as_a_shell_splits_them() -> None:
    text = "```bash\nA=1 likeness demo && make test  # both\n$ likeness restore 'a b.jpg' \\\n    upscale=2\n```\n"
    assert [c.words for c in commands("x.md", text)] == [
        ("likeness", "demo"),
        ("make", "test"),
        ("likeness", "restore", "a b.jpg", "upscale=2"),
    ]
    assert not list(commands("x.md", "```python\nlikeness demo\n```"))


WRONG = {
    "an unknown option": "likeness restore photo.jpg upscal=2",
    "a wrong value": "likeness restore photo.jpg upscale=3",
    "an unknown background": "likeness restore photo.jpg background=waifu",
    "an unknown preset": "likeness restore clip.mp4 preset=fast",
    "an unknown command": "likeness restor photo.jpg",
    "an unknown option of the demo": "likeness demo stength=1",
    "an unknown option of a command": "likeness gif sorce=clips dst=gifs",
    "a missing option of a command": "likeness gif dst=gifs",
    "an unknown option of infer.py": "python infer.py input=photo.jpg presett=speed",
    "a wrong value of infer.py": "python infer.py input=photo.jpg strength=2",
    "an unknown experiment": "python train.py experiment=expert_x",
    "an unknown option of train.py": "torchrun --nnodes=2 train.py experiment=expert_f bach_size=2",
    "an unknown benchmark": "python evaluate.py benchmark=lwf",
    "an unknown recipe": "python evaluate.py benchmark=lfw recipe=blurry",
    "an unknown method": "python evaluate.py benchmark=lfw methods=[input,expert_g]",
    "an unknown task": "python -m likeness.tasks.prepair src=a dst=b",
    "an unknown option of a task": "python -m likeness.tasks.prepare src=a dst=b siz=512",
    "an unknown option of an experiment": "python experiments/blind/blind.py a=x b=y imputs=z",
    "a missing example": "python examples/own_exprt.py photo.jpg results",
    "a missing target": "make tset",
    "a missing extra": ".venv/bin/python -m pip install '.[evl]'",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_is_found(name: str) -> None:
    assert fault(Command("x.md", tuple(shlex.split(WRONG[name]))))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that README's commands name: photo.jpg, clip.mp4 and folder."""
    monkeypatch.chdir(tmp_path)
    picture = np.ascontiguousarray(astronaut()[20:180, 140:300])
    (tmp_path / "folder").mkdir()
    for name in ("photo.jpg", "folder/a.png"):
        Image.fromarray(picture).save(tmp_path / name)
    with av.open("clip.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for _ in range(2):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(stream.encode(None))
    return tmp_path


@pytest.fixture(scope="module")
def loaded() -> models.Models:
    return models.load_models(from_overrides(["device=cpu", "background.name=lanczos"]))


@pytest.mark.parametrize("line", RESTORED)
def test_a_restoration_of_the_readme_runs(line: str, desk: Path, loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer, "load_models", lambda config: loaded)
    assert cli.main(shlex.split(line)) == 0
    reports = list(desk.glob("*/**/*_report.json"))
    assert reports, "no report was written"
    assert all('"restored": 1' in report.read_text() for report in reports), "the face was not restored"


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_the_python_of_the_readme_runs(code: str, desk: Path, loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer, "load_models", lambda config: loaded)
    names = {"array": np.asarray(Image.open("photo.jpg"))}
    exec(code, names)
    assert names["result"].pixels.shape == (320, 320, 3)
    assert len(names["result"].faces) == 1
