"""A result's Markdown: what was found, and below it what it came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from likeness.errors import OutputError
from likeness.evaluation.provenance import commit, versions, write_markdown


def test_a_result_stands_above_what_it_came_from(tmp_path: Path) -> None:
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


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*table\.md"):
        write_markdown(tmp_path / "file" / "table.md", "A title", [])
