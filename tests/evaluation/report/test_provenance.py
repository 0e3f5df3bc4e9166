"""A result's Markdown: the result, and its provenance below."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from likeness.errors import OutputError
from likeness.evaluation.report.provenance import commit, versions, write_markdown


def test_markdown_states_result_then_provenance(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.md"
    write_markdown(target, "A title", ["| a |", "|---|"], {"faces": 3})
    text = target.read_text()
    head, _, rest = text.partition("```json\n")
    assert head == "# A title\n\n| a |\n|---|\n\n"
    facts = json.loads(rest.removesuffix("```\n"))
    assert facts["faces"] == 3
    assert facts["commit"] == commit()
    assert facts["versions"] == versions()
    assert list(facts) == ["command", "commit", "faces", "versions"]


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*table\.md"):
        write_markdown(tmp_path / "file" / "table.md", "A title", [])
