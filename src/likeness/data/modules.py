"""LightningDataModules: aligned faces from a folder, or cartoons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from likeness.data.attributes import face_weights, read_attributes
from likeness.data.collate import Collate
from likeness.data.degradations.recipes import check_recipes
from likeness.data.faces import FaceRecord, cached_faces, read_manifest, split_records
from likeness.data.loaders import EndlessSampler, ResumableLoader
from likeness.data.pairs import FixedPairs, MixConfig, TrainingPairs
from likeness.data.sources import ArraySource, CartoonSource, FaceSource
from likeness.errors import ConfigError, DataError


@dataclass(frozen=True)
class PairsConfig:
    """Options that all sources of faces share.

    Attributes:
        batch_size: samples in a batch.
        epoch_images: samples in one (virtual) epoch, after which comes a validation.
        val_faces: number of faces in the validation.
        val_recipes: degradations of each of these faces.
        workers: loader processes.
        seed: of the samples.
        swap_degradation: adds each truth with the next sample's degradation to the training batches, for Expert-T.
        frame_pairs: adds the next frame of each input to the training batches, for `loss.weights.temporal_consistency`.
    """

    batch_size: int = 8
    epoch_images: int = 4000
    val_faces: int = 24
    val_recipes: Sequence[str] = ("gfpgan", "heavy", "mild")
    workers: int = 1
    seed: int = 0
    swap_degradation: bool = False
    frame_pairs: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.batch_size <= self.epoch_images:
            raise ConfigError(
                f"data: got batch_size={self.batch_size} and epoch_images={self.epoch_images}, expected at least one "
                "batch in an epoch; raise epoch_images or lower batch_size"
            )
        check_recipes(self.val_recipes)


@dataclass(frozen=True)
class FaceDataConfig(PairsConfig):
    """Options of `FaceDataModule`.

    Attributes:
        root: folder with `manifest.csv`, see `likeness.tasks.prepare`.
        cache: folder for decoded pixels, about 0.8 MB a face.
        synthetic: fraction of the samples that show synthetic people, 0..1.
        set_weights: by set of the manifest, how much more often its faces are sampled: +data.set_weights.SET=3.
            Pictures from the wild are few and varied, studio portraits many and alike.
        attributes: CSV that experiments/labels/spread_labels.py writes: who wears glasses, a hat and the like. None =
            unknown.
        attribute_weights: by attribute, how much more often faces with it are sampled:
            +data.attribute_weights.glasses=3.
    """

    root: str | None = None
    cache: str = "cache"
    synthetic: float = 0.1
    set_weights: Mapping[str, float] = field(default_factory=dict)
    attributes: str | None = None
    attribute_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CartoonDataConfig(PairsConfig):
    """Options of `CartoonDataModule`; `train_faces` is the number of cartoons to train on."""

    batch_size: int = 2
    epoch_images: int = 8
    val_faces: int = 2
    val_recipes: Sequence[str] = ("gfpgan",)
    workers: int = 0
    train_faces: int = 8


class PairsDataModule(L.LightningDataModule):
    """The loaders over two sources of faces, which `setup` of a subclass opens.

    Args:
        config: the options.
        mix: how training pairs are degraded.
    """

    def __init__(self, config: PairsConfig, mix: MixConfig | None) -> None:
        super().__init__()
        self.batch_size, self.mix = config.batch_size, mix or MixConfig()
        self.pairs_config = config
        self.train_source: FaceSource | None = None
        self.val_source: FaceSource | None = None
        self.weights: list[float] | None = None

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Endless numbered pairs, `epoch_images` an epoch, divided among the processes."""
        assert self.train_source is not None
        config = self.pairs_config
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return ResumableLoader(
            TrainingPairs(self.train_source, self.mix, self.weights, config.seed, config.epoch_images),
            batch_size=config.batch_size,
            sampler=EndlessSampler(config.epoch_images, rank, world),
            num_workers=config.workers,
            worker_init_fn=single_thread,
            persistent_workers=config.workers > 0,
            prefetch_factor=2 if config.workers else None,
            drop_last=True,
            collate_fn=Collate(config.swap_degradation, config.frame_pairs),
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The same pairs every time, all of them in every process."""
        assert self.val_source is not None
        config = self.pairs_config
        pairs: Dataset[dict[str, Any]] = FixedPairs(self.val_source, config.val_recipes, config.seed)
        return DataLoader(pairs, batch_size=config.batch_size)


def single_thread(worker: int) -> None:
    """Initialises a loader process."""
    # Workers run in parallel already; OpenCV's own threads would compete with the training for the cores.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class FaceDataModule(PairsDataModule):
    """Aligned faces with a manifest (see `likeness.tasks.prepare`).

    Args:
        mix: how training pairs are degraded.
        options: fields of `FaceDataConfig`.

    Raises:
        DataError: if there is no manifest, or it lacks faces of a split.
        ConfigError: if an epoch is smaller than a batch, if a recipe, set or attribute is unknown, or if
            `attribute_weights` are given for faces without attributes.
    """

    def __init__(self, mix: MixConfig | None = None, **options: Any) -> None:
        self.config = config = FaceDataConfig(**options)
        super().__init__(config, mix)
        if not config.root:
            raise DataError(
                "no face data: data.root is empty; set data.root=DIR or LIKENESS_DATA to aligned faces (write them "
                "with `python -m likeness.tasks.prepare src=PHOTOS dst=DIR size=512`), or use experiment=smoke"
            )
        self.root, self.cache = config.root, Path(config.cache)
        records = read_manifest(config.root)
        self.train_records = split_records(records, "train")
        self.val_records = _spread([r for r in split_records(records, "val") if r.kind == "real"], config.val_faces)
        if not self.train_records or not self.val_records:
            raise DataError(
                f"{config.root}: got {len(self.train_records)} faces to train on and {len(self.val_records)} real ones "
                "to validate, expected some of both; prepare more photos"
            )
        self.weights = sampling_weights(self.train_records, config.synthetic, config.set_weights, self._face_weights())

    def _face_weights(self) -> list[float]:
        config = self.config
        attributes = read_attributes(config.attributes) if config.attributes else {}
        if config.attribute_weights and not any(r.file in attributes for r in self.train_records):
            raise ConfigError(
                f"data.attribute_weights: got {dict(config.attribute_weights)}, but data.attributes="
                f"{config.attributes} lists none of the faces; give the CSV that experiments/labels/spread_labels.py "
                "writes for them"
            )
        return face_weights([r.file for r in self.train_records], attributes, config.attribute_weights)

    def prepare_data(self) -> None:
        """Decodes what is not cached yet, in one process only."""
        for records in (self.train_records, self.val_records):
            cached_faces(self.root, records, self.cache)

    def setup(self, stage: str | None = None) -> None:
        """Opens the cache."""
        self.train_source, self.val_source = self._source(self.train_records), self._source(self.val_records)

    def _source(self, records: list[FaceRecord]) -> ArraySource:
        return ArraySource(cached_faces(self.root, records, self.cache), records)


def _spread(records: list[FaceRecord], count: int) -> list[FaceRecord]:
    """`count` records, evenly spread over the list."""
    return records[:: max(1, len(records) // max(1, count))][:count]


def sampling_weights(
    records: Sequence[FaceRecord],
    synthetic: float,
    set_weights: Mapping[str, float],
    weights: Sequence[float] | None = None,
) -> list[float]:
    """The probability with which each face is sampled; the sum is 1 if there are real and synthetic faces.

    Args:
        records: the faces.
        synthetic: probability of all synthetic faces together, 0..1.
        set_weights: by set, 0 or more; 1 for other sets.
        weights: of each face; None = 1 for all.

    Raises:
        ConfigError: if a set is unknown, a weight is negative or no face is left.
    """
    sets = {r.set for r in records}
    if set(set_weights) - sets or any(weight < 0 for weight in set_weights.values()):
        raise ConfigError(
            f"data.set_weights: got {dict(set_weights)}, expected weights of 0 or more for some of {sorted(sets)}"
        )
    raw = [set_weights.get(r.set, 1.0) * w for r, w in zip(records, weights or [1.0] * len(records), strict=True)]
    sums = {
        real: sum(w for w, r in zip(raw, records, strict=True) if (r.kind == "real") == real) for real in (True, False)
    }
    if not any(sums.values()):
        raise ConfigError(f"data.set_weights: got {dict(set_weights)}, which leaves no face; raise a weight above 0")
    fractions = {True: 1 - synthetic, False: synthetic}
    return [
        fractions[r.kind == "real"] * w / max(sums[r.kind == "real"], 1e-9) for w, r in zip(raw, records, strict=True)
    ]


class CartoonDataModule(PairsDataModule):
    """Cartoon faces drawn on the fly; for tests and for `experiment=smoke`.

    Args:
        mix: how training pairs are degraded.
        options: fields of `CartoonDataConfig`.
    """

    def __init__(self, mix: MixConfig | None = None, **options: Any) -> None:
        self.config = config = CartoonDataConfig(**options)
        super().__init__(config, mix)

    def setup(self, stage: str | None = None) -> None:
        """Validation draws other people than training."""
        self.train_source = CartoonSource(self.config.train_faces)
        self.val_source = CartoonSource(self.config.val_faces, first_seed=10_000)
