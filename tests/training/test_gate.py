"""The gate's training on a table with a known answer, and the table of two experts' restorations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from likeness.data.faces import FaceRecord, is_calib, read_manifest
from likeness.data.synthetic_faces import draw_face
from likeness.errors import ConfigError, DataError
from likeness.nets.gate import FEATURES, outcomes
from likeness.tasks.export import ExportOptions, export
from likeness.training import gate_data, gate_table
from likeness.training.gate_data import GateDataModule
from likeness.training.gate_table import RELATIVE_TIME, TIME_WEIGHT, GateTable, Measures, PhotoPlan, build_table
from likeness.training.run import train
from likeness.types import Faces, FloatArray, Pixels, Restored
from likeness.weights.networks import load_network

from .conftest import compose_train


def known_table(noise: float = 0.0) -> GateTable:
    """400 faces of 40 people; Expert-T costs less below a sharpness of 100, leaving alone above 1000."""
    rng = np.random.default_rng(0)
    features = np.stack([rng.uniform(50, 150, 400), 10 ** rng.uniform(0, 4, 400), *rng.random((5, 400))], 1)
    better = np.where(features[:, 1] < 100, -0.1, 0.1) + noise * rng.normal(size=400)
    left = np.where(features[:, 1] > 1000, 0.4, 0.7)
    costs = np.stack([0.5 + better, np.full(400, 0.5), left], 1)
    return GateTable(features.astype(np.float32), costs, np.repeat(np.arange(40), 10))


@pytest.mark.slow
def test_gate_learns_the_deciding_feature_and_keeps_it_in_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft_truth, wide: known_table())
    cfg = compose_train("experiment=gate", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.batch_size=64",
                        "paths.data=unused", "trainer.max_epochs=60")  # fmt: skip
    metrics, objects = train(cfg)
    assert metrics["val/accuracy"] > 0.95
    assert metrics["val/accuracy_leave"] > 0.95
    assert metrics["val/cost_oracle"] <= metrics["val/cost"] < metrics["val/cost_oracle"] + 0.01
    assert min(metrics["val/cost_t"], metrics["val/cost_f"]) > metrics["val/cost"] + 0.02
    file = tmp_path / "gate.safetensors"
    export(ExportOptions(ckpt=str(tmp_path / "gate" / "checkpoints" / "last.ckpt"), dst=str(file)))
    net, _ = load_network("gate", file)
    rows = known_table().features[:50]
    expected = objects["model"].net.probabilities(rows)
    np.testing.assert_allclose(net.probabilities(rows), expected, atol=0.02)  # type: ignore[operator]
    truth = np.stack([rows[:, 1] < 100, rows[:, 1] > 1000], 1)
    assert ((expected > 0.5) == truth).mean(0).min() > 0.9


def test_temperature_corrects_overconfident_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateDataModule, "_cached", lambda self, soft_truth, wide: known_table(noise=0.2))
    cfg = compose_train("experiment=gate", "logger=csv", f"paths.logs={tmp_path}", "threads=1", "data.batch_size=64",
                        "paths.data=unused", "trainer.max_epochs=60", "trainer.check_val_every_n_epoch=60",
                        "callbacks.best=null", "callbacks.at_end=null", "callbacks.curves=null")  # fmt: skip
    metrics, objects = train(cfg)
    data = objects["data"]
    logits = objects["model"].net(torch.from_numpy(data.val.features)).detach()
    better = outcomes(torch.from_numpy(data.val.costs))
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, better)
    assert metrics["val/cross_entropy"] <= float(plain) + 1e-6
    assert metrics["val/temperature"] > 1  # fitted to noise, the gate is overconfident


def test_photos_of_one_person_are_in_one_split() -> None:
    data = GateDataModule(table=known_table, held_out=0.25)
    data.setup()
    assert data.train is not None
    assert data.val is not None
    assert not set(data.train.people) & set(data.val.people)
    assert len(set(data.val.people)) == 10
    assert len(data.train.features) + len(data.val.features) == 400


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"root": None}, DataError, r"set data\.root=DIR"),
        ({"root": "x", "held_out": 1.0}, ConfigError, "held_out: got 1.0"),
        ({"root": "x", "soft_truth": [0, 1.5]}, ConfigError, r"soft_truth: got \[0, 1.5\]"),
        ({"root": "x", "wide": -1}, ConfigError, "wide: got -1"),
        ({"root": "x", "soft_truth": []}, ConfigError, r"soft_truth: got \[\]"),
    ],
)
def test_bad_option_is_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GateDataModule(**options)  # type: ignore[arg-type]


def test_init_is_refused() -> None:
    with pytest.raises(ConfigError, match="init: got x"):
        train(compose_train("experiment=gate", "init=x.safetensors", "paths.data=unused"))


class Stub:
    """An expert that enlarges and adds a constant to every pixel."""

    input_size, output_size, sha256 = 256, 512, ""

    def __init__(self, name: str, added: float) -> None:
        self.name, self.added = name, added
        self.crops: list[FloatArray] = []

    def restore(self, crops: Sequence[FloatArray], conditions: object = None) -> list[Restored]:
        self.crops += crops
        return [Restored(np.clip(cv2.resize(c, (512, 512)) + np.float32(self.added), 0, 1)) for c in crops]


class MeanColour:
    """An embedder that returns the mean colour, so that norms and distances are known."""

    def embed_aligned(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class EverySecond:
    """A detector that finds a face in every second crop."""

    def detect(self, frames: Sequence[Pixels]) -> list[Faces]:
        points = np.array([[(80, 110), (150, 120), (120, 150), (90, 190), (150, 190)]], np.float32)
        face = Faces(np.array([[60, 60, 190, 220]], np.float32), np.ones(1, np.float32), points)
        return [face if i % 2 else Faces.empty() for i in range(len(frames))]


def brightness_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    assert a.shape[-2:] == (165, 165)  # the face window
    return (a - b).abs().mean((1, 2, 3))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two cartoon faces that are held out for calibration."""
    names = [
        n for n in (f"f{i}.png" for i in range(200)) if is_calib(FaceRecord(n, "s", "real", "", 512, 600.0, "train"))
    ]
    rows = ["file,set,kind,group,size,native_px,laplacian_256,split,source_md5"]
    for i, name in enumerate(names[:2]):
        Image.fromarray(draw_face(512, i)).save(tmp_path / name)
        rows.append(f"{name},s,real,,512,600,0,train,x")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


