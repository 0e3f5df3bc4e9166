"""Which experts are loaded: those released, those named, never a half-trained one unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
