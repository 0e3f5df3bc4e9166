"""Figures per image by run; an evaluation keeps them in parts and joins these at its end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from likeness.evaluation.benchmarks.base import View

TRUTH = "truth"  # the ground truth's row, for figures that need no comparison

Values = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]
Places = npt.NDArray[np.intp]


class Run(NamedTuple):
    """One method on one recipe, measured at one size."""

    recipe: str
    method: str
    size: int


@dataclass
class Scores:
    """Figures per image; nan where an image has no truth of that size or no face was found.

    Attributes:
        names: of the images.
        groups: of the images, (N,).
        sizes: size to (N,) bool, whether there is a truth of that size.
        values: run to metric to (N,).
        vectors: by name (`power`: spectra; `embedding`, `judged`: of the two recognisers; `landmarks`), run to
            (N, ...), for figures of whole sets; the truth's under recipe "" and method "truth".
        seconds: (recipe, method) to seconds spent in the method.
        inputs: recipe to (N,) SHA-256 of each degraded picture.
        profiles: recipe to (N, 6), the router's measurements, in the order of `types.Profile`.
    """

    names: Sequence[str]
    groups: Strings
    sizes: dict[int, npt.NDArray[np.bool_]]
    values: dict[Run, dict[str, Values]] = field(default_factory=dict)
    vectors: dict[str, dict[Run, Values]] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    inputs: dict[str, Strings] = field(default_factory=dict)
    profiles: dict[str, Values] = field(default_factory=dict)

    def select(self, view: View) -> npt.NDArray[np.bool_]:
        """(N,) the images of a view."""
        chosen = self.sizes[view.size]
        return chosen if view.group is None else chosen & (self.groups == view.group)

    def put(self, run: Run, at: Places, values: Mapping[str, Values], vectors: Mapping[str, Values]) -> None:
        """Enters the figures of the images at positions `at`."""
        table = self.values.setdefault(run, {}) if values else {}
        for metric, figures in values.items():
            table.setdefault(metric, np.full(len(self.names), np.nan))[at] = figures
        for name, rows in vectors.items():
            store = self.vectors.setdefault(name, {})
            store.setdefault(run, np.full((len(self.names), *rows.shape[1:]), np.nan))[at] = rows

    def input_hash(self, recipe: str) -> str:
        """SHA-256 over all degraded pictures of a recipe, in order."""
        return hashlib.sha256("".join(self.inputs[recipe]).encode()).hexdigest()


def join(parts: Sequence[Scores]) -> Scores:
    """The scores of all parts' images, in order."""
    names = [name for part in parts for name in part.names]
    sizes = {size: np.concatenate([p.sizes[size] for p in parts]) for size in parts[0].sizes}
    whole = Scores(names, np.concatenate([p.groups for p in parts]), sizes)
    start = 0
    for part in parts:
        at = np.arange(start, start := start + len(part.names))
        for run, values in part.values.items():
            whole.put(run, at, values, {})
        for name, runs in part.vectors.items():
            for run, rows in runs.items():
                whole.put(run, at, {}, {name: rows})
        for key, seconds in part.seconds.items():
            whole.seconds[key] = whole.seconds.get(key, 0.0) + seconds
    for recipe in parts[0].inputs:
        whole.inputs[recipe] = np.concatenate([p.inputs[recipe] for p in parts])
        whole.profiles[recipe] = np.concatenate([p.profiles[recipe] for p in parts])
    return whole


def save(scores: Scores, file: Path) -> None:
    """Writes scores as .npz; the file appears when it is complete."""
    arrays: dict[str, npt.NDArray[np.generic]] = {"names": np.array(scores.names), "groups": scores.groups}
    arrays |= {_key("size", size): mask for size, mask in scores.sizes.items()}
    arrays |= {_key("value", *run, m): v for run, table in scores.values.items() for m, v in table.items()}
    arrays |= {_key("vector", n, *run): v for n, runs in scores.vectors.items() for run, v in runs.items()}
    arrays |= {_key("seconds", *key): np.array(s) for key, s in scores.seconds.items()}
    arrays |= {_key("input", recipe): v for recipe, v in scores.inputs.items()}
    arrays |= {_key("profile", recipe): v for recipe, v in scores.profiles.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    partial.replace(file)


def load(file: Path) -> Scores:
    """Reads what `save` wrote."""
    with np.load(file) as arrays:
        scores = Scores(arrays["names"].tolist(), arrays["groups"], {})
        for key in arrays.files:
            kind, *words = key.split("|")
            if kind == "size":
                scores.sizes[int(words[0])] = arrays[key]
            elif kind == "value":
                run = Run(words[0], words[1], int(words[2]))
                scores.values.setdefault(run, {})[words[3]] = arrays[key]
            elif kind == "vector":
                run = Run(words[1], words[2], int(words[3]))
                scores.vectors.setdefault(words[0], {})[run] = arrays[key]
            elif kind == "seconds":
                scores.seconds[words[0], words[1]] = float(arrays[key])
            elif kind == "input":
                scores.inputs[words[0]] = arrays[key]
            elif kind == "profile":
                scores.profiles[words[0]] = arrays[key]
    return scores


def _key(*words: str | int) -> str:
    return "|".join(map(str, words))