MEASURES = Measures(MeanColour(), brightness_difference, EverySecond())  # type: ignore[arg-type]


def test_table_has_the_cost_of_each_experts_restoration(faces: Path) -> None:
    experts = (Stub("expert_t", 0.05), Stub("expert_f", 0.1))
    records = read_manifest(faces)
    table = build_table(faces, records, experts, MEASURES, PhotoPlan(4, 0))
    assert table.features.shape == (2 * 5 * 4, len(FEATURES))
    assert table.costs.shape == (40, 3)
    assert table.people.tolist() == [0] * 20 + [1] * 20
    widths = table.features[:, 0]
    assert 50 <= widths.min() < 90
    assert (widths < 151).mean() > 0.7
    assert table.features[:, 4] == pytest.approx([np.linalg.norm(c.mean((0, 1))) for c in experts[0].crops], abs=1e-4)
    # Detected landmarks in every second crop, the template in the others.
    assert len({round(float(v), 5) for v in table.features[::2, 5]}) == 1
    assert set(table.features[::2, 5]).isdisjoint(table.features[1::2, 5])
    # The second expert adds 0.05 more to each colour, and so 0.05 more in the window.
    difference = (table.costs[:, 1] - TIME_WEIGHT * RELATIVE_TIME["expert_f"]) - (
        table.costs[:, 0] - TIME_WEIGHT * RELATIVE_TIME["expert_t"]
    )
    assert np.median(difference) == pytest.approx(0.05 * 3**0.5 + 0.05, rel=0.25)
    # The input is enlarged only, so it is closer to the truth than either, and takes no time.
    assert (table.costs[:, 2] < table.costs[:, :2].min(1)).all()
    again = build_table(faces, records, experts, MEASURES, PhotoPlan(4, 0))
    np.testing.assert_array_equal(again.costs, table.costs)


def test_wide_photos_are_wider_than_150_px_and_undegraded(faces: Path) -> None:
    experts = (Stub("expert_t", 0.0), Stub("expert_f", 0.0))
    records = read_manifest(faces)
    table = build_table(faces, records, experts, MEASURES, PhotoPlan(4, 0, wide=True))
    assert len(table.costs) == 2 * 4
    widths = table.features[:, 0]
    assert widths.min() > 148
    assert widths.max() < 253
    assert (widths > 200).any()
    assert table.costs[:, 0].max() - TIME_WEIGHT < 0.02  # enlarged only, so close to the truth


def test_half_of_the_truths_are_softened_and_are_the_reference(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truths are softened to black, so the cost is the distance from black."""
    factors: list[float] = []

    def softened(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
        factors.append(factor)
        return np.zeros_like(pixels)

    monkeypatch.setattr(gate_table, "soften", softened)
    experts = (Stub("expert_t", 0.05), Stub("expert_f", 0.1))
    table = build_table(faces, read_manifest(faces), experts, MEASURES, PhotoPlan(3, 0, soft_truth=0.5))
    black = np.array([not c.any() for c in experts[0].crops])
    clean = np.tile(np.repeat([True, False, False, False, False], 3), 2)  # undegraded
    assert 8 <= len(factors) <= 22
    assert min(factors) >= gate_table.SOFTENING[0]
    assert max(factors) <= gate_table.SOFTENING[1]
    assert (black & clean).any()
    added = round(0.05 * 255) / 255
    expected = added * 3**0.5 + added + TIME_WEIGHT * RELATIVE_TIME["expert_t"]
    np.testing.assert_allclose(table.costs[black, 0], expected, atol=2e-3)


def test_table_is_built_once_for_the_same_experts_and_options(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    def build(*_: object) -> GateTable:
        built.append(1)
        return known_table()

    monkeypatch.setattr(gate_data, "build_table", build)
    monkeypatch.setattr(gate_data, "load_lpips", lambda: None)
    for name in ("expert_t", "expert_f"):
        monkeypatch.setattr(gate_data, f"load_{name}", lambda name=name: Stub(name, 0.0))
    options = {"root": str(faces), "cache": str(tmp_path / "cache")}
    for _ in range(2):
        data = GateDataModule(**options)
        data.setup()
    assert len(built) == 1
    assert data.train is not None
    assert len(data.train.features) == 300
    other = Stub("expert_t", 0.0)
    other.sha256 = "new"
    monkeypatch.setattr(gate_data, "load_expert_t", lambda: other)
    GateDataModule(**options).setup()
    assert len(built) == 2
    both = GateDataModule(**options, soft_truth=[0, 0.5])
    both.setup()
    assert len(built) == 3  # the table of sharp faces was cached
    wide = GateDataModule(**options, soft_truth=[0, 0.5], wide=1)
    wide.setup()
    assert len(built) == 5
    assert wide.train is not None
    assert len(wide.train.features) == 4 * 300
    assert both.train is not None
    assert both.val is not None
    assert len(both.train.features) == 2 * 300
    assert not set(both.train.people) & set(both.val.people)
