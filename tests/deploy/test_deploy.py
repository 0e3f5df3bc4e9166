"""The files under deploy/: linted by the tools of their kinds, and in step with the package."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def program(name: str) -> str:
    """A program from PyPI beside this Python, or from the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install '.[dev]'")
    return found


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of a kind in the Dockerfile, their continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def copied() -> list[str]:
    """What the Dockerfile copies out of the repository."""
    return [source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run([program("hadolint"), DEPLOY / "Dockerfile"])
    assert done.returncode == 0, done.stdout


def check_compose(file: Path) -> subprocess.CompletedProcess[str]:
    if not find_spec("check_jsonschema"):
        pytest.skip("check-jsonschema is not installed: pip install '.[dev]'")
    return run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file])


def test_the_compose_file_follows_the_schema() -> None:
    done = check_compose(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_the_schema_finds_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    done = check_compose(wrong)
    assert done.returncode == 1
    assert "readonly" in done.stdout


def test_the_build_copies_what_the_wheel_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    metadata = [project["project"]["readme"], *project["project"]["license-files"]]
    needed = {"pyproject.toml", "constraints.txt", "src", *metadata, *wheel["force-include"]}
    assert set(copied()) == needed
    assert all((ROOT / source).exists() for source in needed)


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied())


def test_the_image_runs_as_an_ordinary_user() -> None:
    (user,) = instructions("USER")
    assert int(user) >= 10000  # a number, which Kubernetes can check


def test_no_secret_is_baked_into_the_image() -> None:
    assert not [line for name in ("ARG", "ENV", "COPY", "RUN") for line in instructions(name) if "TOKEN" in line]


def test_the_unit_is_valid(tmp_path: Path) -> None:
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "likeness.service"
    text = (DEPLOY / "likeness.service").read_text()
    unit.write_text(text.replace("/opt/likeness/bin/likeness", sys.executable))  # verify wants an existing program
    done = run([analyze, "verify", unit])
    assert (done.returncode, done.stderr) == (0, "")


def start_commands() -> dict[str, list[str]]:
    """The words after `likeness serve` in each file."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["likeness"]["command"]
    (unit,) = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "likeness.service").read_text(), re.MULTILINE)
    commands = {
        "Dockerfile": json.loads(instructions("CMD")[-1]),
        "compose.yaml": [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in compose],
        "likeness.service": shlex.split(unit)[1:],
    }
    assert all(words[0] == "serve" for words in commands.values())
    return {name: words[1:] for name, words in commands.items()}


@pytest.mark.parametrize(
    ("file", "jobs"),
    [("Dockerfile", "/jobs"), ("compose.yaml", "/jobs"), ("likeness.service", "/var/lib/likeness")],
)
def test_the_server_takes_the_options_and_keeps_its_jobs(file: str, jobs: str) -> None:
    serve = pytest.importorskip("likeness.web.serve", reason="pip install '.[web]'")
    settings, rest = serve.settings_of(start_commands()[file])
    assert (settings.jobs, settings.insecure, rest) == (jobs, False, [])


def test_nginx_allows_uploads_as_large_as_the_server_does() -> None:
    serve = pytest.importorskip("likeness.web.serve", reason="pip install '.[web]'")
    (size,) = re.findall(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text())
    assert int(size) == serve.ServeConfig().upload_mb


def test_the_space_keeps_nothing_and_takes_less_than_a_server() -> None:
    serve = pytest.importorskip("likeness.web.serve", reason="pip install '.[web]'")
    space = runpy.run_path(str(ROOT / "app.py"))
    settings, rest = serve.settings_of(space["OPTIONS"])
    assert (settings.jobs, rest) == ("", [])
    for limit in ("upload_mb", "megapixels", "frames", "seconds", "queue", "ttl"):
        assert getattr(settings, limit) < getattr(serve.ServeConfig(), limit), limit


def test_the_guide_gives_the_defaults() -> None:
    serve = pytest.importorskip("likeness.web.serve", reason="pip install '.[web]'")
    guide = (ROOT / "docs/guides/deploy.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", guide, re.MULTILINE))
    assert "workers" in rows
    assert rows == {name: f"{getattr(serve.ServeConfig(), name):g}" for name in rows}
