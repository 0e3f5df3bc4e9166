"""The gate's training: on a table with a known answer, and how that table is made of two experts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from likeness.data.drawn import draw_face
from likeness.data.faces import FaceRecord, is_calib, read_manifest
from likeness.errors import ConfigError, DataError
from likeness.nets.gate import FEATURES
from likeness.tasks.export import ExportOptions, export
from likeness.training import gate as training
from likeness.training.gate import RELATIVE_TIME, TIME_WEIGHT, GateDataModule, GateTable, build_table
from likeness.training.run import train
from likeness.types import Faces, FloatArray, Pixels, Restored
from likeness.weights.networks import load_network

from .conftest import compose_train


def known_table(noise: float = 0.0) -> GateTable:
    """400 faces of 40 people; Expert-T costs less below a sharpness of 100."""
    rng = np.random.default_rng(0)
    features = np.stack([rng.uniform(50, 150, 400), 10 ** rng.uniform(0, 4, 400), *rng.random((5, 400))], 1)
    better = np.where(features[:, 1] < 100, -0.1, 0.1) + noise * rng.normal(size=400)
    costs = np.stack([0.5 + better, np.full(400, 0.5)], 1)
    return GateTable(features.astype(np.float32), costs, np.repeat(np.arange(40), 10))


def test_what_decides_is_learned_and_survives_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft, wide: known_table())
    cfg = compose_train("experiment=gate", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.batch_size=64",
                        "paths.data=unused", "trainer.max_epochs=60")  # fmt: skip
    metrics, objects = train(cfg)
    assert metrics["val/right"] > 0.95
    assert metrics["val/cost_oracle"] <= metrics["val/cost"] < metrics["val/cost_oracle"] + 0.01
    assert min(metrics["val/cost_t"], metrics["val/cost_f"]) > metrics["val/cost"] + 0.02
    file = tmp_path / "gate.safetensors"
    export(ExportOptions(ckpt=str(tmp_path / "gate" / "checkpoints" / "last.ckpt"), dst=str(file)))
    net, _ = load_network("gate", file)
    rows = known_table().features[:50]
    expected = objects["model"].net.probability(rows)
    np.testing.assert_allclose(net.probability(rows), expected, atol=0.02)  # type: ignore[operator]
    assert ((expected > 0.5) == (rows[:, 1] < 100)).mean() > 0.9


def test_probabilities_are_as_sure_as_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft, wide: known_table(noise=0.2))
    cfg = compose_train("experiment=gate", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.batch_size=64",
                        "paths.data=unused", "trainer.max_epochs=60")  # fmt: skip
    metrics, objects = train(cfg)
    data = objects["data"]
    logits = objects["model"].net(torch.from_numpy(data.val.features)).detach()
    better = torch.from_numpy(data.val.costs[:, 0] < data.val.costs[:, 1]).float()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, better)
    assert metrics["val/cross_entropy"] <= float(plain) + 1e-6
    assert metrics["val/temperature"] > 1  # overfitted to noise, it is too sure of itself


def test_people_are_not_parted() -> None:
    data = GateDataModule(None, "", held_out=0.25, table=known_table)
    data.setup()
    assert data.train is not None
    assert data.val is not None
    assert not set(data.train.people) & set(data.val.people)
    assert len(set(data.val.people)) == 10
    assert len(data.train.features) + len(data.val.features) == 400


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"root": None}, DataError, r"data\.root=DIR"),
        ({"root": "x", "held_out": 1.0}, ConfigError, "held_out: got 1.0"),
        ({"root": "x", "soft": [0, 1.5]}, ConfigError, r"soft: got \[0, 1.5\]"),
        ({"root": "x", "wide": -1}, ConfigError, "wide: got -1"),
        ({"root": "x", "soft": []}, ConfigError, r"soft: got \[\]"),
    ],
)
def test_what_is_missing_or_wrong_is_said(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GateDataModule(cache="", **options)  # type: ignore[arg-type]


def test_a_file_to_start_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="init: got x"):
        train(compose_train("experiment=gate", "init=x.safetensors", "paths.data=unused"))


class Stub:
    """An expert that enlarges, and adds so much to every pixel."""

    input_size, output_size, sha256 = 256, 512, ""

    def __init__(self, name: str, added: float) -> None:
        self.name, self.added = name, added
        self.crops: list[FloatArray] = []

    def restore(self, crops: Sequence[FloatArray], conditions: object = None) -> list[Restored]:
        self.crops += crops
        return [Restored(np.clip(cv2.resize(c, (512, 512)) + np.float32(self.added), 0, 1)) for c in crops]


class Coarse:
    """A recogniser that sees the mean colour; `norm` and distances have known values."""

    def embed_aligned(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class Nowhere:
    """A detector that finds a face in every second crop."""

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        points = np.array([[(80, 110), (150, 120), (120, 150), (90, 190), (150, 190)]], np.float32)
        there = Faces(np.array([[60, 60, 190, 220]], np.float32), np.ones(1, np.float32), points)
        return [there if i % 2 else Faces.empty() for i in range(len(frames))]


def brightness_apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    assert a.shape[-2:] == (165, 165)  # the face window alone
    return (a - b).abs().mean((1, 2, 3))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two drawn faces that are held out for calibration."""
    names = [
        n for n in (f"f{i}.png" for i in range(200)) if is_calib(FaceRecord(n, "s", "real", "", 512, 600.0, "train"))
    ]
    rows = ["file,set,kind,group,size,native_px,laplacian_256,split,source_md5"]
    for i, name in enumerate(names[:2]):
        Image.fromarray(draw_face(512, i)).save(tmp_path / name)
        rows.append(f"{name},s,real,,512,600,0,train,x")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_the_table_prices_what_each_expert_made(faces: Path) -> None:
    experts = (Stub("expert_t", 0.05), Stub("expert_f", 0.1))
    records = read_manifest(faces)
    table = build_table(faces, records, experts, Coarse(), brightness_apart, Nowhere(), 3, 0)  # type: ignore[arg-type]
    assert table.features.shape == (2 * 4 * 3, len(FEATURES))
    assert table.costs.shape == (24, 2)
    assert table.people.tolist() == [0] * 12 + [1] * 12
    widths = table.features[:, 0]
    assert 50 <= widths.min() < 90
    assert (widths < 151).mean() > 0.7
    assert table.features[:, 4] == pytest.approx([np.linalg.norm(c.mean((0, 1))) for c in experts[0].crops], abs=1e-4)
    # Found in every second crop; the template elsewhere.
    assert len({round(float(v), 5) for v in table.features[::2, 5]}) == 1
    assert set(table.features[::2, 5]).isdisjoint(table.features[1::2, 5])
    # Twice as much was added by the second: about .05 more in each colour, and .05 more in the window.
    apart = (table.costs[:, 1] - TIME_WEIGHT * RELATIVE_TIME["expert_f"]) - (
        table.costs[:, 0] - TIME_WEIGHT * RELATIVE_TIME["expert_t"]
    )
    assert np.median(apart) == pytest.approx(0.05 * 3**0.5 + 0.05, rel=0.25)
    again = build_table(faces, records, experts, Coarse(), brightness_apart, Nowhere(), 3, 0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.costs, table.costs)


