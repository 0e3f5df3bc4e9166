"""Probes Expert-T's content and quality tokens and its knobs: `python experiments/expert_t/token_probe.py`.

On held-out real faces: what linear probes read from each kind of token, what swapping and replacing quality tokens
changes, and what the knobs change. A view is one degradation of one face.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.data.degradations.stills import degrade
from likeness.data.faces import Split, read_face
from likeness.errors import DataError, InputError
from likeness.evaluation.benchmarks.faces import face_folder, real_faces
from likeness.evaluation.report.provenance import write_markdown
from likeness.evaluation.report.statistics import Interval, difference, mean, percent
from likeness.evaluation.report.tables import interval_text
from likeness.metrics.identity import Embed, embedding_distance
from likeness.metrics.images import halve, round8
from likeness.metrics.lpips import Lpips, load_lpips
from likeness.metrics.sharpness import laplacian_variance
from likeness.nets.expert_t import ExpertT
from likeness.nets.expert_t_data import Encoded, Frozen, Knobs, Tokens
from likeness.nets.face_embedder import load_embedder
from likeness.ops.tensors import to_float_tensor
from likeness.stages.restore.expert_t import load_expert_t
from likeness.tasks import arguments

BATCH = 8
SETTINGS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of each knob


@dataclass
class TokenProbeOptions:
    """Options of the command.

    Attributes:
        root: folder of aligned faces with a manifest; by default LIKENESS_DATA/faces.
        dst: the Markdown file to write.
        expert_t, prior, expert_f: weight files; by default the released ones.
        faces: real ones of `val`, spread evenly; and as many of `calib` for the mean tokens.
        recipes: the views; `clean` must be one of them.
        seed: of the degradations.
    """

    root: str = ""
    dst: str = "experiments/expert_t/token_probe.md"
    expert_t: str = ""
    prior: str = ""
    expert_f: str = ""
    faces: int = 60
    recipes: list[str] = field(default_factory=lambda: ["clean", "mild", "gfpgan", "heavy"])
    seed: int = 0


@dataclass(frozen=True)
class Views:
    """Faces under degradations, and Expert-T's tokens of them.

    Attributes:
        truths: (N, 3, 256, 256) in [0, 1].
        inputs: by recipe, (N, 3, 256, 256).
        tokens_of, encoded: by recipe, one batch after another.
    """

    truths: Tensor
    inputs: Mapping[str, Tensor]
    tokens_of: Mapping[str, Sequence[Tokens]]
    encoded: Mapping[str, Sequence[Encoded]]

    def tokens(self, recipe: str, kind: str) -> Tensor:
        """(N, tokens, width) of all faces; `kind` is content, quality or clean."""
        return torch.cat([getattr(r, kind) for r in self.tokens_of[recipe]])


def views_of(net: ExpertT, frozen: Frozen, root: Path, split: Split, options: TokenProbeOptions) -> Views:
    """Real faces of a split under every recipe.

    Raises:
        DataError: if the split has none.
    """
    pixels = [read_face(root, record, 256) for record in real_faces(root, options.faces, split)]
    inputs = {}
    for k, recipe in enumerate(options.recipes):
        generators = [np.random.default_rng([options.seed, k, i]) for i in range(len(pixels))]
        inputs[recipe] = _tensor([degrade(p, recipe, g)[0] for p, g in zip(pixels, generators, strict=True)])
    return read_views(net, frozen, _tensor(pixels), inputs)


def _tensor(pixels: Sequence[np.ndarray]) -> Tensor:
    return to_float_tensor(torch.from_numpy(np.stack(pixels)))


@torch.inference_mode()
def read_views(net: ExpertT, frozen: Frozen, truths: Tensor, inputs: Mapping[str, Tensor]) -> Views:
    """Reads every view once."""
    tokens_of: dict[str, list[Tokens]] = {}
    encoded: dict[str, list[Encoded]] = {}
    for recipe, crops in inputs.items():
        for part in crops.split(BATCH):
            features = net.encode(part, frozen)
            encoded.setdefault(recipe, []).append(features)
            tokens_of.setdefault(recipe, []).append(net.tokenize(features))
    return Views(truths, inputs, tokens_of, encoded)


@torch.inference_mode()
def render(net: ExpertT, frozen: Frozen, views: Views, recipe: str, quality: Tensor) -> Tensor:
    """The faces of a view with the given quality tokens, (N, K, width) or (K, width).

    Returns:
        (N, 3, 256, 256), rounded to 8 bits.
    """
    every = quality.expand(len(views.truths), -1, -1) if quality.ndim == 2 else quality
    images = []
    batches: Iterator[tuple[Tokens, Encoded, Tensor]] = zip(
        views.tokens_of[recipe], views.encoded[recipe], every.split(BATCH), strict=True
    )
    for tokens, encoded, part in batches:
        out = net.decode(tokens, part, encoded, frozen.prior, Knobs())
        images.append(round8(halve(out.image.clamp(0, 1).contiguous())))
    return torch.cat(images)


@dataclass(frozen=True)
class Probe:
    """Accuracy of linear probes.

    Attributes:
        identity: fraction of faces classified as themselves in a degradation that the probe was not trained on.
        degradation: fraction of views whose recipe is classified correctly, on faces that the probe was not trained on.
        chance: of both, by guessing.
    """

    identity: float
    degradation: float
    chance: tuple[float, float]


def probe(views: Views, kind: str) -> Probe:
    """Ridge classifiers on the flattened tokens of one kind (scikit-learn; regularisation by leave-one-out).

    Raises:
        InputError: with fewer than three recipes or four faces: nothing would be left to test on.
    """
    from sklearn.linear_model import RidgeClassifierCV  # a development dependency
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    recipes, count = list(views.inputs), len(views.truths)
    if len(recipes) < 3 or count < 4:
        raise InputError(f"probe: got {count} faces under {len(recipes)} recipes, expected at least 4 under 3")
    tokens = {recipe: views.tokens(recipe, kind).flatten(1).cpu().numpy() for recipe in recipes}
    faces = np.arange(count)
    identity = []
    for left_out in recipes:  # each degradation once as the unseen one
        others = [r for r in recipes if r != left_out]
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-2, 5, 8)))
        model.fit(np.concatenate([tokens[r] for r in others]), np.tile(faces, len(others)))
        identity.append(model.score(tokens[left_out], faces))
    degradation = []
    labels = np.repeat(np.arange(len(recipes)), count)
    stacked, people = np.concatenate([tokens[r] for r in recipes]), np.tile(faces, len(recipes))
    for half in (0, 1):
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-2, 5, 8)))
        inside = people % 2 == half
        model.fit(stacked[inside], labels[inside])
        degradation.append(model.score(stacked[~inside], labels[~inside]))
    return Probe(float(np.mean(identity)), float(np.mean(degradation)), (1 / count, 1 / len(recipes)))


def swap_people(net: ExpertT, frozen: Frozen, views: Views, recipe: str, embed: Embed) -> Interval:
    """Growth of the distance to the own clean face when each face is given the next one's quality tokens."""
    quality = views.tokens(recipe, "quality")
    truth = embed(views.truths)
    swapped, kept = [
        embedding_distance(embed(render(net, frozen, views, recipe, tokens)), truth).cpu().double().numpy()
        for tokens in (quality.roll(-1, 0), quality)
    ]
    return difference(swapped, kept)


