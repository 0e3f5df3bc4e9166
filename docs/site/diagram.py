"""Draws the pipeline from the code: the steps that `restore_frame` calls, in its order, and the stages under each."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_args, get_type_hints
from xml.sax.saxutils import escape

from likeness.pipeline import steps
from likeness.pipeline.state import Models

WIDTH, BOX, GAP, LINE = 760, 620, 22, 17
STYLE = """
text { font-family: system-ui, sans-serif; font-size: 13px; fill: #37474f }
.name { font-size: 15px; font-weight: 600; fill: #00695c }
.stage { font-family: ui-monospace, monospace; font-size: 12px; fill: #607d8b }
rect { fill: #f5faf9; stroke: #00897b } .sheet { fill: #ffffff; stroke: none }
.frame { fill: #ffffff; stroke: #90a4ae }
path { stroke: #607d8b; stroke-width: 1.5; fill: none; marker-end: url(#tip) }
"""


@dataclass(frozen=True)
class Step:
    """One call of `restore_frame`.

    Attributes:
        name: of the function.
        text: first sentence of its docstring.
        each: whether it is called for every face, not once a frame.
        stages: modules of `likeness.stages` that it calls, in its order.
    """

    name: str
    text: str
    each: bool
    stages: tuple[str, ...]


def pipeline_steps() -> list[Step]:
    """The steps of the pipeline, read from the source of `restore_frame`."""
    body = _definitions(steps)["restore_frame"].body
    faces = {
        call for node in body for part in ast.walk(node) if isinstance(part, ast.ListComp) for call in _names(part)
    }
    found = []
    for name in dict.fromkeys(name for node in body for name in _names(node)):
        function = inspect.unwrap(getattr(steps, name, _nothing))
        if inspect.isfunction(function) and _is_step(function):
            text = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
            stages = dict.fromkeys(_stages(inspect.getmodule(function), function.__name__, set()))
            found.append(Step(name, text, name in faces, tuple(stages)))
    return found


def diagram() -> str:
    """The pipeline as an SVG picture."""
    y, parts = 16, []
    for index, step in enumerate(pipeline_steps()):
        lines = textwrap.wrap(step.text, 88)
        height = 34 + LINE * (len(lines) + bool(step.stages))
        if index:
            parts.append(f'<path d="M{WIDTH // 2} {y - GAP}V{y - 6}"/>')
        parts.append(f'<rect class="{"" if step.each else "frame"}" x="{(WIDTH - BOX) // 2}" y="{y}" '
                     f'width="{BOX}" height="{height}" rx="6"/>')  # fmt: skip
        left, right, base = (WIDTH - BOX) // 2 + 14, (WIDTH + BOX) // 2 - 14, y + 22
        parts.append(_write(left, base, step.name.replace("_", " "), "name"))
        parts.append(_write(right, base, "every face" if step.each else "once a frame", "", "end"))
        parts += [_write(left, base + LINE * i, line) for i, line in enumerate(lines, 1)]
        if step.stages:
            parts.append(_write(left, base + LINE * (len(lines) + 1), "stages: " + ", ".join(step.stages), "stage"))
        y += height + GAP
    height = y - GAP + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8Z" style="fill:#607d8b;stroke:none;marker-end:none"/></marker></defs>\n'
        f'<rect class="sheet" width="{WIDTH}" height="{height}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _write(x: int, y: int, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _nothing() -> None: ...


def _is_step(function: Callable[..., Any]) -> bool:
    return function.__module__.startswith("likeness.pipeline.") and not function.__name__.startswith("_")


def _definitions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _names(node: ast.AST) -> Iterator[str]:
    """Names of the functions that a piece of code calls and of the models that it uses, in the order of the source."""
    found: list[tuple[int, int, str]] = []
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            found.append((part.lineno, part.col_offset, part.func.id))
        elif isinstance(part, ast.Attribute) and ast.unparse(part.value).split(".")[-1] == "models":
            found.append((part.lineno, part.col_offset, f"models.{part.attr}"))
    yield from (name for *_, name in sorted(found))


def _models() -> dict[str, str]:
    """`models.NAME` to the module of `likeness.stages` that states its contract."""
    homes: dict[str, str] = {}
    for name, kind in get_type_hints(Models).items():
        kinds = [kind, *get_args(kind)]
        modules = [getattr(part, "__module__", "") for part in kinds]
        homes |= {
            f"models.{name}": module.removeprefix("likeness.stages.").removesuffix(".base")
            for module in modules
            if module.startswith("likeness.stages.") and not name.endswith("bounds")
        }
    return homes


MODELS = _models()


def _stages(module: ModuleType | None, function: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Modules of the stages that a function calls, itself or through functions of the pipeline."""
    assert module is not None
    key = (module.__name__, function)
    if key in seen or function not in (known := _definitions(module)):
        return
    seen.add(key)
    for name in _names(known[function]):
        if name in MODELS:
            yield MODELS[name]
            continue
        called = inspect.unwrap(getattr(module, name, _nothing))
        home = getattr(called, "__module__", "") or ""
        if home.startswith("likeness.stages.") and inspect.isfunction(called):
            yield home.removeprefix("likeness.stages.")
        elif home.startswith("likeness.pipeline.") and inspect.isfunction(called):
            yield from _stages(inspect.getmodule(called), called.__name__, seen)
