"""How a stored size becomes the keywords of a network's config."""

from __future__ import annotations

import pytest

from likeness.errors import WeightsError
from likeness.weights.networks import plain_config


def test_lists_become_tuples_and_removed_options_are_dropped() -> None:
    assert plain_config({"widths": [8, 12], "fourier": 4, "wavelets": True, "filtered": False}) == {
        "widths": (8, 12),
        "fourier": 4,
    }


def test_removed_option_with_an_unsupported_value_is_refused() -> None:
    with pytest.raises(WeightsError, match="wavelets=False is no longer supported"):
        plain_config({"wavelets": False})
