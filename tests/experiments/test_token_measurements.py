"""The token measurements on networks that separate content and quality perfectly, or not at all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.expert_t.token_probe import (
    Views,
    average,
    probe,
    read_views,
    render,
    replace_quality,
    swap_people,
    swap_views,
)
from likeness.errors import InputError
from likeness.nets.expert_t_data import Tokens

CHECKER = torch.tensor([[1.0, 1, -1, -1], [1, 1, -1, -1], [-1, -1, 1, 1], [-1, -1, 1, 1]]).repeat(128, 128)
AMPLITUDES = {"clean": 0.2, "mild": 0.1, "heavy": 0.02}  # of the checker, which stands for texture


class Drawn(NamedTuple):
    image: Tensor


class Stub:
    """Content is the face's colours on a grid, quality the amplitude of its texture.

    With `leak` content keeps the texture and quality changes nothing.
    """

    def __init__(self, leak: bool = False) -> None:
        self.leak = leak

    def encode(self, x: Tensor, frozen: Any) -> Any:
        return (x,)

    def tokenize(self, encoded: Any) -> Tokens:
        (x,) = encoded
        grid = F.avg_pool2d(x, 16).flatten(2).transpose(1, 2)
        texture = (x - F.interpolate(F.avg_pool2d(x, 16), (256, 256))).abs().mean((1, 2, 3))
        # With its square, so that three amplitudes can be told apart by lines.
        quality = torch.stack([texture, 10 * texture.square()], 1)[:, None]
        content = torch.cat([grid, quality.expand(-1, 256, 2)], 2) if self.leak else grid
        return Tokens(content, quality, quality, (x, x, x))

    def decode(self, tokens: Tokens, quality: Tensor, encoded: Any, prior: Any, knobs: Any) -> Drawn:
        colours = tokens.content[..., :3].transpose(1, 2).reshape(-1, 3, 16, 16)
        amplitude = (tokens.content[:, :1, 3:] if self.leak else quality)[..., :1]
        return Drawn(F.interpolate(colours, (512, 512)) + CHECKER * amplitude[..., None])


class NoFrozen(NamedTuple):
    prior: None = None


def views_for(net: Stub, faces: int = 12) -> Views:
    rng = torch.Generator().manual_seed(0)
    colours = 0.3 + 0.4 * torch.rand(faces, 3, 16, 16, generator=rng)
    # Each view has its own light, and a texture of about its recipe's amplitude.
    inputs = {}
    for recipe, amplitude in AMPLITUDES.items():
        own = amplitude * (0.9 + 0.2 * torch.rand(faces, 1, 1, 1, generator=rng))
        inputs[recipe] = F.interpolate(colours, (256, 256)) + CHECKER[::2, ::2] * own
    return read_views(net, NoFrozen(), inputs["clean"], inputs)  # type: ignore[arg-type]


def colour(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 64).flatten(1)


@pytest.fixture(scope="module")
def views() -> Views:
    return views_for(Stub())


def test_rendering_with_own_tokens_returns_the_view(views: Views) -> None:
    for recipe, crops in views.inputs.items():
        images = render(Stub(), NoFrozen(), views, recipe, views.tokens(recipe, "quality"))  # type: ignore[arg-type]
        torch.testing.assert_close(images, crops, atol=0.01, rtol=0)


def test_probe_accuracy_is_high_for_the_matching_tokens_only(views: Views) -> None:
    content, quality = probe(views, "content"), probe(views, "quality")
    assert content.identity == 1
    assert content.degradation < 0.6
    assert quality.degradation == 1
    assert quality.identity < 0.4
    assert content.chance == (1 / 12, 1 / 3)


def test_probe_detects_a_leak() -> None:
    assert probe(views_for(Stub(leak=True)), "content").degradation > 0.9


def test_too_few_views_are_refused(views: Views) -> None:
    few = Views(views.truths, dict(list(views.inputs.items())[:2]), views.tokens_of, views.encoded)
    with pytest.raises(InputError, match="12 faces under 2 recipes"):
        probe(few, "content")


def test_quality_of_another_person_keeps_identity(views: Views) -> None:
    moved = swap_people(Stub(), NoFrozen(), views, "heavy", colour)  # type: ignore[arg-type]
    assert abs(moved.value) < 0.01
    texture = swap_people(Stub(), NoFrozen(), views, "clean", lambda x: 20 * x[:, :, :8, :8].flatten(1))  # type: ignore[arg-type]
    assert texture.value > 0.05, "an embedder of texture must notice"


@pytest.mark.parametrize("leak", [False, True])
def test_sharpness_follows_the_donor_unless_quality_is_ignored(leak: bool) -> None:
    net = Stub(leak)
    change = swap_views(net, NoFrozen(), views_for(net), "clean", "heavy")  # type: ignore[arg-type]
    if leak:
        assert change.value > 50
    else:
        assert abs(change.value) < 3


@pytest.mark.parametrize("leak", [False, True])
def test_replaced_quality_costs_unless_it_is_ignored(leak: bool) -> None:
    net = Stub(leak)
    views = views_for(net)
    lpips: Any = lambda a, b: (a - b).abs().mean((1, 2, 3))  # noqa: E731
    mean_look = average(views)
    expected = np.abs(float(mean_look[0, 0]) - views.tokens("clean", "quality")[:, 0, 0].numpy()).mean()
    cost = replace_quality(net, NoFrozen(), views, "clean", mean_look, lpips)  # type: ignore[arg-type]
    assert cost.value == pytest.approx(0 if leak else expected, abs=0.003)


def test_average_is_over_faces_and_views(views: Views) -> None:
    every = torch.cat([views.tokens(r, "quality") for r in AMPLITUDES])
    torch.testing.assert_close(average(views), every.mean(0))
