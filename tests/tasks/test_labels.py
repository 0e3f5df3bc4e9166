"""Spreading labels: the probe on features whose answer is known, the files that it writes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from likeness.data.attributes import read_attributes
from likeness.errors import DataError
from likeness.tasks import labels
from likeness.tasks.labels import balanced_accuracy, fit, read_labels, row, standardised, write

NAMES = ("embedder", "expert", "objects", "top")


def made(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of which `top` alone tells who has the attribute, one in five."""
    rng = np.random.default_rng(seed)
    has = rng.random(count) < 0.2
    features = {name: rng.normal(size=(count, 6)).astype(np.float32) for name in NAMES}
    features["top"][:, 2] += 4 * has
    return features, has


def test_the_probe_finds_the_features_that_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "COMBINATIONS", (("embedder",), ("top",), ("objects",)))
    features, has = made(400, 0)
    every = np.ones(400, np.bool_)
    probe = fit("hat", standardised(features, every), has, every, 0)
    assert probe.features == ("top",)
    assert probe.chosen_at > 0.93
    others, held = made(400, 1)
    said = probe.scores(standardised(others, every)) > 0
    assert balanced_accuracy(held, said) > 0.92
    line = row(probe, held, said, int(has.sum()))
    assert f"**{balanced_accuracy(held, said):.3f}**" in line
    assert f"| hat | {has.sum()} | {held.sum()} |" in line


def test_balanced_accuracy_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    has, said = rng.random(200) < 0.1, rng.random(200) < 0.3
    assert balanced_accuracy(has, said) == pytest.approx(balanced_accuracy_score(has, said))


def test_labels_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "by_eye.csv"
    file.write_text("file,split,sample,attributes\na.png,train,drawn,hat\nb.png,val,hats,\n")
    first, second = read_labels(file)
    assert (first.file, first.split, first.drawn, first.attributes) == ("a.png", "train", True, frozenset({"hat"}))
    assert (second.drawn, second.attributes) == (False, frozenset())
    for text, message in (("file,split\na.png,train\n", "expected file, split"), ("", "no faces")):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_labels(file)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, [("b.png", {"hat", "glasses"}), ("a.png", {"child"})], ["| a line |"])
    found = read_attributes(tmp_path / "attributes.csv")
    assert found == {"a.png": frozenset({"child"}), "b.png": frozenset({"hat", "glasses"})}
    text = (tmp_path / "table.md").read_text()
    assert "| a line |" in text
    assert "1 glasses, 1 child, 0 old" in text
    with (tmp_path / "attributes.csv").open() as handle:
        assert [r["file"] for r in csv.DictReader(handle)] == ["a.png", "b.png"]


def test_the_labels_given_by_eye_are_whole() -> None:
    found = read_labels(Path(labels.LabelsOptions().labels))
    assert sum(f.split == "val" for f in found) == 474
    assert sum(f.split == "train" and f.drawn for f in found) == 600
    assert len({f.file for f in found}) == len(found)
