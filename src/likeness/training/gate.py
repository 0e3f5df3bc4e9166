"""Trains the gate: restores held-out faces by both experts, prices them, and learns which is cheaper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from likeness.data.faces import FaceRecord, read_face, read_manifest, split_records
from likeness.data.photos import photo_of
from likeness.data.restoration import soften
from likeness.errors import ConfigError, DataError
from likeness.metrics.identity import embedding_distance
from likeness.metrics.images import halve, round8
from likeness.metrics.landmarks import Detector, find_landmarks
from likeness.metrics.lpips import FACE, Lpips, load_lpips
from likeness.nets.face_embedder import FaceEmbedder, load_embedder
from likeness.nets.gate import FEATURES, Gate, fit_temperature, gate_features
from likeness.ops.color import to_float
from likeness.ops.geometry import template
from likeness.stages.align import align
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.stages.measure import measure
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import load_expert_t
from likeness.training.base import OptimizerFactory

RECIPES = ("clean", "mild", "gfpgan", "heavy")
WIDTHS = (50.0, 150.0)
LARGE = 250.0  # the widest of the large but bad
SOFTER = (1.1, 4.5)  # how much detail a softened truth loses, as a factor of its size; as in training the experts
# Milliseconds of an expert over Expert-T's; fixed, so that the same command gives the same figures. Two readings of the
# bench on two cores: 42.5 of 153.3 ms (fp32, Xeon), 19.3 of 75.0 (bf16, EPYC).
RELATIVE_TIME = {"expert_t": 1.0, "expert_f": 0.27}
TIME_WEIGHT = 0.02
_MIN_FACE = 64.0


@dataclass(frozen=True)
class GateTable:
    """Faces restored by both experts.

    Attributes:
        features: (N, 7), see `nets.gate.FEATURES`.
        costs: (N, 2), of Expert-T and of Expert-F.
        people: (N,) number of the face it was made from; faces of one are never parted between training and
            validation.
    """

    features: npt.NDArray[np.float32]
    costs: npt.NDArray[np.float64]
    people: npt.NDArray[np.int64]


def cost(output: Tensor, truth: Tensor, embedder: FaceEmbedder, lpips: Lpips, expert: str) -> npt.NDArray[np.float64]:
    """What each restored face costs: embedder distance + LPIPS of the face window + .02 x relative time.

    Args:
        output, truth: (B, 3, 256, 256) in [0, 1].
        embedder, lpips: measure.
        expert: which one restored it.
    """
    distance = embedding_distance(embedder.embed_aligned(output), embedder.embed_aligned(truth))
    found = distance + lpips(output[FACE].contiguous(), truth[FACE].contiguous())
    return (found + TIME_WEIGHT * RELATIVE_TIME[expert]).double().numpy()


@torch.inference_mode()
def build_table(
    root: Path,
    records: Sequence[FaceRecord],
    experts: Sequence[Expert],
    embedder: FaceEmbedder,
    lpips: Lpips,
    detector: Detector,
    widths: int,
    seed: int,
    soft: float = 0.0,
    wide: bool = False,
) -> GateTable:
    """Simulates photos of every face, restores them by both experts and prices the results.

    Widths are spread evenly over 50-150, one in six lies beyond, as the large but bad ones do.

    Args:
        root, records: aligned faces.
        experts: Expert-T and Expert-F, in this order.
        embedder, lpips, detector: measure.
        widths: photos of each face and recipe.
        seed: of widths and degradations.
        soft: share of the truths that are softened before, see `GateDataModule`.
        wide: instead of all that, photos beyond 150 that nothing was done to: the router takes one that is smooth by
            nature for a bad one, and asks.
    """
    features, costs, people = [], [], []
    for person, record in enumerate(track(records, "restoring by both experts", transient=True)):
        pixels = read_face(root, record)
        crops, profiles, truths = [], [], []
        for which, recipe in enumerate(RECIPES[:1] if wide else RECIPES):
            rng = np.random.default_rng([seed, person, which])
            for draw in range(widths):
                share = (draw + rng.random()) / widths
                width = WIDTHS[0] + share * (WIDTHS[1] - WIDTHS[0])
                if wide or (recipe != "clean" and rng.random() < 1 / 6):
                    width = WIDTHS[1] + share * (LARGE - WIDTHS[1])
                true = soften(pixels, rng.uniform(*SOFTER), rng) if soft and rng.random() < soft else pixels
                truths.append(halve(_tensor(to_float(true))))
                photo, landmarks = photo_of(true, width, recipe, rng)
                crop = align(photo, landmarks, 256)
                crops.append(crop.image)
                profiles.append(measure(photo, crop))
        poor = torch.cat([_tensor(c) for c in crops])
        norms = embedder.embed_aligned(poor).norm(dim=1).tolist()
        points = find_landmarks(detector, poor).numpy()
        for profile, norm, found in zip(profiles, norms, points, strict=True):
            features.append(gate_features(profile, norm, template(512) if np.isnan(found).any() else found))
        pair = []
        for expert in experts:
            images = torch.cat([_tensor(r.image) for r in expert.restore(crops)])
            pair.append(cost(round8(halve(images.clamp(0, 1))), torch.cat(truths), embedder, lpips, expert.name))
        costs.append(np.stack(pair, 1))
        people += [person] * len(crops)
    return GateTable(np.stack(features), np.concatenate(costs), np.array(people))


def _tensor(image: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()


class GateDataModule(L.LightningDataModule):
    """Faces of `calib`, which neither expert was trained on, restored by both; made once and cached.

    Args:
        root: folder of aligned faces with a manifest.
        cache: where the table is kept.
        widths: photos of each face and recipe.
        faces: at most so many, 0 = all.
        held_out: share of the people that validate, and set the temperature.
        batch_size: samples a step.
        seed: of photos and of the split.
        soft: share of photos of faces that were soft from the start, as most real ones are: a gate that saw sharp
            truths alone takes softness for damage (experiments/gate/README.md). One table for each share, and all of
            them together.
        wide: photos of each face and share, beyond those, that are wide and good.
        table: a table of one's own, in place of all this.

    Raises:
        DataError: where no faces are named, or there are none.
        ConfigError: for a share outside of 0..1.
    """

    def __init__(
        self,
        root: str | None,
        cache: str,
        widths: int = 3,
        faces: int = 0,
        held_out: float = 0.25,
        batch_size: int = 256,
        seed: int = 0,
        soft: Sequence[float] = (0.0,),
        wide: int = 0,
        table: Callable[[], GateTable] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < held_out < 1:
            raise ConfigError(f"data.held_out: got {held_out}, expected a share between 0 and 1")
        if wide < 0:
            raise ConfigError(f"data.wide: got {wide}, expected 0 or more photos of each face")
        if not soft or not all(0 <= share <= 1 for share in soft):
            raise ConfigError(f"data.soft: got {list(soft)}, expected shares from 0 to 1, such as [0, 0.5]")
        if not root and table is None:
            raise DataError("gate: no faces; set data.root=DIR or LIKENESS_DATA to aligned faces")
        self.root, self.cache, self.widths, self.faces = root, Path(cache), widths, faces
        self.held_out, self.batch_size, self.seed, self.make = held_out, batch_size, seed, table
        self.soft, self.wide = tuple(soft), wide
        self.train: GateTable | None = None
        self.val: GateTable | None = None

    def setup(self, stage: str | None = None) -> None:
        """Makes or reads the table, and parts its people."""
        kinds = [False, True] if self.wide else [False]
        tables = [self.make()] if self.make else [self._cached(share, wide) for wide in kinds for share in self.soft]
        table = GateTable(*(np.concatenate(column) for column in zip(*(astuple(t) for t in tables), strict=True)))
        people = np.unique(table.people)
        chosen = np.random.default_rng(self.seed).permutation(people)[: max(1, round(self.held_out * len(people)))]
        inside = np.isin(table.people, chosen)
        self.train, self.val = (
            GateTable(table.features[m], table.costs[m], table.people[m]) for m in (~inside, inside)
        )

    def _cached(self, soft: float, wide: bool) -> GateTable:
        assert self.root is not None
        root = Path(self.root)
        records = split_records(read_manifest(root), "calib")
        if self.faces:
            records = records[:: max(1, len(records) // self.faces)][: self.faces]
        if not records:
            raise DataError(f"gate: {root}/manifest.csv has no face to calibrate on; make it again with prepare")
        first, second = load_expert_t(), load_expert_f()
        count = self.wide if wide else self.widths
        told = [[r.file for r in records], first.sha256, second.sha256, count, self.seed, FEATURES, RECIPES]
        told += [RELATIVE_TIME, TIME_WEIGHT] + ([soft, SOFTER] if soft else []) + (["wide"] if wide else [])
        file = self.cache / f"gate-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}.npz"
        if not file.is_file():
            detector = MtcnnDetector(DetectConfig(min_face=_MIN_FACE))
            made = build_table(
                root,
                records,
                (first, second),
                load_embedder(),
                load_lpips(),
                detector,
                count,
                self.seed,
                soft,
                wide,
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, features=made.features, costs=made.costs, people=made.people)
            partial.replace(file)
        with np.load(file) as arrays:
            return GateTable(arrays["features"], arrays["costs"], arrays["people"])

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled."""
        assert self.train is not None
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(_dataset(self.train), self.batch_size, shuffle=True, generator=generator)

    def val_dataloader(self) -> DataLoader[Any]:
        """All of it at once: its figures are of the whole."""
        assert self.val is not None
        return DataLoader(_dataset(self.val), len(self.val.features))


