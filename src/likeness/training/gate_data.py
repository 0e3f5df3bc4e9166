"""LightningDataModule of the gate: the table of restored faces, built once and cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from likeness.data.faces import read_manifest, split_records
from likeness.errors import ConfigError, DataError
from likeness.metrics.lpips import load_lpips
from likeness.nets.face_embedder import load_embedder
from likeness.nets.gate import FEATURES
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t
from likeness.training.gate_table import (
    RECIPES,
    RELATIVE_TIME,
    SOFTENING,
    TIME_WEIGHT,
    GateTable,
    Measures,
    PhotoPlan,
    build_table,
)

_MIN_FACE = 64.0


@dataclass(frozen=True)
class GateDataConfig:
    """Options of `GateDataModule`.

    Attributes:
        root: folder of aligned faces with a manifest.
        cache: folder of the tables.
        widths: photos of each face and recipe.
        faces: at most this many faces; 0 = all.
        held_out: fraction of the people that validate and set the temperature, between 0 and 1.
        batch_size: samples in a batch.
        soft_truth: fractions of the photos, 0..1, whose face was soft from the start, as in most real photos. Each
            fraction gives a table, and the gate is trained on all of them: trained on sharp faces alone it mistakes
            softness for degradation (experiments/gate/README.md).
        wide: additional photos of each face and fraction that are undegraded and wider than 150 px.
        seed: of the photos and of the split.
    """

    root: str | None = None
    cache: str = "cache"
    widths: int = 3
    faces: int = 0
    held_out: float = 0.25
    batch_size: int = 256
    soft_truth: Sequence[float] = (0.0,)
    wide: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ConfigError(f"data.held_out: got {self.held_out}, expected a fraction between 0 and 1")
        if self.wide < 0:
            raise ConfigError(f"data.wide: got {self.wide}, expected 0 or more photos of each face")
        if not self.soft_truth or not all(0 <= fraction <= 1 for fraction in self.soft_truth):
            raise ConfigError(
                f"data.soft_truth: got {list(self.soft_truth)}, expected fractions from 0 to 1, such as [0, 0.5]"
            )


class GateDataModule(L.LightningDataModule):
    """Faces of `calib`, on which neither expert was trained, restored by both.

    Args:
        table: builds another table; None = the table that the options describe.
        options: fields of `GateDataConfig`.

    Raises:
        DataError: if there are no faces.
        ConfigError: if an option is out of range.
    """

    def __init__(self, table: Callable[[], GateTable] | None = None, **options: Any) -> None:
        super().__init__()
        self.config, self.table = GateDataConfig(**options), table
        if not self.config.root and table is None:
            raise DataError("no face data: data.root is empty; set data.root=DIR or LIKENESS_DATA to aligned faces")
        self.train: GateTable | None = None
        self.val: GateTable | None = None

    def setup(self, stage: str | None = None) -> None:
        """Builds or reads the tables, and splits them by people."""
        config = self.config
        wide = [False, True] if config.wide else [False]
        tables = [self.table()] if self.table else [self._cached(f, w) for w in wide for f in config.soft_truth]
        table = GateTable(*(np.concatenate(column) for column in zip(*(astuple(t) for t in tables), strict=True)))
        people = np.unique(table.people)
        shuffled = np.random.default_rng(config.seed).permutation(people)
        held_out = np.isin(table.people, shuffled[: max(1, round(config.held_out * len(people)))])
        self.train, self.val = (
            GateTable(table.features[m], table.costs[m], table.people[m]) for m in (~held_out, held_out)
        )

    def _cached(self, soft_truth: float, wide: bool) -> GateTable:
        config = self.config
        assert config.root is not None
        root = Path(config.root)
        records = split_records(read_manifest(root), "calib")
        if config.faces:
            records = records[:: max(1, len(records) // config.faces)][: config.faces]
        if not records:
            raise DataError(f"gate: {root}/manifest.csv has no calibration faces; write it again with prepare")
        expert_t, expert_f = load_expert_t(), load_expert_f()
        plan = PhotoPlan(config.wide if wide else config.widths, config.seed, soft_truth, wide)
        key = [[r.file for r in records], expert_t.sha256, expert_f.sha256, plan.count, plan.seed, FEATURES, RECIPES]
        key += [RELATIVE_TIME, TIME_WEIGHT] + ([soft_truth, SOFTENING] if soft_truth else [])
        key += ["wide"] if wide else []
        file = Path(config.cache) / f"gate-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.npz"
        if not file.is_file():
            detector = MtcnnDetector(DetectConfig(min_face=_MIN_FACE))
            measures = Measures(load_embedder(), load_lpips(), detector)
            _save(build_table(root, records, (expert_t, expert_f), measures, plan), file)
        with np.load(file) as arrays:
            return GateTable(arrays["features"], arrays["costs"], arrays["people"])

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches."""
        assert self.train is not None
        generator = torch.Generator().manual_seed(self.config.seed)
        return DataLoader(_dataset(self.train), self.config.batch_size, shuffle=True, generator=generator)

    def val_dataloader(self) -> DataLoader[Any]:
        """All samples in one batch, since the metrics are computed over all of them."""
        assert self.val is not None
        return DataLoader(_dataset(self.val), len(self.val.features))


def _save(table: GateTable, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, features=table.features, costs=table.costs, people=table.people)
    partial.replace(file)


def _dataset(table: GateTable) -> TensorDataset:
    return TensorDataset(torch.from_numpy(table.features).float(), torch.from_numpy(table.costs).float())
