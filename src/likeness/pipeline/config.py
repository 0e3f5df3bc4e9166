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
from likeness.nets.gate import SURE
from likeness.pipeline.presets import DEFAULT, read_preset
from likeness.stages.background import UPSCALES, BackgroundConfig
from likeness.stages.composite import CompositeConfig
from likeness.stages.detect.base import DetectConfig
from likeness.stages.identity import GuardConfig
from likeness.stages.restore.base import ExpertConfig
from likeness.stages.restore.expert_t import KnobsConfig
from likeness.stages.restore.portable import RUNTIMES
from likeness.stages.route import RouteConfig
from likeness.stages.temporal.track import VideoConfig
from likeness.types import TimeRange

HOLD = 0.5  # how far a code must move to displace the last frame's, where clips do not say otherwise


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
class PipelineConfig:
    """How faces are sent to the experts.

    Attributes:
        gate: rule (width and sharpness), learned (a network that weighs both experts' cost), or auto: learned where the
            two released experts stand to choose from, which it was trained on, the rule elsewhere. For faces that are
            restored; whether one is restored at all stays with the rule.
        sure: 0..1, how probable the gate must find it that Expert-T is the better one, in photos (`video.sure`: in
            clips). Expert-F harms good faces less.
    """

    gate: str = "auto"
    sure: float = SURE

    def __post_init__(self) -> None:
        if self.gate not in ("auto", "rule", "learned"):
            raise ConfigError(f"pipeline.gate: got {self.gate!r}, expected auto, rule or learned")
        if not 0 <= self.sure <= 1:
            raise ConfigError(f"pipeline.sure: got {self.sure}, expected a probability from 0 to 1")


@dataclass
class WeightsConfig:
    """Files that replace the released ones; empty means released.

    Attributes:
        expert_f: Expert-F; where both experts run, Expert-T stands on this file only if its own weights are named, too:
            it knows the one that it was trained over.
        expert_t: Expert-T.
        prior: the codebook prior under it.
        gate: the learned gate.
        calibration: bounds of guard and router.
        onnx: folder that `likeness.tasks.export format=onnx` wrote, for `runtime`.
        lpips: torchvision's SqueezeNet features, for figures against a reference.
    """

    expert_f: str = ""
    expert_t: str = ""
    prior: str = ""
    gate: str = ""
    calibration: str = ""
    onnx: str = ""
    lpips: str = ""


@dataclass
class RestorerConfig:
    """All options.

    Attributes:
        upscale: auto (photos 2, or 1 beyond 2000 px; videos and GIFs 1), 1, 2 or 4.
        strength: 0..1, share of the restored face; the rest is the input.
        start, end: seconds; only this part of a clip is restored and written.
        preview: seconds; only so much of a clip, from `start` on.
        resume: videos: keep finished pieces beside the result until it is complete; the same command goes on after a
            kill where the last piece ended.
        compare: auto (photos and GIFs), yes or no: write before | after.
        cards: how many faces get a card, at most 24.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps.
        precision: auto (bf16 on CUDA, fp32 elsewhere), fp32, bf16 or fast (bf16 where the processor has it, too).
        runtime: torch, onnx (ONNX Runtime) or openvino: what runs the own experts, on the CPU; the latter two need
            weights.onnx.
        preset: name of the preset that the options began from; by itself it sets nothing here, `from_overrides`,
            `from_json` and Hydra read it.
    """

    upscale: str = "auto"
    strength: float = 1.0
    start: float | None = None
    end: float | None = None
    preview: float | None = None
    resume: bool = False
    compare: str = "auto"
    cards: int = 24
    device: str = "auto"
    precision: str = "auto"
    runtime: str = "torch"
    preset: str = DEFAULT
    faces: FacesConfig = field(default_factory=FacesConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    route: RouteConfig = field(default_factory=RouteConfig)
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    expert_t: KnobsConfig = field(default_factory=KnobsConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    composite: CompositeConfig = field(default_factory=CompositeConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)

    def __post_init__(self) -> None:
        self.expert_t = self._followed()
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
            raise ConfigError("resume: got true with compare=yes, which is not made in pieces; leave one of them out")
        if self.video.batch > 1 and (self.resume or self.expert_t.pool or self.expert_t.hold):
            raise ConfigError(
                f"video.batch: got {self.video.batch} with resume={self.resume}, expert_t.pool={self.expert_t.pool}, "
                f"hold={self.expert_t.hold}; expected 1, as each frame waits for the one before"
            )
        if not 0 <= self.cards <= 24:
            raise ConfigError(f"cards: got {self.cards}, expected 0 to 24")
        if self.pipeline.gate == "learned" and self.expert.name != "auto":
            raise ConfigError(
                f"pipeline.gate: got learned with expert.name={self.expert.name}, which leaves nothing to choose; "
                "leave one of them out"
            )
        if self.weights.gate and not self.learned_gate:
            raise ConfigError(
                f"weights.gate: got {self.weights.gate}, but with pipeline.gate={self.pipeline.gate} and "
                f"expert.name={self.expert.name} no gate chooses; leave one of them out"
            )
        self._check_runtime()
        if self.precision not in ("auto", "fp32", "bf16", "fast"):
            raise ConfigError(f"precision: got {self.precision!r}, expected auto, fp32, bf16 or fast")

    def _followed(self) -> KnobsConfig:
        """Expert-T's options with those settled that were left open: faces are followed where they can be."""
        k = self.expert_t
        able = self.expert.name in ("auto", "expert_t") and self.video.batch == 1
        pool = able if k.pool is None else k.pool
        holds = able and (pool or self.runtime == "torch")
        return replace(k, pool=pool, hold=(HOLD if holds else 0.0) if k.hold is None else k.hold)

    @property
    def learned_gate(self) -> bool:
        """Whether the gate chooses between the experts, or the rule does."""
        own = self.weights.expert_f or self.weights.expert_t or self.weights.prior
        return self.pipeline.gate == "learned" or (
            self.pipeline.gate == "auto" and self.expert.name == "auto" and (not own or bool(self.weights.gate))
        )

    def _check_runtime(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ConfigError(f"runtime: got {self.runtime!r}, expected {', '.join(RUNTIMES)}")
        if self.runtime == "torch":
            if self.weights.onnx:
                raise ConfigError(f"weights.onnx: got {self.weights.onnx}, but runtime=torch does not use it")
            return
        if not self.weights.onnx:
            raise ConfigError(
                f"runtime: got {self.runtime} without weights.onnx=DIR; write the folder with "
                "`python -m likeness.tasks.export format=onnx dst=DIR`"
            )
        if self.expert.name == "external" or self.device not in ("auto", "cpu"):
            raise ConfigError(
                f"runtime: got {self.runtime} with expert.name={self.expert.name} and device={self.device}; "
                "it runs the own experts on the CPU; leave them out or give runtime=torch"
            )
        knobs = self.expert_t
        if (knobs.hold and not knobs.pool) or knobs.lookup != "soft":
            raise ConfigError(
                f"runtime: got {self.runtime} with expert_t.pool={knobs.pool}, hold={knobs.hold}, "
                f"lookup={knobs.lookup}; its graph holds codes only where it pools, and looks them up softly; "
                "leave them out or give runtime=torch"
            )


def part_of(config: RestorerConfig) -> TimeRange | None:
    """The part of a clip that the options name; None for all of it."""
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
    """The options that `to_json` wrote; what is not there is as the preset that it names has it.

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
    """Turns a composed node into the dataclasses, which check their values."""
    return cast(RestorerConfig, OmegaConf.to_object(node))
