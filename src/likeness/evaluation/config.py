"""The options of an evaluation and their defaults; the files under configs/benchmark hold what differs by benchmark."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
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
        name: faces, fairness, lfw, lfw_frames, pictures, real or video.
        count: lfw, lfw_frames, pictures: how many images of the sorted list.
        verification: lfw: View 2's protocol as well, which takes about as long again.
        frames: video: so many of each clip; None = all.
        groups: video: file name to group, where clips share people.
        variants: video, pictures: name of a row to the options of infer.py by which it differs from the defaults.
        widths: faces: instead of the crops, photos of faces of these widths in pixels, so that every route is taken.
    """

    name: str = "faces"
    count: int = 1000
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
        lfw: folder with pairsDevTest.txt and pairs.txt; by default `lfw` below `root`.
        clips: folder of clips with index.csv (columns file, factor); by default `clips_good` below `root`.
        photos: degraded photos; by default `real_photos` below `root`.
    """

    root: str | None = None
    lfw: str | None = None
    clips: str | None = None
    photos: str | None = None

    def folder(self, named: str | None, below: str) -> Path | None:
        """The folder that was named, or `below` the root; None where no data is named."""
        if named:
            return Path(named)
        return Path(self.root) / below if self.root else None


@dataclass
class WeightsConfig:
    """Weight files; None = the released one, or for `lpips` the one that is found.

    Attributes:
        expert_f: Expert-F.
        expert_t: Expert-T.
        prior: the codebook prior.
        srnet: the plain baseline.
        gate: the learned gate.
        lpips: torchvision's SqueezeNet 1.1; by default in $LIKENESS_DATA/backbones or torchvision's cache.
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
        recipe: a named degradation, or `all`: gfpgan, heavy, mild, clean (video: weak, strong).
        methods: rows of the tables: input (bicubic), lanczos, unsharp, srnet, prior, expert_f, expert_t, external;
            Expert-T's knobs: expert_t_fidelity_0, _25, _75, _1, expert_t_hard; with expert_t, expert_f and input: rule
            (the router's choice of an expert), gate, oracle (the cheapest of the three).
        limit: at most so many faces, spread over the set; None = all.
        seed: of the degradations and the bootstrap; another one is another test set.
        judge: ONNX recogniser that took no part in training; None = $LIKENESS_DATA/judge/*.onnx.
        judge_flip: add the mirrored view's embedding; without it the judge takes half the time.
        device: torch device of networks.
        batch_size: faces at a time; decides memory, not results.
        cache: folder for detected landmarks, degraded clips and finished parts.
        keep: leave finished parts there when all is done; with another gate, only its row is computed anew.
        output: folder for the results; empty = experiments/evaluation/BENCHMARK-RECIPE.
        sheets: folder for the best, middle and worst faces of every method; empty =
            outputs/evaluation/BENCHMARK-RECIPE, None = none are written.
    """

    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    external: ExternalConfig = field(default_factory=ExternalConfig)
    recipe: str = "gfpgan"
    methods: list[str] = field(default_factory=lambda: ["input", "expert_f", "expert_t"])
    limit: int | None = None
    seed: int = 0
    judge: str | None = None
    judge_flip: bool = True
    device: str = "cpu"
    batch_size: int = 8
    cache: str = "outputs/cache"
    keep: bool = False
    output: str = ""
    sheets: str | None = ""

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
        if self.recipe != "all":
            return (self.recipe,)
        return tuple(CLIP_RECIPES) if self.benchmark.name == "video" else ALL_RECIPES

    @property
    def output_folder(self) -> Path:
        """Where the results go."""
        return Path(self.output or f"experiments/evaluation/{self.benchmark.name}-{self.recipe}")

    @property
    def sheets_folder(self) -> Path | None:
        """Where the sheets go; None = nowhere."""
        if self.sheets is None:
            return None
        return Path(self.sheets or f"outputs/evaluation/{self.benchmark.name}-{self.recipe}")

    @property
    def method_weights(self) -> dict[str, str | None]:
        """Weight file by name of the network."""
        return {**asdict(self.weights), "external": self.external.weights}


def from_hydra(cfg: DictConfig) -> EvaluateConfig:
    """Turns a composed configuration into the dataclasses, which check their values.

    Raises:
        ConfigError: on an unknown key or a value that does not fit.
    """
    try:
        options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(EvaluateConfig), cfg))
    except OmegaConfBaseException as error:
        what = f"{error.full_key}: {str(error).splitlines()[0]}"
        raise ConfigError(f"evaluate: {what}; likeness.evaluation.config lists the options") from error
    return cast(EvaluateConfig, options)
