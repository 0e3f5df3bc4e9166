"""The detectors to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from likeness.registry import Entry, Registry
from likeness.stages.detect.base import DetectConfig, Detector
from likeness.stages.detect.mtcnn import MtcnnDetector, weight_files
from likeness.stages.detect.retinaface import RetinaFaceDetector


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector may need to load: the user's options and the device."""

    config: DetectConfig
    device: torch.device | str = "cpu"


DETECTORS: Registry[DetectorOptions, Detector] = Registry("detect.name")
DETECTORS.add(
    Entry(
        "mtcnn",
        "frames of one size",
        "boxes, scores, five landmarks",
        "2 MB of weights, in facenet-pytorch",
        lambda o: MtcnnDetector(o.config, o.device),
        lambda _: weight_files(),
    )
)
DETECTORS.add(
    Entry(
        "retinaface",
        "frames of one size",
        "boxes, scores, five landmarks",
        "the user's weights",
        lambda o: RetinaFaceDetector(o.config, torch.device(o.device)),
        lambda o: {"retinaface": Path(o.config.file)},
    )
)
