"""LightningDataModules: aligned faces from a folder, or drawn ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from likeness.data.attributes import rarity, read_attributes
from likeness.data.faces import FaceRecord, cached_faces, read_manifest, split_records
from likeness.data.restoration import (
    ArraySource,
    Collate,
    DrawnSource,
    FaceSource,
    FixedPairs,
    MixConfig,
    SampleNumbers,
    TrainingPairs,
    check_recipes,
)
from likeness.errors import ConfigError, DataError


def _single_thread(worker: int) -> None:
    # Workers are the parallelism; OpenCV's own threads would fight the training for the cores.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class ResumableLoader(DataLoader[dict[str, Any]]):
    """A DataLoader over `SampleNumbers` that goes on in the middle of an epoch.

    Lightning keeps `state_dict` in its checkpoints. Without it a resumed epoch would begin again
    with the samples that it has already seen. Where Lightning puts a plain sampler in its place, to
    overfit the same batches on purpose, every epoch is the same and there is nothing to leave out.
    """

    batch_size: int
    _done = 0  # batches handed out in the present epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        numbers = self.sampler
        self._done = numbers.skipped() // self.batch_size if isinstance(numbers, SampleNumbers) else 0
        for batch in super().__iter__():
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands."""
        return {"epoch": getattr(self.sampler, "epoch", -1), "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from there."""
        if isinstance(self.sampler, SampleNumbers):
            self.sampler.skip(state["epoch"], state["batches"] * self.batch_size)


class _PairsDataModule(L.LightningDataModule):
    """What both data modules share: the loaders over two sources of faces."""

    def __init__(
        self,
        batch_size: int,
        epoch_images: int,
        val_recipes: tuple[str, ...],
        mix: MixConfig | None,
        workers: int,
        seed: int,
        exchange: bool,
        neighbours: bool,
    ) -> None:
        super().__init__()
        if not 0 < batch_size <= epoch_images:
            raise ConfigError(
                f"data: got batch_size={batch_size}, epoch_images={epoch_images}; an epoch needs at least one batch"
            )
        check_recipes(val_recipes)
        self.batch_size, self.epoch_images, self.workers, self.seed = batch_size, epoch_images, workers, seed
        self.val_recipes, self.mix = tuple(val_recipes), mix or MixConfig()
        self.collate = Collate(exchange, neighbours)
        self.train_source: FaceSource | None = None
        self.val_source: FaceSource | None = None
        self.weights: list[float] | None = None

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Endless numbered pairs, `epoch_images` an epoch, shared out over the processes."""
        assert self.train_source is not None
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return ResumableLoader(
            TrainingPairs(self.train_source, self.mix, self.weights, self.seed, self.epoch_images),
            batch_size=self.batch_size,
            sampler=SampleNumbers(self.epoch_images, rank, world),
            num_workers=self.workers,
            worker_init_fn=_single_thread,
            persistent_workers=self.workers > 0,
            prefetch_factor=2 if self.workers else None,
            drop_last=True,
            collate_fn=self.collate,
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The same pairs every time, all of them in every process."""
        assert self.val_source is not None
        pairs: Dataset[dict[str, Any]] = FixedPairs(self.val_source, self.val_recipes, self.seed)
        return DataLoader(pairs, batch_size=self.batch_size)


class FaceDataModule(_PairsDataModule):
    """Aligned faces with a manifest (see `likeness.tasks.prepare`).

    Args:
        root: folder with `manifest.csv`.
        cache: where decoded pixels are kept (about 0.8 MB a face).
        synthetic: share of samples drawn from generated people.
        favour: by set of the manifest, how much more often than others its faces are drawn: pictures from the wild are
            few and varied, studio portraits many and alike.
        attributes: CSV of `likeness.tasks.labels`, which says who wears glasses and the like; None = unknown.
        rare: by attribute, how much more often faces that have it are drawn.
        val_faces: number of real faces of `val` that validation uses, spread evenly over the list.
        epoch_images: samples in one (virtual) epoch.
        exchange: every training batch also holds each truth with the next one's degradation (Expert-T).
        neighbours: every training batch also holds what the next frame of a clip would show (`loss.weights.steady`).

    Raises:
        DataError: if there is no manifest, or it lacks faces of a split.
        ConfigError: if an epoch is smaller than a batch, a recipe or an attribute is unknown, or `rare` is given for
            faces whose attributes are not.
    """

    def __init__(
        self,
        root: str | None,
        cache: str,
        batch_size: int = 8,
        synthetic: float = 0.1,
        favour: Mapping[str, float] = MappingProxyType({}),
        attributes: str | None = None,
        rare: Mapping[str, float] = MappingProxyType({}),
        val_faces: int = 24,
        val_recipes: tuple[str, ...] = ("gfpgan", "heavy", "mild"),
        epoch_images: int = 4000,
        mix: MixConfig | None = None,
        workers: int = 1,
        seed: int = 0,
        exchange: bool = False,
        neighbours: bool = False,
    ) -> None:
        super().__init__(batch_size, epoch_images, val_recipes, mix, workers, seed, exchange, neighbours)
        if not root:
            raise DataError(
                "no face data: data.root is empty; set data.root=DIR or LIKENESS_DATA to aligned faces (make them "
                "with `python -m likeness.tasks.prepare src=PHOTOS dst=DIR size=512`), or use experiment=smoke"
            )
        records = read_manifest(root)
        train = split_records(records, "train")
        val = [r for r in split_records(records, "val") if r.kind == "real"]
        step = max(1, len(val) // max(1, val_faces))
        val = val[::step][:val_faces]
        if not train or not val:
            raise DataError(f"{root}: {len(train)} faces to train on, {len(val)} real ones to validate; need both")
        self.root, self.cache, self.train_records, self.val_records = root, Path(cache), train, val
        found = read_attributes(attributes) if attributes else {}
        if rare and not any(r.file in found for r in train):
            raise ConfigError(
                f"data.rare: got {dict(rare)}, but data.attributes={attributes} knows none of the faces; give the CSV "
                "that `python -m likeness.tasks.labels` writes for them"
            )
        self.weights = draw_weights(train, synthetic, favour, rarity([r.file for r in train], found, rare))

    def prepare_data(self) -> None:
        """Decodes what is not cached yet, in one process only."""
        for records in (self.train_records, self.val_records):
            cached_faces(self.root, records, self.cache)

    def setup(self, stage: str | None = None) -> None:
        """Opens the cache."""
        self.train_source, self.val_source = self._source(self.train_records), self._source(self.val_records)

    def _source(self, records: list[FaceRecord]) -> ArraySource:
        return ArraySource(cached_faces(self.root, records, self.cache), records)


def draw_weights(
    records: Sequence[FaceRecord],
    synthetic: float,
    favour: Mapping[str, float],
    rarities: Sequence[float] | None = None,
) -> list[float]:
    """How often each face is drawn; the weights of all sum to 1 where there are faces of both kinds.

    Args:
        records: the faces.
        synthetic: share of all generated ones.
        favour: factor by set, 1 where it is not named.
        rarities: factor by face; None = 1 everywhere.

    Raises:
        ConfigError: if a set is unknown, or a factor negative.
    """
    known = {r.set for r in records}
    if set(favour) - known or any(f < 0 for f in favour.values()):
        raise ConfigError(f"data.favour: got {dict(favour)}, expected factors from 0 up for some of {sorted(known)}")
    raw = [favour.get(r.set, 1.0) * f for r, f in zip(records, rarities or [1.0] * len(records), strict=True)]
    sums = {
        real: sum(w for w, r in zip(raw, records, strict=True) if (r.kind == "real") == real) for real in (True, False)
    }
    if not any(sums.values()):
        raise ConfigError(f"data.favour: got {dict(favour)}, which leaves no face to draw; raise a factor")
    shares = {True: 1 - synthetic, False: synthetic}
    return [shares[r.kind == "real"] * w / max(sums[r.kind == "real"], 1e-9) for w, r in zip(raw, records, strict=True)]


class DrawnDataModule(_PairsDataModule):
    """Cartoon faces drawn on the fly; for tests and for `experiment=smoke`."""

    def __init__(
        self,
        batch_size: int = 2,
        train_faces: int = 8,
        val_faces: int = 2,
        val_recipes: tuple[str, ...] = ("gfpgan",),
        epoch_images: int = 8,
        mix: MixConfig | None = None,
        workers: int = 0,
        seed: int = 0,
        exchange: bool = False,
        neighbours: bool = False,
    ) -> None:
        super().__init__(batch_size, epoch_images, val_recipes, mix, workers, seed, exchange, neighbours)
        self.train_faces, self.val_faces = train_faces, val_faces

    def setup(self, stage: str | None = None) -> None:
        """Names the seeds; validation draws other people than training."""
        self.train_source = DrawnSource(self.train_faces)
        self.val_source = DrawnSource(self.val_faces, first_seed=10_000)
