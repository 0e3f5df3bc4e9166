"""The provenance of a table: command, commit, data, weights, versions, machine."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import likeness
from likeness.errors import OutputError
from likeness.evaluation.config import EvaluateConfig
from likeness.ops import geometry
from likeness.paths import data_folder
from likeness.weights.files import file_hash

_PACKAGES = ("torch", "numpy", "opencv-python", "piq", "lpips", "onnxruntime", "facenet-pytorch", "pillow")
_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # they decide the speed of a CPU here


def command() -> str:
    """The command line; folders that only exist on this machine are named by their variable."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None and spec.name.startswith("likeness.") else None
    script = Path(sys.argv[0]).absolute()
    within = script.is_relative_to(Path.cwd())
    program = ["-m", module] if module else [str(script.relative_to(Path.cwd())) if within else script.name]
    line = shlex.join(["python", *program, *sys.argv[1:]])
    folders = {"$LIKENESS_DATA": str(data_folder() or ""), ".": str(Path.cwd()), "~": str(Path.home())}
    for name, folder in folders.items():
        if folder and folder != "/":
            # Only where a path begins: /data must not be found inside /other/data.
            line = re.sub(rf"(?<![\w./-]){re.escape(folder.rstrip('/'))}/", f"{name}/", line)
    return line


def commit() -> str:
    """The commit of the source tree, with "+changes" where tracked sources differ; "unknown" outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        except OSError:
            return None  # git is not installed
        return done.stdout.strip() if done.returncode == 0 else None

    # An installed package may lie inside somebody else's repository: only a tracked file counts.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None or (head := git("rev-parse", "HEAD")) is None:
        return "unknown"
    sources = (":/src", ":/configs", ":(top,glob)experiments/**/*.py")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *sources)
    return f"{head}+changes" if changed else head


def describe(
    options: EvaluateConfig,
    about: Mapping[str, Any],
    data_hash: str,
    hashes: Mapping[str, str],
    notes: Sequence[str],
    recipes: Sequence[str],
) -> dict[str, Any]:
    """The provenance of an evaluation's tables, without anything that changes when the command is repeated.

    Args:
        options: of the evaluation.
        about: the benchmark's name and facts of its data.
        data_hash: SHA-256 over that data.
        hashes: SHA-256 of every weight file.
        notes: what is not measured.
        recipes: how the data is degraded.
    """
    judged = "not measured" if "judge" not in hashes else "flip-sum" if options.judge_flip else "one view"
    return {
        "command": command(),
        "commit": commit(),
        "benchmark": dict(about),
        "data sha256": data_hash,
        "recipes": list(recipes),
        "seed": options.seed,
        "resolution": "input 256; measured after rounding to 8 bits; 512 to 256 by 2 x 2 mean; identity at 256",
        "template at 512": geometry.TEMPLATE_512.tolist(),
        "judge": judged,
        "not measured": list(notes),
        "weights sha256": dict(hashes),
        "versions": versions(),
        "device": machine(options.device),
    }


def write_markdown(target: Path, title: str, lines: Sequence[str], facts: Mapping[str, Any] | None = None) -> None:
    """Writes a result under its title, with command, commit, versions and further `facts` as JSON below it.

    Raises:
        OutputError: if the file cannot be written.
    """
    known = {"command": command(), "commit": commit(), **(facts or {}), "versions": versions()}
    text = [f"# {title}", "", *lines, "", "```json", json.dumps(known, indent=1), "```", ""]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(text))
    except OSError as error:
        raise OutputError(f"dst: cannot write {target} ({error.strerror}); choose another dst") from error


def versions() -> dict[str, str]:
    """Python, Likeness and the packages that decide figures."""
    installed = {"python": platform.python_version(), "likeness": likeness.__version__}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def machine(device: str) -> str:
    """Device, its model, and for a CPU the instruction sets that decide its speed, with torch's threads."""
    if torch.device(device).type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(torch.device(device))}"
    facts: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name") or platform.processor() or platform.machine()
    flags = [f for f in _FLAGS if f in facts.get("flags", "").split()]
    return f"{device}: {model} ({', '.join(flags) or 'flags unknown'}), {torch.get_num_threads()} threads"


def weight_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each weight file, by what it is for."""
    return {name: file_hash(file) for name, file in files.items()}
