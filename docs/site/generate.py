"""Writes what the documentation takes from the code and from committed tables: `python -m docs.site.generate`.

A page marks such a part by `<!-- generated: NAME -->` and `<!-- end -->`. A test fails where a part is out of date.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from pathlib import Path

from omegaconf import OmegaConf

from docs.site.diagram import diagram
from likeness.pipeline.options import options
from likeness.pipeline.presets import read_preset

ROOT = Path(__file__).parents[2]
PART = re.compile(r"(?<=<!-- generated: )(?P<name>\S+)(?P<head> -->\n).*?(?=<!-- end -->)", re.DOTALL)
PRESETS = ("speed", "balanced", "quality")

RECIPES = {"mild": "`mild`", "gfpgan": "`gfpgan`", "heavy": "`heavy`"}
ROWS = {"input": "input", "expert_f": "Expert-F", "expert_t": "Expert-T", "gate": "gate's choice"}
PAIRS = {"clean pictures": "clean pictures", "input": "degraded", "expert_f": "Expert-F", "expert_t": "Expert-T"}
SOURCES = {"lfw": "LFW frames", "clips": "frames of clips, enlarged twice"}
PICTURES = {"lanczos": "Lanczos", "face": "face mask", "head": "head mask", "auto": "head mask, background"}
FIGURES = {"psnr": ("PSNR dB ↑", 2), "lpips": ("LPIPS ↓", 3), "judge": ("identity ↑", 3), "distance": ("distance ↓", 3)}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def options_part() -> str:
    """Every option of a restoration, stage by stage."""
    parts = []
    for group, members in groupby(options(), key=lambda option: option.group):
        stage, _, about = group.partition(": ")
        title = f"\n## {stage}\n\n{about}.\n\n" if group else "\n## General\n\n"
        rows = ([f"`{o.key}`", f"`{o.default}`" if o.default else "empty", o.text] for o in members)
        parts.append(title + table(["option", "default", "meaning"], rows))
    return "".join(parts).lstrip("\n")


def presets_part() -> str:
    """The options in which the presets differ."""
    chosen = {name: _flat(OmegaConf.to_container(read_preset(name))) for name in PRESETS}
    rows = [
        [f"`{o.key}`", *(f"`{_text(chosen[name].get(o.key, o.default))}`" for name in PRESETS)]
        for o in options()
        if o.key != "preset" and any(o.key in values for values in chosen.values())
    ]
    return table(["option", *(f"`{name}`" for name in PRESETS)], rows)


def _flat(node: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(node, Mapping):
        return {prefix.rstrip("."): node}
    return {key: value for name, child in node.items() for key, value in _flat(child, f"{prefix}{name}.").items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_table(recipe: str, name: str, benchmark: str = "lfw") -> list[dict[str, str]]:
    """Rows of a committed table, below its provenance."""
    text = (ROOT / f"experiments/evaluation/{benchmark}-{recipe}/{name}.csv").read_text()
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def lfw_part() -> str:
    """Means over 1000 LFW faces, for each recipe and method."""
    lines = []
    for recipe, shown in RECIPES.items():
        values = {(row["method"], row["metric"]): Decimal(row["value"]) for row in read_table(recipe, "table")}
        for method, name in ROWS.items():
            cells = [_rounded(values[method, metric], digits) for metric, (_, digits) in FIGURES.items()]
            lines.append([shown if method == "input" else "", name, *cells])
    return table(["recipe", "method", *(title for title, _ in FIGURES.values())], lines)


def pictures_part() -> str:
    """Means over whole pictures and over the aligned heads in them, for each mask and background."""
    columns = [("picture", "psnr", 2), ("picture", "lpips", 3), ("head", "psnr", 2), ("head", "lpips", 3)]
    lines = []
    for source, shown in SOURCES.items():
        for recipe in ("gfpgan", "heavy"):
            rows = [row for row in read_table(recipe, "table", "pictures") if row["source"] == source]
            values = {(row["method"], row["region"], row["figure"]): Decimal(row["value"]) for row in rows}
            for method, name in PICTURES.items():
                cells = [_rounded(values[method, region, figure], digits) for region, figure, digits in columns]
                lines.append([f"{shown}, {RECIPES[recipe]}" if method == "lanczos" else "", name, *cells])
    return table(["pictures", "method", "PSNR dB ↑", "LPIPS ↓", "PSNR dB of the head ↑", "LPIPS of the head ↓"], lines)


def verification_part() -> str:
    """Accuracy of the independent recogniser on pairs of LFW, in percent."""
    judged = {
        (row["method"], recipe): f"{100 * float(row['accuracy']):.2f}"
        for recipe in RECIPES
        for row in read_table(recipe, "verification")
        if row["recogniser"].startswith("judge")
    }
    rows = ([shown, *(judged[name, recipe] for recipe in RECIPES)] for name, shown in PAIRS.items())
    return table(["", *RECIPES.values()], rows)


def own_expert_part() -> str:
    """The example of an expert, as it stands in the repository."""
    return f"```python\n{(ROOT / 'examples/own_expert.py').read_text()}```\n"


def _rounded(value: Decimal, digits: int) -> str:
    return str(value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


PARTS: Mapping[str, Callable[[], str]] = {
    "options": options_part,
    "presets": presets_part,
    "lfw": lfw_part,
    "pictures": pictures_part,
    "verification": verification_part,
    "own_expert": own_expert_part,
}


def renewed(page: str) -> str:
    """The page with its generated parts as they ought to be."""
    return PART.sub(lambda m: f"{m['name']}{m['head']}\n{PARTS[m['name']]()}\n", page)


def outputs() -> dict[Path, str]:
    """Every file with a generated part, as it ought to be."""
    pages = {page: page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))}
    found = {page: renewed(text) for page, text in pages.items() if PART.search(text)}
    return found | {ROOT / "docs/concepts/pipeline.svg": diagram()}


if __name__ == "__main__":
    for file, text in outputs().items():
        file.write_text(text)
