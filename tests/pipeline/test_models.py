"""Which experts are loaded: those released, those named, never a half-trained one unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from likeness.pipeline import models
from likeness.pipeline.config import from_overrides
from likeness.weights.manifest import RELEASED, released

OPTIONS = {
    "by itself": ([], ["expert_f"]),
    "named as file": ([f"weights.expert_t={released('expert_t')}"], ["expert_f", "expert_t"]),
    "named as expert": (["expert.name=expert_t"], ["expert_t"]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_interim_weights_run_only_where_they_are_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options, expected = OPTIONS[name]
    half_trained = {**RELEASED, "expert_t": replace(RELEASED["expert_t"], interim=True)}
    monkeypatch.setattr(models, "RELEASED", half_trained)
    loaded = models.load_models(from_overrides(["device=cpu", *options]))
    assert sorted(loaded.experts) == expected
    assert ("prior" in loaded.hashes) == ("expert_t" in expected)


def test_finished_weights_run_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    finished = {**RELEASED, "expert_t": replace(RELEASED["expert_t"], interim=False)}
    monkeypatch.setattr(models, "RELEASED", finished)
    assert sorted(models.load_models(from_overrides(["device=cpu"])).experts) == ["expert_f", "expert_t"]


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
