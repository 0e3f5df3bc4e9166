"""Where a table comes from: command, commit, data, weights, versions, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
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
from likeness.weights.files import file_hash

_PACKAGES = ("torch", "numpy", "opencv-python", "piq", "lpips", "onnxruntime", "facenet-pytorch", "pillow")
_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # what decides how fast a CPU is here


def command() -> str:
    """The command line, with folders that only exist on this machine named by their variable."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec is not None and spec.name.startswith("likeness.") else None
    program = ["-m", module] if module else [Path(sys.argv[0]).name]
    line = shlex.join(["python", *program, *sys.argv[1:]])
    folders = {"$LIKENESS_DATA": os.environ.get("LIKENESS_DATA"), ".": str(Path.cwd()), "~": str(Path.home())}
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
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/src", ":/configs")
    return f"{head}+changes" if changed else head


def source_hash() -> str:
    """SHA-256 over the package's own sources: whether two runs had the same code, committed or not."""
    digest = hashlib.sha256()
    root = Path(likeness.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


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
    found = {"python": platform.python_version(), "likeness": likeness.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


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
