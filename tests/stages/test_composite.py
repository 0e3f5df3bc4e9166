"""Pasting: nothing changes where nothing was restored, no seam, every border, any order."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from likeness.errors import ConfigError
from likeness.ops.geometry import invert, resized, scale_of, transform, warp
from likeness.ops.mask import MASK_SHAPES, MaskShape, template_mask
from likeness.ops.poisson import solve_dirichlet
from likeness.stages.align import align
from likeness.stages.composite import CompositeConfig, Patch, grain_of, paste
from likeness.types import FloatArray, Pixels

SIZE = 512
METHODS = ["poisson", "feather"]


@pytest.fixture(params=MASK_SHAPES)
def shape(request: pytest.FixtureRequest) -> MaskShape:
    return request.param


def patch_for(pixels: Pixels, points: FloatArray, change: FloatArray | float, shape: MaskShape = "face") -> Patch:
    crop = align(pixels, points, 256)
    seen = cv2.resize(crop.image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return Patch((seen + change).astype(np.float32), seen, resized(crop.matrix, target=2), shape)


def mask_in_frame(patch: Patch, upscale: int, frame: tuple[int, ...]) -> FloatArray:
    back = invert(resized(patch.matrix, source=upscale))
    return warp(template_mask(SIZE, patch.mask), back, (frame[1], frame[0]), border=cv2.BORDER_CONSTANT, linear=True)


def texture(amplitude: float) -> FloatArray:
    """Stripes of 20 px in the crop, without a mean."""
    wave = np.sin(np.arange(SIZE) * 2 * np.pi / 20)[None, :, None] * np.ones((SIZE, 1, 3))
    return (amplitude * wave).astype(np.float32)


def enlarged(pixels: Pixels, upscale: int) -> Pixels:
    size = (pixels.shape[1] * upscale, pixels.shape[0] * upscale)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("upscale", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_expert_that_changes_nothing_changes_nothing(portrait, points, method, upscale, dtype, shape):
    frame = portrait[:256, 60:380].astype(dtype) * (257 if dtype == np.uint16 else 1)
    background = enlarged(frame, upscale)
    out, note = paste(background, patch_for(frame, points - np.float32([60, 0]), 0.0, shape), upscale, method)
    np.testing.assert_array_equal(out, background)
    assert out.dtype == dtype
    assert out is not background
    assert note is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("upscale", [1, 2])
def test_outside_the_mask_stands_the_background(portrait, points, method, upscale, shape):
    background = enlarged(portrait, upscale)
    kept = background.copy()
    patch = patch_for(portrait, points, texture(0.2) + np.float32(0.1), shape)
    restored, seen = patch.restored.copy(), patch.source.copy()
    out, _ = paste(background, patch, upscale, method, grain=0.05)
    mask = mask_in_frame(patch, upscale, background.shape)
    np.testing.assert_array_equal(out[mask == 0], background[mask == 0])
    assert np.abs(out[mask > 0.9].astype(int) - background[mask > 0.9]).mean() > 5
    for array, before in ((background, kept), (patch.restored, restored), (patch.source, seen)):
        np.testing.assert_array_equal(array, before)


def test_the_mask_covers_the_face_alone():
    mask = template_mask(SIZE)
    crop_points = {"left eye": (193, 240), "right eye": (319, 240), "nose": (257, 314), "mouth": (257, 371)}
    assert all(mask[y, x] > 0.99 for x, y in crop_points.values())
    assert mask[:100].max() == mask[490:].max() == mask[:, :90].max() == mask[:, 420:].max() == 0
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=0.08)
    assert template_mask(256)[120, 128] == pytest.approx(mask[240, 256], abs=1e-3)
    assert 0 <= mask.min() <= mask.max() <= 1
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = 1


def test_head_mask_covers_the_crop_but_its_edge():
    mask = template_mask(SIZE, "head")
    assert (mask[66:446, 66:446] > 0.99).mean() > 0.9
    assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() < 1e-3
    np.testing.assert_allclose(mask, mask.T, atol=1e-6)
    np.testing.assert_allclose(mask, mask[::-1], atol=1e-6)
    radius = (2 * ((SIZE / 2 - 60) / SIZE) ** 4) ** 0.25 * 2  # of a point on the diagonal, 60 px from both edges
    t = (1 - radius) / 0.25
    assert mask[60, 60] == pytest.approx(t * t * (3 - 2 * t), abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_head_in_front_replaces_the_residual_of_one_behind(smooth, points, method):
    frame = smooth(512, 512)
    behind = patch_for(frame, points, 0.2, "head")
    front = patch_for(frame, points + np.float32([60, 0]), 0.0, "head")
    canvas, _ = paste(frame, behind, 1, "feather")
    out, _ = paste(canvas, front, 1, method, background=frame)
    core = mask_in_frame(front, 1, frame.shape) > 0.9999
    assert np.abs(out[core].astype(int) - frame[core]).max() <= 1
    alone = mask_in_frame(front, 1, frame.shape) == 0
    np.testing.assert_array_equal(out[alone], canvas[alone])


def test_poisson_removes_an_offset_of_colour(portrait, points, shape):
    offset = np.array([0.12, -0.08, 0.05], np.float32)
    patch = patch_for(portrait, points, offset, shape)
    poisson, note = paste(portrait, patch, 1, "poisson")
    assert note is None
    assert np.abs(poisson.astype(int) - portrait).max() <= 1
    feather, _ = paste(portrait, patch, 1, "feather")
    middle = mask_in_frame(patch, 1, portrait.shape) > 0.999
    assert np.abs((feather.astype(float) - portrait)[middle] / 255 - offset).mean() < 0.03


def test_poisson_keeps_the_texture(smooth, points, shape):
    frame = smooth(512, 512)
    patch = patch_for(frame, points, texture(0.15) + np.float32(0.1), shape)
    out, _ = paste(enlarged(frame, 2), patch, 2, "poisson")
    change = (out.astype(float) - enlarged(frame, 2)).mean(2) / 255
    wanted = warp(texture(0.15).mean(2), invert(resized(patch.matrix, source=2)), (1024, 1024))
    inside = cv2.erode((mask_in_frame(patch, 2, out.shape) > 0.999).astype(np.uint8), np.ones((9, 9))) > 0
    assert np.corrcoef(change[inside], wanted[inside])[0, 1] > 0.97
    assert change[inside].std() == pytest.approx(wanted[inside].std(), rel=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "shift", [(0, 0), (-225, 0), (290, 0), (0, -125), (20, 385), (-205, -100)],
    ids=["inside", "left", "right", "top", "bottom", "corner"],
)  # fmt: skip
def test_no_seam(smooth, points, method, shift, shape):
    """Where the blend begins, the picture is nowhere steeper than the background by more than a trifle."""
    frame = smooth(512, 512)
    patch = patch_for(frame, points + np.float32(shift), 0.12, shape)
    out, _ = paste(frame, patch, 1, method)
    mask = mask_in_frame(patch, 1, frame.shape)
    edge = (mask > 0) & (mask < 0.15)
    steepness = []
    for picture in (out, frame):
        p = picture.astype(float)
        steepness.append(
            max(np.abs(np.diff(p, axis=a)).max(2)[edge[1:] if a == 0 else edge[:, 1:]].max() for a in (0, 1))
        )
    assert steepness[0] <= steepness[1] + 4
    # The same within the change alone: it starts from zero, without a step.
    change = np.abs(out.astype(float) - frame)
    assert change[(mask > 0) & (mask < 0.01)].max() <= 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("upscale", [1, 4])
def test_a_face_wholly_outside_changes_nothing(smooth, points, method, upscale, shape):
    frame = smooth(300, 300)
    patch = patch_for(frame, points + np.float32(3000), 0.3, shape)
    out, note = paste(enlarged(frame, upscale), patch, upscale, method)
    np.testing.assert_array_equal(out, enlarged(frame, upscale))
    assert note is None


def test_ill_posed_poisson_becomes_feather_and_says_so(smooth, points, shape):
    frame = smooth(300, 300)
    mostly_out = patch_for(frame, points - np.float32([245, 0]), 0.2, shape)
    out, note = paste(frame, mostly_out, 1, "poisson")
    assert note is not None
    assert note.startswith("poisson -> feather: only")
    np.testing.assert_array_equal(out, paste(frame, mostly_out, 1, "feather")[0])
    tiny = patch_for(frame, points / 40 + 100, 0.2, shape)
    _, note = paste(frame, tiny, 1, "poisson")
    assert note is not None
    assert "pixels" in note


def test_residual_keeps_detail_that_the_crop_lost():
    """A huge face is shrunk for the expert; the fine grid of the source must survive a change of brightness."""
    frame = (120 + np.indices((1200, 1200)).sum(0)[..., None] % 2 * 40 * np.ones(3)).astype(np.uint8)
    points = np.array([(440, 500), (760, 500), (600, 700), (470, 840), (740, 840)], np.float32)
    patch = patch_for(frame, points, 0.1)
    core = mask_in_frame(patch, 1, frame.shape) > 0.9999
    kept, _ = paste(frame, patch, 1, "feather")
    assert kept[core].std() == pytest.approx(frame[core].std(), rel=0.02)
    assert patch.restored[..., 0].std() < 0.2 * frame[core].std() / 255  # the crop itself has lost it


def test_sixteen_bits_get_the_change_at_full_depth(smooth, points, shape):
    frame = smooth(512, 512).astype(np.uint16) * 257 + 13
    patch = patch_for(frame, points, np.float32(3 / 65535), shape)
    out, _ = paste(frame, patch, 1, "feather")
    core = mask_in_frame(patch, 1, frame.shape) > 0.9999
    change = out[core].astype(int) - frame[core]
    assert change.mean() == pytest.approx(3, abs=0.2)  # far below one step of eight bits


def grainy(pixels: Pixels, sigma: float) -> Pixels:
    """With coarse grain, as of film."""
    noise = cv2.GaussianBlur(np.random.default_rng(5).normal(size=pixels.shape).astype(np.float32), (0, 0), 0.8)
    return np.clip(np.rint(pixels + noise * (sigma / noise.std())), 0, 255).astype(np.uint8)


def smoothing(pixels: Pixels, points: FloatArray, shape: MaskShape) -> Patch:
    """By an expert that takes grain for noise."""
    patch = patch_for(pixels, points, 0.0, shape)
    return replace(patch, restored=cv2.GaussianBlur(patch.source, (0, 0), 8))


@pytest.mark.parametrize("method", METHODS)
def test_face_keeps_the_grain_of_a_grainy_picture(smooth, points, method, shape):
    frame = grainy(smooth(512, 512), 6)
    patch = smoothing(frame, points, shape)
    core = cv2.erode((mask_in_frame(patch, 1, frame.shape) > 0.999).astype(np.uint8), np.ones((9, 9))) > 0

    def texture_of(picture: Pixels) -> FloatArray:
        return (picture.astype(np.float32) - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 2))[core]

    bare, _ = paste(frame, patch, 1, method)
    kept, _ = paste(frame, patch, 1, method, grain_of(frame, 1))
    assert texture_of(bare).std() < 0.3 * texture_of(frame).std()
    assert texture_of(kept).std() == pytest.approx(texture_of(frame).std(), rel=0.15)
    assert np.corrcoef(texture_of(kept).ravel(), texture_of(frame).ravel())[0, 1] > 0.95  # the picture's own grain
    outside = mask_in_frame(patch, 1, frame.shape) == 0
    np.testing.assert_array_equal(kept[outside], frame[outside])


@pytest.mark.parametrize("method", METHODS)
def test_grain_takes_no_detail_from_the_expert(smooth, points, method, shape):
    """Where the picture is flat, the restored face's texture stands; and a face that is unchanged stays so."""
    frame = smooth(512, 512)
    patch = patch_for(frame, points, texture(0.05), shape)
    plain, _ = paste(frame, patch, 1, method)
    kept, _ = paste(frame, patch, 1, method, 0.03)
    assert np.abs(kept.astype(int) - plain).max() <= 2
    unchanged, _ = paste(frame, patch_for(frame, points, 0.0, shape), 1, method, 0.03)
    np.testing.assert_array_equal(unchanged, frame)


