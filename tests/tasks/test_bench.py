"""What the bench says of costs; the times themselves are for the bench."""

from __future__ import annotations

from likeness.tasks.bench import EXPERT_T, Row, ratios


def test_costs_are_compared_at_one_precision_and_one_face() -> None:
    rows = [
        Row("Expert-F", "fp32", 1, [40.0, 50.0, 90.0]),
        Row("Expert-F", "fp32", 4, [10.0]),
        Row(EXPERT_T, "fp32", 1, [200.0]),
        Row(EXPERT_T, "bf16", 1, [100.0]),
        Row("embedder, one view", "fp32", 1, [9.0]),
        Row("CodeFormer's network, random weights", "fp32", 1, [8000.0]),
        Row("CodeFormer's network, random weights", "bf16", 1, [5000.0]),
    ]
    assert ratios(rows) == [
        "- Expert-F costs 1/160 of CodeFormer's network in fp32",
        f"- {EXPERT_T} costs 1/40 of CodeFormer's network in fp32",
        f"- {EXPERT_T} costs 1/50 of CodeFormer's network in bf16",
    ]
    assert ratios(rows[:5]) == []
