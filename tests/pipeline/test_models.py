"""Which experts are loaded, over which networks, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from likeness.errors import ConfigError
from likeness.nets.expert_f import ExpertF
from likeness.pipeline import models
from likeness.pipeline.config import from_overrides
from likeness.stages.restore.expert_t import ExpertTExpert
from likeness.weights.files import save_weights
from likeness.weights.manifest import released
from likeness.weights.networks import load_network

CPU = ("device=cpu", "background.name=lanczos")  # without the background's networks, which no test here reads
OPTIONS = {
    "by itself": ([], ["expert_f", "expert_t"]),
    "Expert-F": (["expert.name=expert_f"], ["expert_f"]),
    "Expert-T": (["expert.name=expert_t"], ["expert_t"]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_experts_that_may_be_needed_are_loaded(name: str) -> None:
    options, expected = OPTIONS[name]
    loaded = models.load_models(from_overrides([*CPU, *options]))
    assert sorted(loaded.experts) == expected
    assert ("prior" in loaded.hashes) == ("expert_t" in expected)


@pytest.mark.parametrize(
    ("named", "own"),
    [(["expert_f"], False), (["expert_f", "expert_t"], True), (["expert_t"], False), ([], False)],
    ids=str,
)
def test_the_released_expert_t_stands_on_the_released_expert_f(named: list[str], own: bool, tmp_path: Path) -> None:
    net = cast(ExpertF, load_network("expert_f")[0])
    with torch.no_grad():
        net.skip128.weight.add_(1)
    save_weights(tmp_path / "expert_f.safetensors", "expert_f", net.config.to_dict(), net.state_dict(), {})
    files = {"expert_f": tmp_path / "expert_f.safetensors", "expert_t": released("expert_t")}
    options = [f"weights.{name}={files[name]}" for name in named]
    loaded = models.load_models(from_overrides([*CPU, *options]))
    under = cast(ExpertTExpert, loaded.experts["expert_t"]).frozen.expert_f
    assert under is not None
    assert torch.allclose(under.skip128.weight, net.skip128.weight, atol=0.01) is own  # files hold fp16


def test_expert_t_alone_does_not_swallow_another_expert_f() -> None:
    words = [*CPU, "expert.name=expert_t", f"weights.expert_f={released('expert_f')}"]
    with pytest.raises(ConfigError, match=r"give weights\.expert_t=FILE"):
        models.load_models(from_overrides(words))


CHOOSERS = {
    "by itself": ([], True),
    "the rule, by name": (["gate.mode=rule"], False),
    "the gate, by name": (["gate.mode=learned"], True),
    "nothing to choose": (["expert.name=expert_f"], False),
    "experts that it was not trained on": (["weights.expert_f={expert_f}"], False),
    "the same, and the gate by name": (["weights.expert_f={expert_f}", "gate.mode=learned"], True),
    "experts and a gate of one's own": (["weights.expert_f={expert_f}", "weights.gate={gate}"], True),
}


@pytest.mark.parametrize("name", CHOOSERS)
def test_gate_chooses_only_between_its_two_experts(name: str) -> None:
    words, expected = CHOOSERS[name]
    files = {name: str(released(name)) for name in ("expert_f", "gate")}
    loaded = models.load_models(from_overrides([*CPU, *(w.format(**files) for w in words)]))
    assert (loaded.gate is not None, "gate" in loaded.hashes) == (expected, expected)


@pytest.mark.parametrize("word", ["gate.mode=rule", "expert.name=expert_f"])
def test_a_gate_that_would_not_be_asked_is_not_swallowed(word: str) -> None:
    with pytest.raises(ConfigError, match=r"weights\.gate: got x"):
        from_overrides(["weights.gate=x", word])


@pytest.mark.parametrize(
    ("precision", "device", "able", "expected"),
    [
        ("auto", "cpu", True, False),
        ("auto", "cuda", False, True),
        ("fp32", "cuda", True, False),
        ("bf16", "cpu", False, True),
        ("fast", "cpu", True, True),
        ("fast", "cpu", False, False),
        ("fast", "cuda", False, True),
    ],
)
def test_precision(precision: str, device: str, able: bool, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert models.computes_in_bf16(precision, torch.device(device)) is expected
