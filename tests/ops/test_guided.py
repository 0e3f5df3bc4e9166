"""The guided filter against its definition."""

from __future__ import annotations

import numpy as np

from likeness.ops.guided import guided_filter


def by_definition(guide: np.ndarray, image: np.ndarray, r: int, epsilon: float) -> np.ndarray:
    """Equations 5, 6 and 8 of He et al., window by window."""
    padded_g, padded_i = (np.pad(a.astype(np.float64), 2 * r, mode="reflect") for a in (guide, image))
    n = 2 * r + 1
    height, width = guide.shape
    slope, offset = np.zeros((2, height + 2 * r, width + 2 * r))
    for y in range(slope.shape[0]):
        for x in range(slope.shape[1]):
            g, i = padded_g[y : y + n, x : x + n], padded_i[y : y + n, x : x + n]
            slope[y, x] = ((g * i).mean() - g.mean() * i.mean()) / (g.var() + epsilon)
            offset[y, x] = i.mean() - slope[y, x] * g.mean()
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = (slice(y, y + n), slice(x, x + n))
            out[y, x] = slope[window].mean() * guide[y, x] + offset[window].mean()
    return out


def test_it_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    guide, image = rng.random((2, 20, 24), np.float32)
    expected = by_definition(guide, image, 2, 1e-2)
    inner = (slice(4, -4), slice(4, -4))  # at the border the reflections differ
    np.testing.assert_allclose(guided_filter(guide, image, 2, 1e-2)[inner], expected[inner], atol=1e-4)


def test_a_mask_ends_at_the_edge_of_the_guide() -> None:
    guide, image = np.zeros((2, 40, 40), np.float32)
    guide[:, 20:], image[:, 22:] = 1, 1  # the mask misses two columns
    steps = np.diff(guided_filter(guide, image, 4)[20])
    assert steps.argmax() == 19
    assert steps[19] > 3 * np.diff(guided_filter(np.zeros_like(guide), image, 4)[20]).max()
