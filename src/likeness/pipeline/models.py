"""Loads what the pipeline needs, once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch

from likeness.compat import cpu_has_bf16
from likeness.errors import ConfigError
from likeness.nets.face_embedder import load_embedder, weights_file
from likeness.nets.gate import Gate
from likeness.nets.obstructions import ObstructionNet
from likeness.nets.recogniser import open_recogniser
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.state import Models
from likeness.stages.background.registry import BACKGROUNDS, BackgroundOptions
from likeness.stages.detect.registry import DETECTORS, DetectorOptions
from likeness.stages.identity import Recogniser, guard_bounds, read_calibration
from likeness.stages.profile import read_quality
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.stages.restore.registry import EXPERTS, ExpertOptions
from likeness.stages.route import RouteBounds
from likeness.weights.files import file_hash
from likeness.weights.int8 import int8_runs
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

ROUTED = ("expert_f", "expert_t")  # the experts between which the route chooses


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


def same_models(a: RestorerConfig, b: RestorerConfig) -> bool:
    """Whether `load_models` returns the same networks for both."""

    def read(config: RestorerConfig) -> tuple[object, ...]:  # all that `load_models` reads
        c = config
        return (
            c.device, c.precision, c.runtime, c.detect, c.background, c.expert, c.expert_t, c.weights, c.learned_gate,
            c.guard.recogniser, c.marks_obstructions, c.takes_int8,
        )  # fmt: skip

    return read(a) == read(b)


def load_models(config: RestorerConfig) -> Models:
    """Detector, experts, embedder, background and bounds, on the configured device.

    Raises:
        ConfigError: for an unusable device, or options that do not fit together.
        WeightsError: where a file is missing or does not fit.
    """
    device = pick_device(config.device)
    calibration = Path(config.weights.calibration) if config.weights.calibration else released("calibration")
    fitted = read_calibration(calibration)
    files = {"embedder": weights_file(), "calibration": calibration, "quality": released("quality")}
    detector, detect = DETECTORS[config.detect.name], DetectorOptions(config.detect, device)
    background, beyond = BACKGROUNDS[config.background.name], BackgroundOptions(config.background, device)
    names, options = _experts(config, device)
    files |= {**detector.files(detect), **background.files(beyond)}
    for name in names:
        files |= EXPERTS[name].files(options)
    gate = None
    if config.learned_gate:
        files["gate"] = Path(config.weights.gate) if config.weights.gate else released("gate")
        gate = cast(Gate, load_network("gate", files["gate"])[0].eval())
    obstructions = None
    if config.marks_obstructions:
        given = config.weights.obstructions
        files["obstructions"] = Path(given) if given else released("obstructions")
        obstructions = _load_obstructions(files["obstructions"], device)
    embedder = load_embedder().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recogniser: Recogniser = embedder
    if config.guard.recogniser:
        recogniser = open_recogniser(config.guard.recogniser, "guard.recogniser")
        files["recogniser"] = Path(config.guard.recogniser)
    _check_bounds(fitted["guard"].get("recogniser", ""), config.guard.recogniser, calibration)
    experts = [EXPERTS[name].load(options) for name in names]
    route = fitted["route"]
    return Models(
        detector=detector.load(detect),
        experts={expert.name: expert for expert in experts},
        embedder=embedder,
        recogniser=recogniser,
        guard_bounds=guard_bounds(fitted),
        route_bounds=RouteBounds(
            route["q_low"], route["detail_low"], route["blockiness_high"], route["noise_high"]
        ),
        quality=read_quality(files["quality"]),
        background=background.load(beyond),
        gate=gate,
        obstructions=obstructions,
        hashes={expert.name: expert.sha256 for expert in experts} | {n: file_hash(file) for n, file in files.items()},
    )  # fmt: skip


def _load_obstructions(file: Path, device: torch.device) -> ObstructionNet:
    net = load_network("obstructions", file)[0].to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(ObstructionNet, net.eval().requires_grad_(False))


def _experts(config: RestorerConfig, device: torch.device) -> tuple[tuple[str, ...], ExpertOptions]:
    """The names of the experts that may run, and what they load from.

    Raises:
        ConfigError: for options of an expert that does not run, or bf16 with ONNX Runtime.
    """
    names = ROUTED if config.expert.name == "auto" else (config.expert.name,)
    if "expert_t" not in names and config.expert_t != KnobsConfig(pool=False, code_smoothing=0.0):
        raise ConfigError(
            f"expert_t: got {config.expert_t}, but with expert.name={config.expert.name} Expert-T does not run; "
            "give expert=expert_t, or leave its options out"
        )
    int8 = config.takes_int8 and device.type == "cpu" and int8_runs()
    bf16 = config.runtime != "onnx" and computes_in_bf16(config.precision, device)
    if config.runtime == "onnx" and config.precision == "bf16":
        raise ConfigError("precision: got bf16 with runtime=onnx, which lacks it; give precision=fp32")
    onnx = config.weights.onnx if config.runtime == "onnx" else ""
    return names, ExpertOptions(config.expert, config.expert_t, asdict(config.weights), onnx, int8, device, bf16)


def _check_bounds(fitted: str, given: str, calibration: Path) -> None:
    """The guard's bounds must have been fitted with the recogniser that it uses.

    Args:
        fitted: sha256 of the recogniser in the calibration, "" for the embedder.
        given: the user's file, "" for the embedder.
        calibration: the file with the bounds.

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
            f"weights.calibration: {calibration} was fitted with another recogniser (sha256 {fitted[:12]}...); "
            "give it as guard.recogniser=FILE"
        )
