"""Where the windows lie, and the ratio of two sets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likeness.errors import InputError
from likeness.metrics.skin import CORNERS, SIDE, skin_windows
from likeness.ops.geometry import TEMPLATE_512


def _ramps() -> Tensor:
    """Every pixel holds its coordinates: x in red, y in green."""
    axis = torch.arange(512.0)
    return torch.stack((axis.expand(512, 512), axis[:, None].expand(512, 512), torch.zeros(512, 512)))[None] / 512


def test_windows_do_not_contain_eyes_nose_or_mouth() -> None:
    for x, y in CORNERS:
        for point in TEMPLATE_512:
            away = max(x - point[0], point[0] - x - SIDE + 1, y - point[1], point[1] - y - SIDE + 1)
            assert away >= 15, (x, y, point)
    (left_x, left_y), (right_x, right_y), (front_x, front_y) = CORNERS
    eyes, nose, mouth = TEMPLATE_512[:2, 1].mean(), TEMPLATE_512[2], TEMPLATE_512[3:, 1].mean()
    assert left_y == right_y
    assert eyes < left_y < left_y + SIDE < mouth
    assert left_x + SIDE < nose[0] < right_x
    assert front_y + SIDE < eyes
    assert left_x + right_x + SIDE == pytest.approx(2 * TEMPLATE_512[:, 0].mean(), abs=4)  # symmetrical
    assert front_x + SIDE / 2 == pytest.approx(TEMPLATE_512[:, 0].mean(), abs=2)


@pytest.mark.parametrize("margin", [0, 24])
def test_windows_are_cut_at_their_corners_with_the_margin(margin: int) -> None:
    valid = torch.zeros(1, 1, 512, 512, dtype=torch.bool)
    valid[..., :300, :] = True
    grey, counted = skin_windows(_ramps(), valid, margin)
    assert grey.shape == (1, 3, SIDE + 2 * margin, SIDE + 2 * margin)
    assert counted.shape == (1, 3, SIDE, SIDE)
    for k, (x, y) in enumerate(CORNERS):
        expected = 255 * (0.299 * (x - margin) + 0.587 * (y - margin)) / 512
        assert float(grey[0, k, 0, 0]) == pytest.approx(expected, rel=1e-5)
        assert int(counted[0, k].sum()) == SIDE * min(SIDE, 300 - y)


@pytest.mark.parametrize(
    ("images", "valid", "message"),
    [
        pytest.param(torch.rand(3, 512, 512), None, "B, 3, H, W", id="no batch"),
        pytest.param(torch.rand(1, 3, 256, 256), None, "512 x 512", id="other size"),
        pytest.param(torch.rand(1, 3, 512, 512), torch.ones(1, 1, 256, 256).bool(), "valid: got", id="other mask"),
        pytest.param(
            torch.rand(2, 3, 512, 512), torch.ones(1, 1, 512, 512).bool(), "valid: got", id="one mask for two"
        ),
        pytest.param(torch.rand(1, 3, 512, 512), torch.ones(1, 1, 512, 512), "torch.bool", id="mask of floats"),
    ],
)
def test_wrong_shape_or_type_is_refused(images: Tensor, valid: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        skin_windows(images, valid, 8)
