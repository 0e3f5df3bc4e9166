"""The site: it builds without a warning, asks no other host, and its generated parts and tables are up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
NOTES = [ROOT / "experiments/README.md", *(ROOT / "experiments").glob("*/*.md")]  # evaluation's tables lie one deeper
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *NOTES])
LONGEST = 250  # lines


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not find_spec("mkdocs") or not find_spec("material") or not find_spec("mkdocstrings"):
        pytest.skip("mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it hides warnings from --strict, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Assets(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ASSETS and values.get(ASSETS[tag]) and values.get("rel") != "canonical":
            self.found.append(str(values[ASSETS[tag]]))


def assets_of(page: str) -> list[str]:
    parser = Assets()
    parser.feed(page)
    return parser.found


def test_the_parser_sees_an_outside_asset() -> None:
    assert assets_of('<link rel="stylesheet" href="https://fonts.example/a.css"><a href="https://b.example">b</a>') == [
        "https://fonts.example/a.css"
    ]


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    outside = {str(p.relative_to(site)): [a for a in assets_of(p.read_text()) if "//" in a] for p in pages}
    assert not {page: found for page, found in outside.items() if found}


def test_no_style_sheet_imports_from_another_host(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    assert not [s.name for s in sheets if re.search(r"(@import|url\()\s*[\"']?(https?:)?//", s.read_text())]


def test_lab_notes_and_their_figures_are_part_of_the_site(site: Path) -> None:
    assert (site / "experiments/gate/index.html").is_file()
    assert (site / "experiments/gate/curves.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_is_too_long(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= LONGEST


def test_generated_parts_are_up_to_date() -> None:
    from docs.site.generate import outputs

    found = outputs()
    assert {p.name for p in found} == {"options.md", "presets.md", "results.md", "expert.md", "pipeline.svg"}
    stale = [str(p.relative_to(ROOT)) for p, text in found.items() if p.read_text() != text]
    assert not stale, f"run `python -m docs.site.generate`: {stale}"


def rows_of(markdown: str) -> Iterator[list[str]]:
    """Cells of every table row, emphasis removed."""
    for line in markdown.splitlines():
        if line.startswith("|"):
            yield [cell.strip().strip("*`") for cell in line.strip("|").split(" | ")]


def committed(recipe: str, method: str, title: str) -> str:
    """A cell of the committed Markdown table, without its interval."""
    text = (ROOT / f"experiments/evaluation/lfw-{recipe}/table.md").read_text()
    rows = list(rows_of(text))
    head = rows[0]
    row = next(r for r in rows if r[0] == method)
    return row[head.index(title)].split(" [")[0]


COLUMNS = ("PSNR dB ↑", "LPIPS-squeeze ↓", "judge cosine ↑", "embedder distance ↓")
METHODS = {"input": "input", "Expert-F": "expert_f", "Expert-T": "expert_t", "gate's choice": "gate"}


@pytest.mark.parametrize("recipe", ["mild", "gfpgan", "heavy"])
def test_the_page_of_results_equals_the_committed_tables(recipe: str) -> None:
    part = (ROOT / "docs/evaluation/results.md").read_text().split("generated: lfw")[1].split("<!-- end")[0]
    rows = list(rows_of(part))
    first = next(i for i, row in enumerate(rows) if row[0] == recipe)
    shown = {row[1]: row[2:] for row in rows[first : first + len(METHODS)]}
    assert shown.keys() == METHODS.keys()
    for name, cells in shown.items():
        truth = [float(committed(recipe, METHODS[name], column)) for column in COLUMNS]
        assert [float(c) for c in cells] == pytest.approx(truth, abs=0.00051), name


@pytest.mark.parametrize(
    ("label", "recipe", "method"),
    [("moderate degradation, input", "gfpgan", "input"), ("heavy degradation, input", "heavy", "input")],
)
def test_the_readme_equals_the_committed_tables(label: str, recipe: str, method: str) -> None:
    rows = list(rows_of((ROOT / "README.md").read_text()))
    at = next(i for i, row in enumerate(rows) if row[0] == label)
    for row, name in ((rows[at], method), (rows[at + 1], "expert_t")):
        truth = [float(committed(recipe, name, column)) for column in COLUMNS[:3]]
        assert [float(c.strip("*")) for c in row[1:4]] == pytest.approx(truth, abs=0.00051), row


@pytest.mark.parametrize("recipe", ["mild", "gfpgan", "heavy"])
def test_the_accuracies_equal_the_committed_tables(recipe: str) -> None:
    judge = (ROOT / f"experiments/evaluation/lfw-{recipe}/verification.md").read_text().split("## judge")[1]
    truth = {row[1]: row[2].split(" ± ")[0] for row in rows_of(judge.split("\n## ")[0]) if " ± " in row[2]}
    part = (ROOT / "docs/evaluation/results.md").read_text().split("generated: verification")[1].split("<!-- end")[0]
    head, _, *rows = rows_of(part)
    shown = {row[0]: row[head.index(recipe)] for row in rows}
    names = {"clean pictures": "clean pictures", "degraded": "input", "Expert-F": "expert_f", "Expert-T": "expert_t"}
    assert shown.keys() == names.keys()
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(
        {name: float(truth[row]) for name, row in names.items()}, abs=0.0051
    )


@pytest.mark.parametrize("recipe", ["gfpgan", "heavy"])
def test_the_whole_pictures_equal_the_committed_tables(recipe: str) -> None:
    sections = (ROOT / f"experiments/evaluation/pictures-{recipe}/table.md").read_text().split("\n## ")
    part = (ROOT / "docs/evaluation/results.md").read_text().split("generated: pictures")[1].split("<!-- end")[0]
    rows = list(rows_of(part))
    first = next(i for i, row in enumerate(rows) if row[0] == f"LFW frames, `{recipe}")
    for row, method in zip(rows[first : first + 4], ("lanczos", "face", "head", "auto"), strict=True):
        truth = []
        for region in ("picture", "head"):
            section = next(s for s in sections if s.startswith(f"lfw, {recipe}, {region}"))
            cells = next(cells for cells in rows_of(section) if cells[0] == method)
            truth += [float(cells[i].split(" ")[0]) for i in (1, 3)]
        assert [float(c) for c in row[2:]] == pytest.approx(truth, abs=0.0006), method