def swap_views(net: ExpertT, frozen: Frozen, views: Views, content: str, donor: str) -> Interval:
    """Sharpness of a face whose quality tokens come from another view, against the donor's own rendering, in percent.

    0 = as sharp as the donor. Sharpness is the standard deviation of the Laplacian.
    """
    quality = views.tokens(donor, "quality")
    swapped, donors = (
        laplacian_variance(render(net, frozen, views, recipe, quality)).sqrt().cpu().double().numpy()
        for recipe in (content, donor)
    )
    return percent(swapped, donors)


def replace_quality(net: ExpertT, frozen: Frozen, views: Views, recipe: str, quality: Tensor, lpips: Lpips) -> Interval:
    """Growth of LPIPS to the input's own picture when it is rendered with other quality tokens than its own."""
    inputs = views.inputs[recipe]

    def cost(tokens: Tensor) -> np.ndarray:
        image = render(net, frozen, views, recipe, tokens)
        with torch.inference_mode():
            parts = [lpips(a, b) for a, b in zip(image.split(BATCH), inputs.split(BATCH), strict=True)]
        return torch.cat(parts).cpu().double().numpy()

    return difference(cost(quality), cost(views.tokens(recipe, "quality")))


def average(views: Views, kind: str = "quality") -> Tensor:
    """The mean tokens over all faces and views, (K, width)."""
    return torch.cat([views.tokens(recipe, kind) for recipe in views.inputs]).mean(0)


