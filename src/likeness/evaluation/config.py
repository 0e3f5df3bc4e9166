"""The options of an evaluation; a misspelt key or a value of the wrong type fails before any work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from likeness.data.degradations.recipes import RECIPES
from likeness.data.degradations.video import CLIP_RECIPES
from likeness.errors import ConfigError

ALL_RECIPES = ("gfpgan", "heavy", "mild", "clean")


@dataclass
class BenchmarkConfig:
    """Which faces.

    Attributes:
        name: faces, fairness, lfw, lfw_frames, real or video.
        count: lfw, lfw_frames: how many images of the sorted list.
        mean_landmarks: lfw: five x y points, used where no face is found.
        verification: lfw: View 2's protocol, too.
        frames: video: so many of each clip; None for all.
        groups: video: file name to group, where clips share people.
        variants: video: name of a row to the options of infer.py by which it differs from `pipeline`.
        widths: faces: instead of the crops, photos of faces of these widths in pixels.
    """

    name: str = "faces"
    count: int = 1000
    mean_landmarks: list[list[float]] = field(default_factory=list)
    verification: bool = False
    frames: int | None = None
    groups: dict[str, str] = field(default_factory=dict)
    variants: dict[str, list[str]] = field(default_factory=dict)
    widths: list[float] = field(default_factory=list)


@dataclass
class DataConfig:
    """Where data lies.

    Attributes:
        root: the data folder (`faces/`, `lfw/`, `judge/`, `backbones/`); from LIKENESS_DATA.
        lfw: the LFW folder; by default `lfw` below `root`.
        clips: the clips with their index; by default `clips_good` below `root`.
        photos: poor photos; by default `real_photos` below `root`.
    """

    root: str | None = None
    lfw: str | None = None
    clips: str | None = None
    photos: str | None = None


@dataclass
class WeightsConfig:
    """Weight files; None takes the released one, or for `lpips` the one that is found.

    Attributes:
        expert_f: Expert-F.
        expert_t: Expert-T.
        prior: the codebook prior.
        srnet: the plain baseline.
        gate: the learned gate.
        lpips: torchvision's SqueezeNet 1.1.
    """

    expert_f: str | None = None
    expert_t: str | None = None
    prior: str | None = None
    srnet: str | None = None
    gate: str | None = None
    lpips: str | None = None


@dataclass
class ExternalConfig:
    """A published restorer, for the method `external`.

    Attributes:
        weights: a file that spandrel can load.
        size: edge of the crops that it reads; None: 512 over its factor.
    """

    weights: str | None = None
    size: int | None = None


@dataclass
class EvaluateConfig:
    """All options of `evaluate`.

    Attributes:
        benchmark: which faces.
        data: where they lie.
        weights: of methods and metrics.
        external: a published restorer of the user's.
        recipe: a named degradation, or `all`.
        methods: rows of the tables.
        limit: at most so many faces, spread over the set; None for all.
        seed: of the degradations and the bootstrap.
        judge: ONNX recogniser; None takes the one in the data folder.
        judge_flip: add the mirrored view's embedding.
        device: torch device of networks.
        batch_size: faces at a time.
        cache: folder for detected landmarks and finished parts.
        keep: leave the parts there when all is done: with another gate, only what it chooses is made anew.
        output: folder for the results.
        sheets: folder for the best, middle and worst faces of every method; None writes none.
    """

    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    external: ExternalConfig = field(default_factory=ExternalConfig)
    recipe: str = "gfpgan"
    methods: list[str] = field(default_factory=lambda: ["input", "expert_f"])
    limit: int | None = None
    seed: int = 0
    judge: str | None = None
    judge_flip: bool = True
    device: str = "cpu"
    batch_size: int = 8
    cache: str = "outputs/cache"
    keep: bool = False
    output: str = "experiments/evaluation"
    sheets: str | None = None

    def __post_init__(self) -> None:
        known = ("all", *CLIP_RECIPES) if self.benchmark.name == "video" else ("all", "clean", *RECIPES)
        if self.recipe not in known:
            raise ConfigError(f"recipe: got '{self.recipe}', expected one of {', '.join(known)}")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size: got {self.batch_size}, expected at least 1")
        if self.benchmark.verification and self.benchmark.name != "lfw":
            raise ConfigError(
                f"benchmark.verification: got true with benchmark={self.benchmark.name}, which has no pairs; expected "
                "benchmark=lfw"
            )
        if self.benchmark.widths and self.benchmark.name != "faces":
            raise ConfigError(
                f"benchmark.widths: got them with benchmark={self.benchmark.name}; expected benchmark=faces"
            )

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes to run."""
        return ALL_RECIPES if self.recipe == "all" else (self.recipe,)


def from_hydra(cfg: DictConfig) -> EvaluateConfig:
    """Checks a composed configuration against the options.

    Raises:
        ConfigError: on an unknown key or a value that does not fit.
    """
    try:
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(EvaluateConfig), cfg))
    except OmegaConfBaseException as error:
        what = f"{error.full_key}: {str(error).splitlines()[0]}"
        raise ConfigError(f"evaluate: {what}; configs/evaluate.yaml lists the options") from error
    return cast(EvaluateConfig, made)
