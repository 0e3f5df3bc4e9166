"""The data modules: which faces are sampled, how often, and how an epoch is resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.data.faces import FaceRecord
from likeness.data.modules import CartoonDataModule, FaceDataModule, sampling_weights
from likeness.data.pairs import MixConfig
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, DataError

CLEAN = MixConfig(recipes={"clean": 1.0}, codec=0, soft_truth=0, jitter=0, exposure=0, inpainting=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and synthetic flat faces of 512 pixels; the grey level is ten times the row's number."""
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
    defaults = {"batch_size": 4, "epoch_images": 240, "workers": 0, "mix": CLEAN}
    data = FaceDataModule(**{"root": str(root), "cache": str(cache), **defaults, **options})  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


def levels(loader: object) -> list[int]:
    return [int(face[0, 0, 0]) // 10 for batch in loader for face in batch["truth"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("synthetic", [0.0, 0.5])
def test_synthetic_faces_have_the_given_fraction(root: Path, tmp_path: Path, synthetic: float) -> None:
    seen = levels(module(root, tmp_path, synthetic=synthetic).train_dataloader())
    assert len(seen) == 240
    assert all(level < 16 for level in seen), "validation faces were trained on"
    assert np.mean([level >= 8 for level in seen]) == pytest.approx(synthetic, abs=0.11)


def test_sharp_is_read_from_the_manifest(root: Path, tmp_path: Path) -> None:
    for batch in module(root, tmp_path, epoch_images=24).train_dataloader():
        for face, sharp in zip(batch["truth"], batch["sharp"], strict=True):
            assert bool(sharp) == (int(face[0, 0, 0]) // 10 % 2 == 1)


def test_validation_uses_real_faces_spread_over_the_list_and_the_same_each_time(root: Path, tmp_path: Path) -> None:
    data = module(root, tmp_path, val_faces=3, val_recipes=("clean",))
    seen = levels(data.val_dataloader())
    assert seen == [16, 18, 20]
    assert levels(data.val_dataloader()) == seen


def test_calibration_faces_are_not_trained_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likeness.data.faces.is_calib", lambda r: r.file == "3.png")
    assert 3 not in levels(module(root, tmp_path).train_dataloader())


MISSING = {
    "no root": (None, "data.root is empty"),
    "no manifest": ("nowhere", "no face data: .*manifest.csv does not exist"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_data_is_an_error_that_names_the_remedy(name: str, tmp_path: Path) -> None:
    root, message = MISSING[name]
    with pytest.raises(DataError, match=message) as error:
        FaceDataModule(root=root and str(tmp_path / root), cache=str(tmp_path))
    assert "experiment=smoke" in str(error.value)
    assert "\n" not in str(error.value)


def test_manifest_without_validation_faces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,set,kind,group,size,native_px,split\na.png,s,real,,512,600,train\n")
    with pytest.raises(DataError, match="got 1 faces to train on and 0 real ones"):
        FaceDataModule(root=str(tmp_path), cache=str(tmp_path))


def test_faces_with_a_weighted_attribute_are_sampled_more_often(root: Path, tmp_path: Path) -> None:
    (tmp_path / "attributes.csv").write_text("file,attributes\n3.png,hat\n")
    options = {"attributes": str(tmp_path / "attributes.csv"), "attribute_weights": {"hat": 9.0}, "synthetic": 0.0}
    data = module(root, tmp_path, **options)
    real = sum(r.kind == "real" for r in data.train_records)
    seen = levels(data.train_dataloader())
    assert np.mean([level == 3 for level in seen]) == pytest.approx(9 / (real + 8), abs=0.1)


@pytest.mark.parametrize("attributes", [None, "file,attributes\nelse.png,hat\n"], ids=["none", "of other faces"])
def test_attribute_weights_without_attributes_are_refused(attributes: str | None, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    if attributes:
        file.write_text(attributes)
    options = {"attribute_weights": {"hat": 2.0}, "attributes": str(file) if attributes else None}
    with pytest.raises(ConfigError, match=r"data\.attribute_weights: got .*lists none of the faces"):
        FaceDataModule(root=str(root), cache=str(tmp_path), **options)


BAD = {
    "epoch smaller than a batch": ({"batch_size": 9, "epoch_images": 8}, "at least one batch"),
    "no batch": ({"batch_size": 0}, "batch_size=0"),
    "recipe": ({"val_recipes": ("gfgan",)}, "got 'gfgan'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        CartoonDataModule(**options)  # type: ignore[arg-type]


def batches(
    data: CartoonDataModule, epoch: int, state: dict | None = None, stop: int | None = None
) -> tuple[list, dict]:
    """Inputs of an epoch's batches up to `stop`, and the loader's state there."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    if state is not None:
        loader.load_state_dict(state)  # type: ignore[attr-defined]
    inputs = []
    for i, batch in enumerate(loader, 1):
        inputs.append(batch["input"])
        if i == stop:
            break
    return inputs, loader.state_dict()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 1])
def test_interrupted_epoch_is_resumed_where_it_stopped(workers: int) -> None:
    data = CartoonDataModule(batch_size=2, epoch_images=6, workers=workers, train_faces=2)
    data.setup()
    whole, end = batches(data, 1)
    _, state = batches(data, 1, stop=1)
    rest, _ = batches(data, 1, state)
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[1:], strict=True))
    # After the state of an epoch's end the next epoch is complete.
    following, _ = batches(data, 2, end)
    assert len(following) == 3


def test_pairs_are_the_same_with_and_without_workers() -> None:
    modules = [CartoonDataModule(epoch_images=4, workers=w, train_faces=2) for w in (0, 1)]
    for data in modules:
        data.setup()
    first, second = (batches(data, 0)[0] for data in modules)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_cartoons_for_validation_and_training_differ() -> None:
    data = CartoonDataModule(train_faces=3, val_faces=2)
    data.setup()
    assert data.train_source is not None
    assert data.val_source is not None
    assert (data.train_source.face(0) == draw_face(512, 0)).all()
    trained = {data.train_source.face(i).tobytes() for i in range(3)}
    assert not trained & {data.val_source.face(i).tobytes() for i in range(2)}


def records(*sets: str) -> list[FaceRecord]:
    """Faces of the named sets; those of the set "synthetic" are synthetic."""
    return [
        FaceRecord(f"{i}", s, "synthetic" if s == "synthetic" else "real", "", 512, 512, "train")
        for i, s in enumerate(sets)
    ]


WEIGHTS = {
    "no weights": (("a", "a", "b"), 0.0, {}, [1 / 3, 1 / 3, 1 / 3]),
    "a fraction of synthetic faces": (("a", "a", "synthetic"), 0.2, {}, [0.4, 0.4, 0.2]),
    "one set with a larger weight": (("a", "b", "b", "synthetic"), 0.4, {"a": 2.0}, [0.3, 0.15, 0.15, 0.4]),
    "one set left out": (("a", "b", "synthetic"), 0.5, {"b": 0.0}, [0.5, 0.0, 0.5]),
    "a weight among synthetic faces": (("a", "synthetic", "synthetic"), 0.5, {"synthetic": 3.0}, [0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_sampling_weights_combine_sets_and_synthetic_fraction(name: str) -> None:
    sets, synthetic, set_weights, expected = WEIGHTS[name]
    assert sampling_weights(records(*sets), synthetic, set_weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    "weights", [{"c": 2.0}, {"a": -1.0}, {"a": 0.0, "b": 0.0}], ids=["unknown", "negative", "all 0"]
)
def test_bad_set_weight_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.set_weights: got"):
        sampling_weights(records("a", "b"), 0.2, weights)