def token_table(
    net: ExpertT, frozen: Frozen, views: Views, mean_quality: Tensor, embed: Embed, lpips: Lpips
) -> list[str]:
    """The four measurements as Markdown."""
    recipes = list(views.inputs)
    lines = ["| tokens | identity | degradation |", "|---|---|---|"]
    for kind in ("content", "quality"):
        result = probe(views, kind)
        lines.append(f"| {kind} | {result.identity:.1%} | {result.degradation:.1%} |")
    lines += [f"| guessing | {result.chance[0]:.1%} | {result.chance[1]:.1%} |", "", "| measured | on | value | bar |"]
    lines.append("|---|---|---|---|")
    for recipe in recipes:
        change = interval_text(swap_people(net, frozen, views, recipe, embed), "+.3f")
        lines.append(f"| quality of another person: distance to the own face | {recipe} | {change} | < 0.05 |")
    for degraded in (r for r in recipes if r != "clean"):
        for content, donor in ((degraded, "clean"), ("clean", degraded)):
            change = interval_text(swap_views(net, frozen, views, content, donor), "+.1f")
            what = f"{content} content, {donor} quality"
            lines.append(f"| sharpness against the donor's own, % | {what} | {change} | within 15 |")
    for i, recipe in enumerate(recipes):
        other = recipes[(i + len(recipes) // 2) % len(recipes)]
        replacements = {"the mean over calib": mean_quality, f"that of {other}": views.tokens(other, "quality")}
        for name, quality in replacements.items():
            change = interval_text(replace_quality(net, frozen, views, recipe, quality, lpips), "+.3f")
            lines.append(f"| quality replaced by {name}: LPIPS | {recipe} | {change} | >= 0.03 |")
    return lines


@torch.inference_mode()
def knob_table(net: ExpertT, frozen: Frozen, views: Views, recipe: str, embed: Embed) -> list[str]:
    """Effect of each setting of a knob on one recipe's faces, as Markdown."""
    inputs, truth = embed(views.inputs[recipe]), embed(views.truths)
    lines = ["| knob | at | distance to the input | distance to the truth | sharpness ratio to the truth |"]
    lines.append("|---|---|---|---|---|")
    knobs: dict[str, Callable[[float], Knobs]] = {
        "fidelity": lambda value: Knobs(fidelity=value),
        "quality": lambda value: Knobs(quality=value),
    }
    for name, knob in knobs.items():
        for value in SETTINGS:
            parts = [net(x, frozen, knob(value)).image.clamp(0, 1) for x in views.inputs[recipe].split(BATCH)]
            images = round8(halve(torch.cat(parts).contiguous()))
            embeddings = embed(images)
            ratio = (laplacian_variance(images) / laplacian_variance(views.truths)).sqrt()
            figures = [*(embedding_distance(embeddings, other) for other in (inputs, truth)), ratio]
            means = [f"{mean(f.cpu().double().numpy()).value:.3f}" for f in figures]
            lines.append(f"| {name} | {value:g} | {' | '.join(means)} |")
    return lines


def run(options: TokenProbeOptions) -> None:
    """Measures, prints and writes.

    Raises:
        DataError: where no faces are named or there are none, or no view is clean.
        OutputError: if the file cannot be written.
    """
    root = face_folder(options.root)
    if "clean" not in options.recipes or len(options.recipes) < 3:
        raise DataError(f"recipes: got {options.recipes}, expected clean and at least two more")
    expert = load_expert_t(options.expert_t or None, options.prior or None, options.expert_f or None)
    net, frozen, embed = expert.net, expert.frozen, load_embedder().embed_aligned
    mean_quality = average(views_of(net, frozen, root, "calib", options))
    views = views_of(net, frozen, root, "val", options)
    lines = token_table(net, frozen, views, mean_quality, embed, load_lpips())
    for recipe in (r for r in options.recipes if r != "clean"):
        lines += ["", f"## Knobs on {recipe}", "", *knob_table(net, frozen, views, recipe, embed)]
    facts = {"weights": expert.sha256, "faces": len(views.truths)}
    write_markdown(Path(options.dst), "Content and quality", lines, facts)
    print("\n".join(lines))


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return arguments.main(TokenProbeOptions, run, words, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
