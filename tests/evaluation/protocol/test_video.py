"""Figures of clips: the warping error of the face and of the rim of the head mask."""

import numpy as np
import pytest

from likeness.evaluation.protocol.video import _regional_warping
from likeness.ops.flow import Motion
from likeness.ops.mask import template_mask

SIZE = 256
STILL = Motion(
    np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32), np.ones((SIZE, SIZE), bool)
)


@pytest.mark.parametrize(("changed", "constant"), [("warping_rim", "warping_face"), ("warping_face", "warping_rim")])
def test_a_change_counts_only_in_its_own_region(changed, constant):
    regions = {"warping_face": template_mask(SIZE, "face") > 0.5, "warping_rim": template_mask(SIZE, "head") < 0.5}
    before = np.full((SIZE, SIZE, 3), 100, np.float32)
    now = before + 10 * regions[changed][..., None].astype(np.float32)
    values = _regional_warping(before, now, STILL)
    assert values[changed] > 10
    assert values[constant] == pytest.approx(0, abs=1e-3)


def test_the_first_frame_has_no_warping_error():
    assert _regional_warping(None, np.zeros((SIZE, SIZE, 3), np.float32), None) == {}