@pytest.mark.parametrize(("sigma", "least", "most"), [(0, 0, 0), (1, 0, 0), (5, 6, 13), (8, 12, 20)])
def test_only_a_grainy_picture_has_grain(smooth, sigma, least, most):
    frame = grainy(smooth(512, 512), sigma) if sigma else smooth(512, 512)
    assert least <= 255 * grain_of(frame, 1) <= most
    assert grain_of(enlarged(frame, 2), 2) == pytest.approx(grain_of(frame, 1), rel=0.25)
    bordered = np.pad(frame, ((100, 100), (100, 100), (0, 0)))  # black has no grain
    assert grain_of(bordered, 1) == pytest.approx(grain_of(frame, 1), rel=0.25)


@pytest.mark.parametrize("quality", [30, 50, 75])
def test_blocks_are_no_grain(smooth, quality):
    _, stored = cv2.imencode(".jpg", smooth(512, 512), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert grain_of(np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)), 1) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gap", [0, -30], ids=["touch", "overlap"])
def test_two_heads_side_by_side(smooth, points, method, gap):
    """Heads that touch are each as alone; where their rims overlap, there is no edge."""
    frame = smooth(512, 512)
    left = patch_for(frame, points - np.float32([60, 0]), 0.12, "head")
    edge = SIZE / scale_of(left.matrix)
    right = patch_for(frame, points - np.float32([60, 0]) + np.float32([np.ceil(edge) + gap, 0]), 0.12, "head")
    one, other = (paste(frame, p, 1, method)[0].astype(float) - frame for p in (left, right))
    both = paste(paste(frame, left, 1, method)[0], right, 1, method, background=frame)[0].astype(float) - frame
    if gap == 0:
        np.testing.assert_allclose(both, one + other, atol=1)

    def steepest(change: FloatArray) -> float:
        return max(np.abs(np.diff(change, axis=axis)).max() for axis in (0, 1))

    assert steepest(both) <= max(steepest(one), steepest(other)) + 2


