"""Every option of a restoration, with the only defaults there are.

Hydra's configs and the console command's dotted overrides fill these same dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from likeness.errors import ConfigError
from likeness.pipeline.presets import DEFAULT, read_preset
from likeness.stages.background.base import UPSCALES, BackgroundConfig
from likeness.stages.background.registry import BACKGROUNDS
from likeness.stages.composite import CompositeConfig
from likeness.stages.detect.base import DetectConfig
from likeness.stages.detect.registry import DETECTORS
from likeness.stages.identity import GuardConfig
from likeness.stages.repair.base import RepairConfig
from likeness.stages.repair.inpainters import INPAINTERS
from likeness.stages.restore.base import ExpertConfig
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.stages.restore.onnx import RUNTIMES
from likeness.stages.restore.registry import EXPERTS
from likeness.stages.route import GateOptions, RouteConfig
from likeness.stages.temporal.config import VideoConfig
from likeness.types import TimeRange

CODE_SMOOTHING = 0.5  # in clips, by default


@dataclass
class FacesConfig:
    """Which faces may be restored.

    Attributes:
        min, max: width in source pixels.
        only: "largest", the number of a face (0 = largest), or empty for all.
    """

    min: float | None = None
    max: float | None = None
    only: str = ""

    def __post_init__(self) -> None:
        if self.only and self.only != "largest" and not self.only.isdigit():
            raise ConfigError(f"faces.only: got {self.only!r}, expected largest or the number of a face (0 = largest)")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ConfigError(f"faces: got min={self.min} above max={self.max}")


@dataclass
class WeightsConfig:
    """Files that replace the released ones; empty means released.

    Attributes:
        expert_f: Expert-F. Expert-T builds on this file only if its own weights are named too, since it was trained
            with the released one.
        expert_t: Expert-T.
        prior: the codebook prior under it.
        gate: the learned gate.
        obstructions: the network that marks what lies over a face.
        calibration: bounds of guard and router.
        onnx: folder written by `likeness export format=onnx`, for runtime=onnx.
        lpips: torchvision's SqueezeNet features, for figures against a reference.
    """

    expert_f: str = ""
    expert_t: str = ""
    prior: str = ""
    gate: str = ""
    obstructions: str = ""
    calibration: str = ""
    onnx: str = ""
    lpips: str = ""


@dataclass
class RestorerConfig:
    """All options.

    Attributes:
        upscale: auto (photos 2, or 1 beyond 2000 px; videos and GIFs 1), 1, 2 or 4.
        strength: 0..1, fraction of the restored face; the rest is the input.
        start, end: seconds; only this part of a clip is restored and written.
        preview: seconds; restore only this much of a clip, from `start` on.
        resume: videos: keep finished segments until the result is complete; after a kill, the same command continues
            where the last segment ended.
        compare: auto (photos and GIFs), yes or no: write before | after.
        cards: number of faces on the sheet of cards, at most 24.
        best_frames: clips: number of pictures that are written of each face's best shots, at least a second apart.
        label: say in the result that a network made part of it: XMP in pictures, the comment in clips.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps.
        precision: auto (bf16 on CUDA, else fp32), fp32, bf16 or fast (bf16 wherever the processor has it).
        runtime: torch, onnx (ONNX Runtime on the CPU, needs weights.onnx) or auto (our experts in int8 where the CPU
            has VNNI or AMX and the extra onnx is installed, else torch).
        preset: name of the preset that the options start from; read by `from_overrides`, `from_json` and Hydra.
    """

    upscale: str = "auto"
    strength: float = 1.0
    start: float | None = None
    end: float | None = None
    preview: float | None = None
    resume: bool = False
    compare: str = "auto"
    cards: int = 24
    best_frames: int = 0
    label: bool = True
    device: str = "auto"
    precision: str = "auto"
    runtime: str = "torch"
    preset: str = DEFAULT
    faces: FacesConfig = field(default_factory=FacesConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    route: RouteConfig = field(default_factory=RouteConfig)
    gate: GateOptions = field(default_factory=GateOptions)
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    expert_t: KnobsConfig = field(default_factory=KnobsConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    composite: CompositeConfig = field(default_factory=CompositeConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    repair: RepairConfig = field(default_factory=RepairConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)

    def __post_init__(self) -> None:
        for registry, name in (
            (BACKGROUNDS, self.background.name),
            (DETECTORS, self.detect.name),
            (INPAINTERS, self.repair.inpainter),
        ):
            registry[name]  # raises for an unknown name
        if self.expert.name not in ("auto", *EXPERTS.names):
            raise ConfigError(f"expert.name: got {self.expert.name!r}, expected auto, {', '.join(EXPERTS.names)}")
        self.expert_t = self._with_temporal_defaults()
        if self.upscale not in UPSCALES:
            raise ConfigError(f"upscale: got {self.upscale!r}, expected auto, 1, 2 or 4")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength: got {self.strength}, expected 0 to 1")
        if self.preview is not None and (self.preview <= 0 or self.end is not None):
            raise ConfigError(
                f"preview: got {self.preview} with end={self.end}, expected seconds above 0, without end="
            )
        if (self.start or 0) < 0 or (self.end is not None and self.end <= (self.start or 0)):
            raise ConfigError(f"start, end: got {self.start} and {self.end}, expected seconds with 0 <= start < end")
        if self.compare not in ("auto", "yes", "no"):
            raise ConfigError(f"compare: got {self.compare!r}, expected auto, yes or no")
        if self.resume and self.compare == "yes":
            raise ConfigError("resume: got true with compare=yes, which is not written in segments; leave one out")
        if self.resume and self.video.fps:
            raise ConfigError(f"resume: got true with video.fps={self.video.fps}, whose pictures lie between segments")
        if not 0 <= self.cards <= 24:
            raise ConfigError(f"cards: got {self.cards}, expected 0 to 24")
        if not 0 <= self.best_frames <= 20:
            raise ConfigError(f"best_frames: got {self.best_frames}, expected 0 to 20")
        if self.gate.mode == "learned" and self.expert.name != "auto":
            raise ConfigError(
                f"gate.mode: got learned with expert.name={self.expert.name}, which leaves nothing to choose; "
                "leave one of them out"
            )
        if self.weights.gate and not self.learned_gate:
            raise ConfigError(
                f"weights.gate: got {self.weights.gate}, but with gate.mode={self.gate.mode} and "
                f"expert.name={self.expert.name} no gate chooses; leave one of them out"
            )
        self._check_runtime()
        if self.precision not in ("auto", "fp32", "bf16", "fast"):
            raise ConfigError(f"precision: got {self.precision!r}, expected auto, fp32, bf16 or fast")

    def _with_temporal_defaults(self) -> KnobsConfig:
        """Expert-T's options with unset ones resolved: smoothing over time where it is supported."""
        knobs = self.expert_t
        runs = self.expert.name in ("auto", "expert_t")
        pool = runs if knobs.pool is None else knobs.pool
        smooths = runs and (pool or self.runtime != "onnx")
        smoothing = knobs.code_smoothing
        if smoothing is None:
            smoothing = CODE_SMOOTHING if smooths else 0.0
        return replace(knobs, pool=pool, code_smoothing=smoothing)

    @property
    def learned_gate(self) -> bool:
        """Whether the gate decides about faces that are to be restored, or the rule does."""
        custom = self.weights.expert_f or self.weights.expert_t or self.weights.prior
        return self.gate.mode == "learned" or (
            self.gate.mode == "auto" and self.expert.name == "auto" and (not custom or bool(self.weights.gate))
        )

    @property
    def marks_obstructions(self) -> bool:
        """Whether the network is needed that marks what lies over a face or a picture."""
        return self.composite.protect or bool(self.repair.in_picture or self.repair.on_face)

    @property
    def takes_int8(self) -> bool:
        """Whether the experts run in int8 where the CPU multiplies it. Their graph reads no masks."""
        wanted = self.runtime == "auto" and self.precision in ("auto", "fast")
        return wanted and self._fits_graph and not self.repair.wanted

    @property
    def _fits_graph(self) -> bool:
        """Whether Expert-T's options are those that its ONNX graph has."""
        knobs = self.expert_t
        return knobs.lookup == "soft" and bool(knobs.pool or not knobs.code_smoothing)

    def _check_runtime(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ConfigError(f"runtime: got {self.runtime!r}, expected {', '.join(RUNTIMES)}")
        if self.runtime != "onnx":
            if self.weights.onnx:
                raise ConfigError(f"weights.onnx: got {self.weights.onnx}, but runtime={self.runtime} does not use it")
            return
        if not self.weights.onnx:
            raise ConfigError(
                f"runtime: got {self.runtime} without weights.onnx=DIR; write the folder with "
                "`likeness export format=onnx dst=DIR`"
            )
        if self.repair.wanted:
            raise ConfigError(f"repair: got {self.repair.name} with runtime={self.runtime}, whose graph reads no masks")
        if self.expert.name == "external" or self.device not in ("auto", "cpu"):
            raise ConfigError(
                f"runtime: got {self.runtime} with expert.name={self.expert.name} and device={self.device}; "
                "it runs our experts on the CPU; leave these out or give runtime=torch"
            )
        knobs = self.expert_t
        if not self._fits_graph:
            raise ConfigError(
                f"runtime: got {self.runtime} with expert_t.pool={knobs.pool}, "
                f"code_smoothing={knobs.code_smoothing}, lookup={knobs.lookup}; the graph smooths codes only with "
                "pool=true and has lookup=soft; leave these out or give runtime=torch"
            )


def time_range_of(config: RestorerConfig) -> TimeRange | None:
    """The part of a clip that the options select; None for all of it.

    Examples:
        >>> time_range_of(from_overrides(["start=1.5", "preview=2"]))
        TimeRange(start=Fraction(3, 2), end=Fraction(7, 2))
    """
    if config.start is None and config.end is None and config.preview is None:
        return None
    start = Fraction(str(config.start or 0))
    if config.preview is not None:
        return TimeRange(start, start + Fraction(str(config.preview)))
    return TimeRange(start, None if config.end is None else Fraction(str(config.end)))


def from_overrides(overrides: Sequence[str]) -> RestorerConfig:
    """Fills the dataclasses from `key=value` words such as `faces.min=60`; of a key given twice the last counts.

    `preset=NAME` comes first wherever it stands, as in Hydra: other words change what it sets.

    Values of text options are taken as they stand ("no" is a word, not a truth value, and a file may be
    called "1e3"); `null` empties an option that may be empty.

    Raises:
        ConfigError: for an unknown key or a value of the wrong kind.

    Examples:
        >>> config = from_overrides(["preset=speed", "faces.min=60"])
        >>> config.faces.min, config.video.effort
        (60.0, 'fast')
        >>> from_overrides(["faces.mim=60"])
        Traceback (most recent call last):
        likeness.errors.ConfigError: options: faces.mim=60: Key 'mim' not in 'FacesConfig'; see `likeness --help`
    """
    named = [word.partition("=")[2] for word in overrides if word.startswith("preset=")]
    node = OmegaConf.merge(OmegaConf.structured(RestorerConfig), read_preset(named[-1] if named else DEFAULT))
    for word in overrides:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ConfigError(f"options: got {word!r}, expected key=value such as upscale=2 or faces.min=60")
        try:
            OmegaConf.update(node, key, None if value == "null" else value)
        except OmegaConfBaseException as error:
            raise ConfigError(f"options: {word}: {str(error).splitlines()[0]}; see `likeness --help`") from error
    return to_config(node)


def to_json(config: RestorerConfig) -> str:
    """All options as JSON, for `from_json`."""
    return json.dumps(asdict(config), indent=1) + "\n"


def from_json(text: str) -> RestorerConfig:
    """The options that `to_json` wrote; missing options come from the preset it names.

    Raises:
        ConfigError: for text that is no JSON object, an unknown key or a value of the wrong kind.
    """
    try:
        stored = json.loads(text)
        if not isinstance(stored, dict):
            raise ConfigError(f"settings: got a JSON {type(stored).__name__}, expected an object of options")
        begun = read_preset(str(stored.get("preset", DEFAULT)))
        return to_config(OmegaConf.merge(OmegaConf.structured(RestorerConfig), begun, stored))
    except (json.JSONDecodeError, OmegaConfBaseException) as error:
        raise ConfigError(f"settings: {str(error).splitlines()[0]}; see RestorerConfig for the options") from error


def to_config(node: Any) -> RestorerConfig:
    """Turns a composed node into the dataclasses, which check their values.

    Raises:
        ConfigError: for a value that makes no sense, or OmegaConf's `???`.
    """
    try:
        return cast(RestorerConfig, OmegaConf.to_object(node))
    except OmegaConfBaseException as error:
        raise ConfigError(f"options: {str(error).splitlines()[0]}; see `likeness --help`") from error
