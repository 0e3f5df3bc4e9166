"""Spreading labels: what is read, what the probes learn from, the files that are written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torchvision.models import squeezenet1_1

from experiments.labels import spread_labels as labels
from experiments.labels.spread_labels import Probe, read_labels, row, write
from likeness.data.attributes import ATTRIBUTES, read_attributes
from likeness.data.faces import FaceRecord
from likeness.errors import DataError
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.nets.face_embedder import load_embedder


def test_a_row_states_how_the_probe_does() -> None:
    rng = np.random.default_rng(0)
    has, said = rng.random(300) < 0.2, rng.random(300) < 0.3
    line = row("hat", Probe(("top",), 3.0, np.zeros(2), 0.0, 0.912), has, said, 77)
    assert line.startswith(f"| hat | 77 | {has.sum()} | **{balanced_accuracy_score(has, said):.3f}** [")
    assert line.endswith("| 0.912 | top, 3 |")


def test_features_are_made_of_faces_at_their_own_size() -> None:
    faces = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    expert = ExpertF(ExpertFConfig(widths=(8, 16, 24), skips=(8, 8), fourier=8)).eval()
    with torch.inference_mode():
        found = labels._features(faces, expert, load_embedder(), squeezenet1_1().eval().features)
    shapes = {name: tuple(values.shape) for name, values in found.items()}
    assert shapes == {
        "embedder": (2, 128),
        "expert": (2, 16, 8, 8),
        "objects": (2, 512, 4, 4),
        "top": (2, 512, 2, 3),
    }


def test_a_face_judged_for_hats_alone_is_no_example_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    count, held, unsure = 360, 60, 120  # the last of `train` were judged for hats alone
    worn, glasses = rng.random(count) < 0.3, rng.random(count) < 0.3
    values = rng.normal(size=(count, len(ATTRIBUTES) + 4)).astype(np.float32)
    values[:, 0] += 8 * worn
    values[:, 1] += 8 * glasses
    splits = ["train"] * (count - held) + ["val"] * held
    records = [FaceRecord(f"{i:03}.png", "a", "real", "", 256, 256, s) for i, s in enumerate(splits)]
    lines = ["file,split,sample,attributes,judged"]
    for i, record in enumerate(records):
        alone = count - held - unsure <= i < count - held
        told = [name for name, has in (("hat", worn[i]), ("glasses", glasses[i] and not alone)) if has]
        told += [] if alone else [a for a in ATTRIBUTES if a not in ("hat", "glasses") and rng.random() < 0.3]
        sample, judged = ("near", "hat") if alone else ("drawn", "")
        lines.append(f"{record.file},{record.split},{sample},{' '.join(told)},{judged}")
    (tmp_path / "by_eye.csv").write_text("\n".join(lines))
    monkeypatch.setattr(labels, "read_manifest", lambda root: records)
    monkeypatch.setattr(labels, "features_of", lambda root, faces: {"top": values})
    monkeypatch.setattr(labels, "COMBINATIONS", (("top",),))
    labels.run(labels.LabelsOptions(str(tmp_path), str(tmp_path / "by_eye.csv"), str(tmp_path)))
    table = (tmp_path / "table.md").read_text()
    assert f"| hat | {worn[: count - held].sum()} |" in table
    assert f"| glasses | {glasses[: count - held - unsure].sum()} |" in table
    found = read_attributes(tmp_path / "attributes.csv")
    alone = range(count - held - unsure, count - held)
    said = np.array(["glasses" in found.get(f"{i:03}.png", ()) for i in alone])
    assert (said == glasses[list(alone)]).mean() > 0.95
    assert [i for i in alone if "hat" in found.get(f"{i:03}.png", ())] == [i for i in alone if worn[i]]


def test_labels_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "by_eye.csv"
    file.write_text("file,split,sample,attributes\na.png,train,drawn,hat\nb.png,val,hats,\n")
    first, second = read_labels(file)
    assert (first.file, first.split, first.drawn, first.attributes) == ("a.png", "train", True, frozenset({"hat"}))
    assert (second.drawn, second.attributes) == (False, frozenset())
    assert first.judged == second.judged == frozenset(ATTRIBUTES)
    file.write_text("file,split,sample,attributes,judged\na.png,train,near,,hat\nb.png,train,drawn,child,\n")
    assert [face.judged for face in read_labels(file)] == [frozenset({"hat"}), frozenset(ATTRIBUTES)]
    unjudged = "file,split,sample,attributes,judged\na.png,train,near,child,hat\n"
    for text, message in (
        ("file,split\na.png,train\n", "expected file, split"),
        ("", "no faces"),
        (unjudged, "a.png an attribute that it was not judged for"),
    ):
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
    assert all(f.judged == frozenset(ATTRIBUTES) or (f.split == "train" and not f.drawn) for f in found)