def test_solver_agrees_with_a_sparse_one():
    rng = np.random.default_rng(2)
    height, width = 17, 23
    source = rng.normal(size=(height, width)).astype(np.float32)
    ones = [sp.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n)) for n in (height, width)]
    laplace = sp.kron(ones[0], sp.eye(width)) + sp.kron(sp.eye(height), ones[1])
    expected = spsolve(laplace.tocsc(), source.ravel().astype(float)).reshape(height, width)
    np.testing.assert_allclose(solve_dirichlet(source), expected, rtol=1e-4, atol=1e-4)
    three = np.stack([source, 2 * source, -source], -1)
    np.testing.assert_allclose(solve_dirichlet(three)[..., 1], 2 * expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "option", "expected"),
    [("photo", "auto", "poisson"), ("video", "auto", "feather"), ("gif", "auto", "feather"),
     ("video", "poisson", "poisson"), ("photo", "feather", "feather")],
)  # fmt: skip
def test_method_for(kind, option, expected):
    assert CompositeConfig(method=option).method_for(kind) == expected


@pytest.mark.parametrize("options", [{"method": "glue"}, {"mask": "hat"}, {"grain": 1.5}, {"grain": -0.1}], ids=str)
def test_senseless_options(options):
    with pytest.raises(ConfigError, match=r"composite\."):
        CompositeConfig(**options)


def test_corners_of_the_crop_go_where_the_matrix_says(points):
    crop = align(np.zeros((512, 512, 3), np.uint8), points, 256)
    there = transform(invert(resized(crop.matrix, source=2)), np.array([[0.0, 0.0]]))
    plain = transform(invert(crop.matrix), np.array([[0.0, 0.0]]))
    np.testing.assert_allclose(there, (plain + 0.5) * 2 - 0.5, atol=1e-9)
