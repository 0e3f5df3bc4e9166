"""Loads what the pipeline needs, once."""

from __future__ import annotations

from pathlib import Path

import torch

from likeness.errors import ConfigError
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.steps import Models
from likeness.stages.detect.mtcnn import MtcnnDetector, weight_files
from likeness.stages.identity import GuardBounds, read_calibration
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.route import RouteBounds
from likeness.weights.files import file_hash
from likeness.weights.manifest import released


def pick_device(option: str) -> torch.device:
    """Resolves "auto" to CUDA, MPS or CPU, in this order.

    Raises:
        ConfigError: if the named device is unknown or not there.
    """
    if option == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(option)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device: {option!r} cannot be used ({str(error).splitlines()[0]}); try device=auto"
        ) from error
    return device


def load_models(config: RestorerConfig) -> Models:
    """Detector, expert, embedder and bounds, on the configured device.

    Raises:
        ConfigError: for an unusable device.
        WeightsError: where a file is missing or does not fit.
    """
    device = pick_device(config.device)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    calibration = Path(config.weights.calibration) if config.weights.calibration else released("calibration")
    fitted = read_calibration(calibration)
    guard, route = fitted["guard"], fitted["route"]
    expert = load_expert_f(config.weights.expert_f or None, device, bf16)
    files = {**weight_files(), "embedder": weights_file(), "calibration": calibration}
    return Models(
        detector=MtcnnDetector(config.detect, device),
        experts={"expert_f": expert},
        embedder=load_embedder().to(device),
        guard_bounds=GuardBounds(tuple(guard["sharpness"]), tuple(guard["same95"]), tuple(guard["other05"])),
        route_bounds=RouteBounds(
            route["q_low"], route["detail_low"], route["blockiness_high"], route["noise_high"]
        ),
        hashes={"expert_f": expert.sha256} | {name: file_hash(file) for name, file in files.items()},
    )  # fmt: skip