def _dataset(table: GateTable) -> TensorDataset:
    return TensorDataset(torch.from_numpy(table.features).float(), torch.from_numpy(table.costs).float())


class GateModule(L.LightningModule):
    """Learns whether Expert-T costs less, by cross-entropy; validated by the cost that its choices lead to.

    Args:
        net: the gate.
        optimizer: builds the optimiser from parameters.
    """

    def __init__(self, net: Gate, optimizer: OptimizerFactory) -> None:
        super().__init__()
        self.net, self.optimizer_factory = net, optimizer
        self.network, self.net_config = "gate", net.config

    def configure_optimizers(self) -> Optimizer:
        """The optimiser alone."""
        return self.optimizer_factory(self.net.parameters())

    def on_fit_start(self) -> None:
        """The scale of the features comes from the training samples."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.net.fit_scale(torch.from_numpy(data.train.features).float())

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """One step."""
        features, costs = batch
        loss = F.binary_cross_entropy_with_logits(self.net(features), (costs[:, 0] < costs[:, 1]).float())
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """The cost of the choices beside that of always one expert and of the oracle; sets the temperature."""
        features, costs = batch
        logits = self.net(features).float()
        better = (costs[:, 0] < costs[:, 1]).float()
        self.net.temperature.fill_(_temperature(logits.detach(), better))
        scaled = logits / self.net.temperature
        chosen = torch.where(scaled > 0, costs[:, 0], costs[:, 1])
        self.log_dict(
            {
                "val/cost": chosen.mean(),
                "val/cost_t": costs[:, 0].mean(),
                "val/cost_f": costs[:, 1].mean(),
                "val/cost_oracle": costs.min(1).values.mean(),
                "val/right": ((scaled > 0) == better.bool()).float().mean(),
                "val/cross_entropy": F.binary_cross_entropy_with_logits(scaled, better),
                "val/temperature": self.net.temperature,
            }
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what an export needs."""
        checkpoint["network"], checkpoint["net_config"] = self.network, self.net_config.to_dict()
        metrics = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics if name.startswith("val/")}


def _temperature(logits: Tensor, better: Tensor) -> float:
    with torch.inference_mode(False), torch.enable_grad():
        return fit_temperature(logits.clone(), better.clone())