def test_wide_faces_are_wide_and_nothing_was_done_to_them(faces: Path) -> None:
    experts = (Stub("expert_t", 0.0), Stub("expert_f", 0.0))
    records = read_manifest(faces)
    table = build_table(faces, records, experts, Coarse(), brightness_apart, Nowhere(), 4, 0, wide=True)  # type: ignore[arg-type]
    assert len(table.costs) == 2 * 4
    widths = table.features[:, 0]
    assert widths.min() > 148
    assert widths.max() < 253
    assert (widths > 200).any()
    assert table.costs[:, 0].max() - TIME_WEIGHT < 0.02  # enlarged only: the truth itself, nearly


def test_half_of_the_truths_are_soft_and_compared_with(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truths that are softened to nothing at all: what is far from nothing costs."""
    factors: list[float] = []

    def softened(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
        factors.append(factor)
        return np.zeros_like(pixels)

    monkeypatch.setattr(training, "soften", softened)
    experts = (Stub("expert_t", 0.05), Stub("expert_f", 0.1))
    table = build_table(faces, read_manifest(faces), experts, Coarse(), brightness_apart, Nowhere(), 3, 0, 0.5)  # type: ignore[arg-type]
    black = np.array([not c.any() for c in experts[0].crops])
    clean = np.tile(np.repeat([True, False, False, False], 3), 2)  # nothing is added to these on the way
    assert 6 <= len(factors) <= 18
    assert min(factors) >= training.SOFTER[0]
    assert max(factors) <= training.SOFTER[1]
    assert (black & clean).any()
    seen = round(0.05 * 255) / 255
    expected = seen * 3**0.5 + seen + TIME_WEIGHT * RELATIVE_TIME["expert_t"]
    np.testing.assert_allclose(table.costs[black, 0], expected, atol=2e-3)


def test_the_table_is_made_once_for_the_same_experts(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def build(*_: object) -> GateTable:
        made.append(1)
        return known_table()

    monkeypatch.setattr(training, "build_table", build)
    monkeypatch.setattr(training, "load_lpips", lambda: None)
    for name in ("expert_t", "expert_f"):
        monkeypatch.setattr(training, f"load_{name}", lambda name=name: Stub(name, 0.0))
    for _ in range(2):
        data = GateDataModule(str(faces), str(tmp_path / "cache"))
        data.setup()
    assert len(made) == 1
    assert data.train is not None
    assert len(data.train.features) == 300
    other = Stub("expert_t", 0.0)
    other.sha256 = "new"
    monkeypatch.setattr(training, "load_expert_t", lambda: other)
    GateDataModule(str(faces), str(tmp_path / "cache")).setup()
    assert len(made) == 2
    both = GateDataModule(str(faces), str(tmp_path / "cache"), soft=[0, 0.5])
    both.setup()
    assert len(made) == 3  # that of sharp faces was there
    wide = GateDataModule(str(faces), str(tmp_path / "cache"), soft=[0, 0.5], wide=1)
    wide.setup()
    assert len(made) == 5
    assert wide.train is not None
    assert len(wide.train.features) == 4 * 300
    assert both.train is not None
    assert both.val is not None
    assert len(both.train.features) == 2 * 300
    assert not set(both.train.people) & set(both.val.people)
