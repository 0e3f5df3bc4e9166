"""Expert-T against what it must be before it has learned anything, and against separate computations of its parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.errors import ConfigError
from likeness.nets.blocks import haar_split, leaky
from likeness.nets.code_smoothing import CodeSmoothing, stack_states
from likeness.nets.expert_f import INPUT_GAIN
from likeness.nets.expert_t import ExpertT, entropy
from likeness.nets.expert_t_data import LOOK_UPS, ExpertTConfig, Frozen, Knobs
from likeness.nets.tokens import FaceBias
from likeness.ops.geometry import template
from tests.tiny import TINY, randomised


def alone(**changes: object) -> ExpertTConfig:
    return ExpertTConfig(**{**TINY.to_dict(), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("lookup", ["hard", "nearest"])
def test_untrained_network_equals_the_prior_applied_to_expert_f(faces: Tensor, frozen: Frozen, lookup: str) -> None:
    assert frozen.expert_f is not None
    with torch.no_grad():
        first = F.avg_pool2d(frozen.expert_f(faces).image, 2).clamp(0, 1)
        expected = frozen.prior(first).image
        out = ExpertT(TINY).eval()(faces, frozen, Knobs(lookup=lookup))  # type: ignore[arg-type]
    torch.testing.assert_close(out.image, expected)


def test_soft_lookup_equals_hard_lookup_at_low_temperature(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        net.sureness.fill_(np.log(1e5))
        soft, hard = (net(faces, frozen, Knobs(lookup=way)).image for way in LOOK_UPS[:2])
        net.sureness.fill_(0.0)
        unsure = net(faces, frozen, Knobs(lookup="soft")).image
    assert float((soft - hard).abs().mean()) < 1e-5  # two codes may be equally near somewhere
    assert float((unsure - hard).abs().mean()) > 1e-3


def test_fidelity_0_keeps_the_input_out_of_the_decoder(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        before = [net(faces, frozen, Knobs(fidelity=v)).image for v in (0.0, 1.0)]
        for weight in net.transforms.parameters():
            weight.mul_(-2)
        after = [net(faces, frozen, Knobs(fidelity=v)).image for v in (0.0, 1.0)]
    torch.testing.assert_close(before[0], after[0])
    assert float((before[1] - after[1]).abs().mean()) > 1e-3


@pytest.mark.parametrize(("knob", "least"), [(0.0, 0.0), (0.25, 0.0), (0.5, 0.2), (0.75, 0.7), (1.0, 1.0)])
def test_fidelity_map_is_clip_of_f_plus_2v_minus_1(faces: Tensor, frozen: Frozen, knob: float, least: float) -> None:
    net = ExpertT(TINY).eval()
    with torch.no_grad():
        net.fidelity.bias.fill_(np.log(0.2 / 0.8))  # type: ignore[union-attr]  # sigmoid of it: .2
        found = net(faces, frozen, Knobs(fidelity=knob)).fidelity
    torch.testing.assert_close(found, torch.full_like(found, max(0.0, 0.2 + 2 * knob - 1) if knob < 1 else 1.0))
    assert least == pytest.approx(float(found.mean()), abs=1e-6)


def test_knobs_per_face_equal_single_runs(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        both = net(faces, frozen, Knobs(torch.tensor([0.1, 0.9]), torch.tensor([0.0, 1.0])))
        one = net(faces[:1], frozen, Knobs(0.1, 0.0))
        other = net(faces[1:], frozen, Knobs(0.9, 1.0))
    for got, first, second in zip(both, one, other, strict=True):
        torch.testing.assert_close(got, torch.cat([first, second]), atol=2e-3, rtol=0)


def test_quality_knob_interpolates_from_input_to_clean_tokens(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        tokens = net.tokenize(net.encode(faces, frozen))
        mixed = [net.mix_quality(tokens, share) for share in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(mixed[0], tokens.quality)
    torch.testing.assert_close(mixed[1], (tokens.quality + tokens.clean) / 2)
    torch.testing.assert_close(mixed[2], tokens.clean)
    assert float((mixed[0] - mixed[2]).abs().mean()) > 0.01


def test_quality_tokens_change_codes_and_image(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        encoded = net.encode(faces, frozen)
        tokens = net.tokenize(encoded)
        a, b = (net.decode(tokens, look, encoded, frozen.prior, Knobs()) for look in (tokens.quality, tokens.clean))
        still = net.decode(tokens, tokens.quality, encoded, frozen.prior, Knobs())
    assert float((a.logits - b.logits).abs().mean()) > 1e-3
    assert float((a.image - b.image).abs().mean()) > 1e-4
    torch.testing.assert_close(a.image, still.image)


def test_own_encoder_starts_from_expert_f(faces: Tensor, frozen: Frozen) -> None:
    first = frozen.expert_f
    assert first is not None
    net = ExpertT(alone(regress=False)).eval()
    net.start_from(first)
    with torch.no_grad():
        f64 = first.down64(first.enter64(leaky(first.skip128(haar_split((faces - 0.5) * INPUT_GAIN)))))
        expected = first.down32(first.enter32(f64))
        tokens = net.tokenize(net.encode(faces, Frozen(frozen.prior, None)))
        torch.testing.assert_close(tokens.maps[0], net.norm32(expected))
        torch.testing.assert_close(tokens.maps[1], net.norm64(f64))


def test_frozen_networks_get_no_gradient(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    unknown = torch.zeros(len(faces), 1, 256, 256, dtype=torch.bool)
    unknown[..., 100:140, 60:100] = True
    net(faces, frozen, unknown=unknown).image.square().mean().backward()
    for part in frozen:
        assert part is not None
        assert all(p.grad is None for p in part.parameters())
    without = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert not {name for name in without if not name.startswith("scale.")}  # the scale head has a loss of its own


def test_own_encoder_replaces_expert_f(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(alone(regress=False))
    with torch.no_grad():
        image = net(faces, Frozen(frozen.prior, None)).image
        again = net(faces, Frozen(frozen.prior, None)).image
        darker = net(faces * 0.9, Frozen(frozen.prior, None)).image
    torch.testing.assert_close(image, again)
    assert torch.isfinite(image).all()
    assert float((image - darker).abs().mean()) > 1e-4


def test_maps_equal_expert_f_s_intermediate_features(faces: Tensor, frozen: Frozen) -> None:
    first = frozen.expert_f
    assert first is not None
    kept: dict[str, Tensor] = {}
    for name in ("down64", "down32", "bottom", "up32", "up64"):
        getattr(first, name).register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    with torch.no_grad():
        encoded = ExpertT(TINY).encode(faces, frozen)
        expected_features, expected_low = frozen.prior.encode(F.avg_pool2d(first(faces).image, 2).clamp(0, 1))
    features = [
        encoded.maps.encoded64,
        encoded.maps.encoded32,
        encoded.maps.bottom,
        encoded.maps.fine32,
        encoded.maps.fine64,
    ]
    for name, feature in zip(kept, features, strict=True):
        torch.testing.assert_close(feature, kept[name], msg=name)
    torch.testing.assert_close(encoded.features, expected_features, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(encoded.low, expected_low)
    # At 128 the encoder's features come first.
    down = leaky(first.skip128(haar_split((faces - 0.5) * INPUT_GAIN)))
    torch.testing.assert_close(encoded.maps.fine128[:, : down.shape[1]], down.detach())
    half = encoded.at(slice(1, None))
    torch.testing.assert_close(half.maps.fine128, encoded.maps.fine128[1:])
    torch.testing.assert_close(half.low, encoded.low[1:])


def test_entropy_equals_scipy() -> None:
    logits = torch.randn(2, 3, 4, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    logits[0, 0, 0] *= 100  # sure of one code
    shares = logits.softmax(-1)
    expected = scipy.stats.entropy(shares.numpy(), axis=-1) / np.log(5)
    np.testing.assert_allclose(entropy(logits, shares), expected, atol=1e-5)


def test_attention_bias_towards_eyes_raises_attention_at_eyes() -> None:
    bias = FaceBias(2, 16)
    with torch.no_grad():
        bias.strength[1, 0] = 8.0
    shares = bias().softmax(-1)[0, :, 0].view(2, 16, 16)
    torch.testing.assert_close(shares[0], torch.full((16, 16), 1 / 256))
    x, y = template(16)[0]
    peak = divmod(int(shares[1].argmax()), 16)
    assert abs(peak[0] - y) <= 0.5
    assert abs(peak[1] - x) <= 0.5
    assert float(shares[1].detach().max()) > 0.05


WRONG = {
    "prior": (alone(code_heads=1), True, Knobs(), "prior: got codes"),
    "decoder": (alone(decoded=(12, 8, 9)), True, Knobs(), "prior: got codes"),
    "Expert-F": (alone(channels=(8, 8, 8, 16)), True, Knobs(), "expert_f: got features of"),
    "no Expert-F": (TINY, False, Knobs(), "expert_f: got none"),
    "look-up": (TINY, True, Knobs(lookup="best"), "lookup: got 'best'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_mismatched_input_raises(faces: Tensor, frozen: Frozen, name: str) -> None:
    config, with_first, knobs, message = WRONG[name]
    given = frozen if with_first else Frozen(frozen.prior, None)
    with pytest.raises(ConfigError, match=message):
        ExpertT(config)(faces, given, knobs)


def test_encoder_of_another_size_raises(frozen: Frozen) -> None:
    assert frozen.expert_f is not None
    with pytest.raises(ConfigError, match="Expert-F's skip128 does not fit"):
        ExpertT(alone(channels=(4, 8, 8, 12), regress=False)).start_from(frozen.expert_f)


def restored_sequence(net: ExpertT, frozen: Frozen, frames: list[Tensor], pool: bool, threshold: float) -> list[Tensor]:
    """The images of one face over time."""
    state, images = net.initial_state(), []
    with torch.no_grad():
        for x in frames:
            out, state = net.restore_sequence(x, frozen, Knobs(), CodeSmoothing(state, torch.ones(1), pool, threshold))
            images.append(out.image)
    return images


def test_first_frame_equals_photo_and_equal_frames_stay_equal(faces: Tensor, frozen: Frozen) -> None:
    net, x = randomised(TINY), faces[:1]
    with torch.no_grad():
        alone = net(x, frozen).image
    for pool, threshold in ((True, 0.0), (False, 0.8), (True, 0.8)):
        images = restored_sequence(net, frozen, [x, x.clone(), x.clone()], pool, threshold)
        assert all(torch.equal(image, alone) for image in images)


def test_smoothing_reduces_change_and_is_off_at_threshold_0(faces: Tensor, frozen: Frozen) -> None:
    net, generator = randomised(TINY), torch.Generator().manual_seed(0)
    frames = [faces[:1] + 0.02 * torch.randn(1, 3, 256, 256, generator=generator) for _ in range(4)]
    with torch.no_grad():
        each = [net(x, frozen).image for x in frames]
    free = restored_sequence(net, frozen, frames, False, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(each, free, strict=True))

    def flicker(images: list[Tensor]) -> float:
        return float(torch.stack([(a - b).square().mean() for a, b in pairwise(images)]).mean())

    assert flicker(restored_sequence(net, frozen, frames, True, 0.0)) < flicker(free)
    assert flicker(restored_sequence(net, frozen, frames, False, 1.5)) < flicker(free)


def test_faces_of_a_batch_keep_separate_states(faces: Tensor, frozen: Frozen) -> None:
    net = randomised(TINY)
    with torch.no_grad():
        none = net.initial_state()
        _, first = net.restore_sequence(faces[:1], frozen, Knobs(), CodeSmoothing(none, torch.tensor([5.0]), True, 0.5))
        states = stack_states([first, None], none)
        both, state = net.restore_sequence(
            faces, frozen, Knobs(), CodeSmoothing(states, torch.tensor([1.0, 2.0]), True, 0.5)
        )
        alone, _ = net.restore_sequence(faces[1:], frozen, Knobs(), CodeSmoothing(none, torch.tensor([2.0]), True, 0.5))
    torch.testing.assert_close(both.image[1:], alone.image, atol=2e-3, rtol=0)
    torch.testing.assert_close(state.weight, torch.tensor([6.0, 2.0]))
