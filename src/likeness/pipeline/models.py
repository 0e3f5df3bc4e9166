"""Loads what the pipeline needs, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from likeness.compat import cpu_has_bf16
from likeness.errors import ConfigError
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.nets.gate import Gate
from likeness.nets.recogniser import open_recogniser
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.state import Models
from likeness.stages.background import Background, enlarge, external
from likeness.stages.detect.base import Detector
from likeness.stages.detect.mtcnn import MtcnnDetector, weight_files
from likeness.stages.detect.retinaface import RetinaFaceDetector
from likeness.stages.identity import Recogniser, guard_bounds, read_calibration
from likeness.stages.restore.base import Expert
from likeness.stages.restore.expert_f import load_expert_f
from likeness.stages.restore.expert_t import KnobsConfig, load_expert_t
from likeness.stages.restore.external import ExternalExpert
from likeness.stages.restore.onnx import load_onnx
from likeness.stages.route import RouteBounds
from likeness.weights.external import load_external
from likeness.weights.files import file_hash
from likeness.weights.manifest import released, under_expert_t
from likeness.weights.networks import load_network


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


def computes_in_bf16(precision: str, device: torch.device) -> bool:
    """What the option `precision` means on this device, with torch."""
    if precision == "fast" and device.type == "cpu":
        return cpu_has_bf16()
    return precision == "bf16" or (precision in ("auto", "fast") and device.type == "cuda")


def load_models(config: RestorerConfig) -> Models:
    """Detector, expert, embedder and bounds, on the configured device.

    Raises:
        ConfigError: for an unusable device.
        WeightsError: where a file is missing or does not fit.
    """
    device = pick_device(config.device)
    bf16 = computes_in_bf16(config.precision, device)
    calibration = Path(config.weights.calibration) if config.weights.calibration else released("calibration")
    fitted = read_calibration(calibration)
    guard, route = fitted["guard"], fitted["route"]
    detector, files = _detector(config, device)
    files |= {"embedder": weights_file(), "calibration": calibration}
    experts, under = _experts(config, device, bf16)
    files |= under
    gate = None
    if config.learned_gate:
        files["gate"] = Path(config.weights.gate) if config.weights.gate else released("gate")
        gate = cast(Gate, load_network("gate", files["gate"])[0].eval())
    embedder = load_embedder().to(device)
    recogniser: Recogniser = embedder
    if own := config.guard.recogniser:
        recogniser = open_recogniser(own, "guard.recogniser")
        files["recogniser"] = Path(own)
    _check_bounds(guard.get("recogniser", ""), config.guard.recogniser, calibration)
    background: Background = enlarge
    if config.background.name == "external":
        net = load_external(config.background.weights, "background.weights", device)
        background, files["background"] = external(net, config.background.tile), Path(config.background.weights)
    return Models(
        detector=detector,
        experts={expert.name: expert for expert in experts},
        embedder=embedder,
        recogniser=recogniser,
        guard_bounds=guard_bounds(fitted),
        route_bounds=RouteBounds(
            route["q_low"], route["detail_low"], route["blockiness_high"], route["noise_high"]
        ),
        background=background,
        gate=gate,
        hashes={expert.name: expert.sha256 for expert in experts} | {n: file_hash(file) for n, file in files.items()},
    )  # fmt: skip


def _check_bounds(fitted: str, given: str, calibration: Path) -> None:
    """The guard's bounds must have been fitted with the recogniser that it uses.

    Args:
        fitted: sha256 of the recogniser in the calibration, "" for the embedder.
        given: the user's file, "" for the embedder.
        calibration: where the bounds are from.

    Raises:
        ConfigError: if they were not.
    """
    if given and fitted != file_hash(given):
        raise ConfigError(
            f"guard.recogniser: {calibration} holds no bounds for {given}; fit them with `python -m "
            f"likeness.tasks.calibrate recogniser={given} dst=FILE` and give weights.calibration=FILE"
        )
    if fitted and not given:
        raise ConfigError(
            f"weights.calibration: {calibration} was fitted with a recogniser of its own (sha256 {fitted[:12]}...); "
            "give it as guard.recogniser=FILE"
        )


def _detector(config: RestorerConfig, device: torch.device) -> tuple[Detector, dict[str, Path]]:
    """The detector, and its weight files by name."""
    if config.detect.name == "retinaface":
        return RetinaFaceDetector(config.detect, device), {"retinaface": Path(config.detect.weights)}
    return MtcnnDetector(config.detect, device), weight_files()


def _onnx(config: RestorerConfig, names: Sequence[str]) -> list[Expert]:
    """The experts on ONNX Runtime, if their files were made of the weights that torch would run."""
    given = {"expert_f": config.weights.expert_f, "expert_t": config.weights.expert_t, "prior": config.weights.prior}
    parts = {"expert_f": ("expert_f",), "expert_t": ("expert_t", "prior")}
    experts: list[Expert] = []
    for name in names:
        weights = {part: file_hash(given[part] or released(part)) for part in parts[name]}
        if name == "expert_t":
            weights["expert_f"] = file_hash(under_expert_t(config.weights.expert_t, config.weights.expert_f))
        experts.append(load_onnx(name, config.weights.onnx, weights, config.expert_t))
    return experts


def _experts(config: RestorerConfig, device: torch.device, bf16: bool) -> tuple[list[Expert], dict[str, Path]]:
    """The experts that may be needed, and the weight files under them by name.

    Raises:
        ConfigError: for knobs of an expert that does not run.
    """
    name, weights = config.expert.name, config.weights
    has_t = name in ("auto", "expert_t")
    if not has_t and config.expert_t != KnobsConfig(pool=False, code_smoothing=0.0):
        raise ConfigError(
            f"expert_t: got {config.expert_t}, but with expert.name={name} Expert-T does not run; "
            "give expert=expert_t, or leave its options out"
        )
    if name == "expert_t" and weights.expert_f and not weights.expert_t:
        raise ConfigError(
            f"weights.expert_f: got {weights.expert_f}, but the released Expert-T stands on the released Expert-F; "
            "give weights.expert_t=FILE that was trained over yours, or leave it out"
        )
    if name == "external":
        net = load_external(config.expert.file, "expert.file", device)
        return [ExternalExpert(net, config.expert.size)], {}
    experts: list[Expert] = []
    files: dict[str, Path] = {}
    if config.runtime == "onnx":
        if config.precision == "bf16":
            raise ConfigError("precision: got bf16 with runtime=onnx, which lacks it; give precision=fp32")
        return _onnx(config, ["expert_f"] * (name != "expert_t") + ["expert_t"] * has_t), files
    if name != "expert_t":
        experts.append(load_expert_f(weights.expert_f or None, device, bf16))
    if has_t:
        files["prior"] = Path(weights.prior) if weights.prior else released("prior")
        own = weights.expert_t or None, files["prior"], under_expert_t(weights.expert_t, weights.expert_f)
        experts.append(load_expert_t(*own, config.expert_t, device, bf16))
    return experts, files
