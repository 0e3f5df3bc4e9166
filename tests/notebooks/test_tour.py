"""The notebooks run from top to bottom, and their figures are no empty promises."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda f: f.stem)
def test_a_notebook_runs_without_data(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKENESS_DATA", raising=False)
    source = str(NOTEBOOKS.parent / "src")
    monkeypatch.setenv("PYTHONPATH", source)
    book = nbformat.read(file, as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3").execute()
    cells = [c for c in book.cells if c.cell_type == "code"]
    said = "".join(o.get("text", "") for c in cells for o in c.outputs)
    pictures = sum("image/png" in o.get("data", {}) for c in cells for o in c.outputs)
    assert pictures > 10
    for route in ("skip", "expert_f"):  # the gate sends this good portrait to Expert-F at every restorable size
        assert f": {route} (" in said, said
    assert "mask head: background by waifu2x (a poor picture" in said, said


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda f: f.stem)
def test_no_output_is_committed(file: Path) -> None:
    book = nbformat.read(file, as_version=4)
    assert [c for c in book.cells if c.cell_type == "code" and (c.outputs or c.execution_count)] == []
