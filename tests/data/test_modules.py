"""The data modules: which faces, how often, and how an epoch goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.data.drawn import draw_face
from likeness.data.faces import FaceRecord
from likeness.data.modules import DrawnDataModule, FaceDataModule, draw_weights
from likeness.data.restoration import MixConfig
from likeness.errors import ConfigError, DataError

CLEAN = MixConfig(recipes={"clean": 1.0}, codec=0, soft=0, jitter=0, light=0, unknown=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and synthetic flat faces of 512 pixels; the level of grey is the row's number."""
    folder = tmp_path_factory.mktemp("faces")
    lines = ["file,set,kind,group,size,native_px,split"]
    for i in range(24):
        kind = "synthetic" if 8 <= i < 16 else "real"
        split = "val" if i >= 16 else "train"
        Image.fromarray(np.full((512, 512, 3), 10 * i, np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,s,{kind},,512,{600 if i % 2 else 300},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def module(root: Path, cache: Path, **options: object) -> FaceDataModule:
    made = FaceDataModule(
        str(root), str(cache), **{"batch_size": 4, "epoch_images": 240, "workers": 0, "mix": CLEAN, **options}
    )
    made.prepare_data()
    made.setup()
    return made


def levels(loader: object) -> list[int]:
    return [int(face[0, 0, 0]) // 10 for batch in loader for face in batch["truth"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("synthetic", [0.0, 0.5])
def test_synthetic_share(root: Path, tmp_path: Path, synthetic: float) -> None:
    seen = levels(module(root, tmp_path, synthetic=synthetic).train_dataloader())
    assert len(seen) == 240
    assert all(level < 16 for level in seen), "validation faces were trained on"
    assert np.mean([level >= 8 for level in seen]) == pytest.approx(synthetic, abs=0.11)


def test_sharpness_follows_the_manifest(root: Path, tmp_path: Path) -> None:
    for batch in module(root, tmp_path, epoch_images=24).train_dataloader():
        for face, sharp in zip(batch["truth"], batch["sharp"], strict=True):
            assert bool(sharp) == (int(face[0, 0, 0]) // 10 % 2 == 1)


def test_validation_is_real_spread_and_the_same_each_time(root: Path, tmp_path: Path) -> None:
    made = module(root, tmp_path, val_faces=3, val_recipes=("clean",))
    seen = levels(made.val_dataloader())
    assert seen == [16, 18, 20]
    assert levels(made.val_dataloader()) == seen


def test_calibration_faces_are_held_out(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likeness.data.faces.is_calib", lambda r: r.file == "3.png")
    assert 3 not in levels(module(root, tmp_path).train_dataloader())


MISSING = {
    "no root": (None, "data.root is empty"),
    "no manifest": ("nowhere", "no face data: .*manifest.csv does not exist"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_data_names_the_remedy(name: str, tmp_path: Path) -> None:
    root, message = MISSING[name]
    with pytest.raises(DataError, match=message) as error:
        FaceDataModule(root and str(tmp_path / root), str(tmp_path))
    assert "experiment=smoke" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_split_alone_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,set,kind,group,size,native_px,split\na.png,s,real,,512,600,train\n")
    with pytest.raises(DataError, match="1 faces to train on, 0 real ones"):
        FaceDataModule(str(tmp_path), str(tmp_path))


def test_rare_faces_are_drawn_more_often(root: Path, tmp_path: Path) -> None:
    (tmp_path / "attributes.csv").write_text("file,attributes\n3.png,hat\n")
    rare = {"attributes": str(tmp_path / "attributes.csv"), "rare": {"hat": 9.0}, "synthetic": 0.0}
    made = module(root, tmp_path, **rare)
    real = sum(r.kind == "real" for r in made.train_records)
    seen = levels(made.train_dataloader())
    assert np.mean([level == 3 for level in seen]) == pytest.approx(9 / (real + 8), abs=0.1)


@pytest.mark.parametrize("attributes", [None, "file,attributes\nelse.png,hat\n"], ids=["none", "of other faces"])
def test_rare_without_attributes_is_not_swallowed(attributes: str | None, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    if attributes:
        file.write_text(attributes)
    with pytest.raises(ConfigError, match=r"data\.rare: got .*knows none of the faces"):
        FaceDataModule(str(root), str(tmp_path), rare={"hat": 2.0}, attributes=str(file) if attributes else None)


BAD = {
    "epoch smaller than a batch": ({"batch_size": 9, "epoch_images": 8}, "at least one batch"),
    "no batch": ({"batch_size": 0}, "batch_size=0"),
    "recipe": ({"val_recipes": ("gfgan",)}, "got 'gfgan'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        DrawnDataModule(**options)  # type: ignore[arg-type]


def batches(made: DrawnDataModule, epoch: int, state: dict | None = None, stop: int | None = None) -> tuple[list, dict]:
    """Inputs of an epoch's batches up to `stop`, and the loader's state there."""
    loader = made.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    if state is not None:
        loader.load_state_dict(state)  # type: ignore[attr-defined]
    found = []
    for i, batch in enumerate(loader, 1):
        found.append(batch["input"])
        if i == stop:
            break
    return found, loader.state_dict()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_goes_on_where_it_stopped(workers: int) -> None:
    made = DrawnDataModule(batch_size=2, epoch_images=6, workers=workers, train_faces=2)
    made.setup()
    whole, end = batches(made, 1)
    _, state = batches(made, 1, stop=1)
    rest, _ = batches(made, 1, state)
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[1:], strict=True))
    # A state of the epoch's end leaves the next epoch whole.
    following, _ = batches(made, 2, end)
    assert len(following) == 3


def test_workers_make_the_same_pairs() -> None:
    alone, helped = (DrawnDataModule(epoch_images=4, workers=w, train_faces=2) for w in (0, 1))
    for made in (alone, helped):
        made.setup()
    first, second = (batches(made, 0)[0] for made in (alone, helped))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_drawn_validation_shows_other_people_than_training() -> None:
    made = DrawnDataModule(train_faces=3, val_faces=2)
    made.setup()
    assert made.train_source is not None
    assert made.val_source is not None
    assert (made.train_source.face(0) == draw_face(512, 0)).all()
    trained = {made.train_source.face(i).tobytes() for i in range(3)}
    assert not trained & {made.val_source.face(i).tobytes() for i in range(2)}


def records(*sets: str) -> list[FaceRecord]:
    """Faces of the named sets; those of "made" are synthetic."""
    return [
        FaceRecord(f"{i}", s, "synthetic" if s == "made" else "real", "", 512, 512, "train") for i, s in enumerate(sets)
    ]


WEIGHTS = {
    "all alike": (("a", "a", "b"), 0.0, {}, [1 / 3, 1 / 3, 1 / 3]),
    "a share for the made ones": (("a", "a", "made"), 0.2, {}, [0.4, 0.4, 0.2]),
    "one set favoured": (("a", "b", "b", "made"), 0.4, {"a": 2.0}, [0.3, 0.15, 0.15, 0.4]),
    "one set left out": (("a", "b", "made"), 0.5, {"b": 0.0}, [0.5, 0.0, 0.5]),
    "among the made ones": (("a", "made", "made"), 0.5, {"made": 3.0}, [0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_how_often_each_face_is_drawn(name: str) -> None:
    sets, synthetic, favour, expected = WEIGHTS[name]
    assert draw_weights(records(*sets), synthetic, favour) == pytest.approx(expected)


@pytest.mark.parametrize("favour", [{"c": 2.0}, {"a": -1.0}])
def test_a_set_that_is_not_there_cannot_be_favoured(favour: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="favour"):
        draw_weights(records("a", "b"), 0.2, favour)
