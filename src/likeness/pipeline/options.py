"""The options as text, generated from the dataclasses and their docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from likeness.pipeline.config import RestorerConfig

# Left to `--help-all`: bounds that `calibrate` fits, and settings that few people change.
ADVANCED = frozenset(
    {
        "detect.max_side",
        "route.q_low",
        "route.detail_low",
        "route.blockiness_high",
        "route.noise_high",
        "expert.size",
        "expert_t.code_smoothing",
        "expert_t.lookup",
        "expert_t.pool",
        "guard.every_frame",
        "guard.recogniser",
        "background.clips",
        "background.tile",
        "video.cut",
        "video.match",
        "video.ramp",
        "video.hysteresis",
        "video.reduce",
        "video.interpolator",
        "video.reid.distance",
        "video.reid.forget",
        "video.smooth.cutoff",
        "video.smooth.response",
        "video.blend.contrast",
        "weights.calibration",
        "weights.prior",
        "weights.gate",
        "weights.obstructions",
        "weights.lpips",
        "detect.score",
        "route.expert_t_below",
        "route.max_yaw",
        "gate.video_threshold",
        "gate.leave_threshold",
        "composite.grain",
        "composite.protect",
        "repair.inpainter",
        "label",
    }
)


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: with dots, as the user types it.
        default: its default as text.
        text: its description.
        group: first line of the description of its stage; empty for general options.
    """

    key: str
    default: str
    text: str
    group: str


def options() -> Iterator[Option]:
    """All options, in the order of the stages."""
    yield from _walk(RestorerConfig(), "", "")


def option_help(everything: bool = False) -> str:
    """The options grouped by stage; without `everything` only those that most users need."""
    lines, group = [], ""
    for option in options():
        if option.key in ADVANCED and not everything:
            continue
        if option.group != group:
            group = option.group
            lines.append(f"\n{group}")
        head = f"  {option.key}={option.default}"
        text = textwrap.wrap(option.text, 120 - 34)
        if len(head) > 32:
            lines.append(head)
            head = ""
        lines += [f"{start:<34}{line}" for start, line in zip([head, *[""] * len(text)], text, strict=False)]
    return "\n".join(lines).lstrip("\n")


def _walk(config: Any, prefix: str, group: str) -> Iterator[Option]:
    texts = attribute_texts(type(config))
    nested = []
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            nested.append((field.name, value))
        else:
            yield Option(prefix + field.name, _shown(field.default), texts.get(field.name, ""), group)
    for name, value in nested:
        summary = (inspect.getdoc(type(value)) or "").partition("\n")[0].rstrip(".")
        yield from _walk(value, f"{prefix}{name}.", group or f"{name}: {summary}")


def attribute_texts(kind: type) -> dict[str, str]:
    """Descriptions by field name, from the `Attributes:` part of a docstring."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    texts: dict[str, str] = {}
    for match in re.finditer(r"^    (\w[\w, ]*): ((?:.|\n(?=     ))*)", section, re.MULTILINE):
        for name in match[1].split(", "):
            texts[name] = " ".join(match[2].split())
    return texts


def _shown(default: object) -> str:
    if default is None:
        return "null"
    return str(default).lower() if isinstance(default, bool) else str(default)
