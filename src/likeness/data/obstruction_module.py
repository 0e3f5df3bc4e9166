"""LightningDataModule of faces with obstructions drawn over them."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from likeness.data.attributes import read_attributes
from likeness.data.loaders import EndlessSampler, ResumableLoader
from likeness.data.modules import FaceDataModule, single_thread
from likeness.data.obstructions.samples import ObstructionSamples

UNCLEAN = frozenset({"glasses", "object"})  # attributes of faces over which something lies already


class ObstructionDataModule(FaceDataModule):
    """Faces of `FaceDataModule` without those that wear glasses or hold something, as far as `attributes` say so.

    Args:
        options: fields of `FaceDataConfig`; recipes have no effect, and `val_faces` is the number of samples, too.

    Raises:
        DataError, ConfigError: as in `FaceDataModule`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(None, **options)
        known = read_attributes(self.config.attributes) if self.config.attributes else {}
        self.weights = [
            0.0 if known.get(record.file, frozenset()) & UNCLEAN else weight
            for record, weight in zip(self.train_records, self.weights or (), strict=True)
        ]
        self.val_records = [r for r in self.val_records if not known.get(r.file, frozenset()) & UNCLEAN]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Endless numbered samples, `epoch_images` an epoch, divided among the processes."""
        assert self.train_source is not None
        config = self.config
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return ResumableLoader(
            ObstructionSamples(self.train_source, self.weights, config.seed, config.epoch_images),
            batch_size=config.batch_size,
            sampler=EndlessSampler(config.epoch_images, rank, world),
            num_workers=config.workers,
            worker_init_fn=single_thread,
            persistent_workers=config.workers > 0,
            prefetch_factor=4 if config.workers else None,
            drop_last=True,
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The same samples of other people every time, all of them in every process."""
        assert self.val_source is not None
        samples = ObstructionSamples(self.val_source, None, self.config.seed, self.config.val_faces)
        return DataLoader(samples, batch_size=self.config.batch_size)
