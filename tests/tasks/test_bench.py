"""What the bench says of costs; the times themselves are for the bench."""

from __future__ import annotations

import numpy as np
import pytest

from likeness.stages.detect.mtcnn import MtcnnDetector
from likeness.tasks.bench import EXPERT_T, SCENES, Row, clip, ratios


def test_costs_are_compared_at_one_precision_and_one_face() -> None:
    rows = [
        Row("Expert-F", "fp32", 1, [40.0, 50.0, 90.0]),
        Row("Expert-F", "fp32", 4, [10.0]),
        Row(EXPERT_T, "fp32", 1, [200.0]),
        Row(EXPERT_T, "bf16", 1, [100.0]),
        Row(EXPERT_T, "int8", 1, [80.0]),
        Row("embedder, one view", "fp32", 1, [9.0]),
        Row("CodeFormer's network, random weights", "fp32", 1, [8000.0]),
        Row("CodeFormer's network, random weights", "bf16", 1, [5000.0]),
    ]
    assert ratios(rows) == [
        "- Expert-F costs 1/160 of CodeFormer's network in fp32",
        f"- {EXPERT_T} costs 1/40 of CodeFormer's network in fp32",
        f"- {EXPERT_T} costs 1/50 of CodeFormer's network in bf16",
        f"- {EXPERT_T} in int8 costs 1/100 of CodeFormer's network in fp32",
    ]
    assert ratios(rows[:6]) == []


def test_scenes_hold_as_many_faces_as_they_say() -> None:
    detector = MtcnnDetector()
    for scene in SCENES:
        first, second = scene.frames(2)
        assert first.shape == (480, 640, 3)
        assert (first != second).any()
        (found,) = detector.detect([first])
        assert len(found) == scene.faces
        eyes = np.linalg.norm(found.landmarks[:, 1] - found.landmarks[:, 0], axis=1)
        np.testing.assert_allclose(2 * eyes, scene.width, rtol=0.12)


@pytest.mark.slow
def test_a_clip_s_row_counts_its_faces() -> None:
    row, stages = clip(SCENES[1], "speed", 8)
    assert "| 8 of 8 |" in row
    assert {"restore", "propagate", "detect"} <= set(stages)
