"""Expert-T: reads a poor face into the prior, structure apart from surface, and says where it invents.

Frozen Expert-F goes first; the prior's encoder sees its output, and Expert-T moves what it saw until the codes fit the
face behind the picture. It reads Expert-F's features, which know the input as well as the restored face, so that no
second encoder is needed. Its tokens (`nets/tokens.py`) tell what the face is from what the picture looks like, so the
same content can be rendered as it was, or clean. The prior's decoder draws the codes; on the way, features of the
input change the decoder's (controllable feature transformation, CodeFormer, Zhou et al. 2022, eq. 5), as
far as a fidelity map lets them: 0 = the prior alone, 1 = the input's own look.

Codes are chosen by their cosine to a predicted feature, not by a free classifier of 1024: at the start that feature is
the prior encoder's own, so that training begins with a face.

Reads (B, 3, 256, 256) RGB in [0, 1]; writes (B, 3, 512, 512). Neither the prior nor Expert-F is part of its weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from likeness.errors import ConfigError
from likeness.nets.blocks import ChannelNorm, HaarDown, HaarUp, ResidualBlock, haar_split, leaky, zero_bias
from likeness.nets.code_smoothing import CodeSmoothing, CodeState, pool_tokens, smooth_codes
from likeness.nets.expert_f import INPUT_GAIN, ExpertF
from likeness.nets.expert_t_data import (
    CODES,
    GRID,
    LOOK_UPS,
    MODULATED,
    ExpertTConfig,
    ExpertTOutput,
    Frozen,
    Knobs,
    LookUp,
    Maps,
    Reading,
    Seen,
)
from likeness.nets.prior import Prior
from likeness.nets.tokens import CleanQuality, ContentReader, QualityReader, Renderer


class OwnEncoder(nn.Module):
    """Expert-F's way down, to be trained: (B, 3, 256, 256) to `Maps`, the fine ones those of the way down."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        c128, c64, c32, c16 = channels
        self.skip128 = nn.Conv2d(12, c128, 3, padding=1)
        self.enter64 = HaarDown(c128, c64)
        self.down64 = nn.Sequential(ResidualBlock(c64), ResidualBlock(c64))
        self.enter32 = HaarDown(c64, c32)
        self.down32 = nn.Sequential(ResidualBlock(c32), ResidualBlock(c32))
        self.enter16 = HaarDown(c32, c16)

    def forward(self, x: Tensor) -> Maps:
        f128 = leaky(self.skip128(haar_split((x - 0.5) * INPUT_GAIN)))
        f64 = self.down64(self.enter64(f128))
        f32 = self.down32(self.enter32(f64))
        return Maps(self.enter16(f32), f64, f32, f32, f64, f128)


class FeatureTransform(nn.Module):
    """Changes the decoder's features by the input's, as the quality tokens and the fidelity map say.

    (B, C, S, S) to the same. Starts by changing nothing.
    """

    def __init__(self, channels: int, own: int, hidden: int, width: int, split: bool) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.enter = nn.Conv2d(channels + own + 1, hidden, 1)
        self.look = nn.Linear(width, 2 * hidden) if split else None
        self.leave = nn.Conv2d(hidden, channels, 3, padding=1)
        for layer in (self.leave, self.look):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, own: Tensor, fidelity: Tensor, look: Tensor) -> Tensor:
        """`own` (B, E, S, S), `fidelity` (B, 1, S, S), `look` (B, width), the mean quality token."""
        # A map of one channel has no memory layout, and joined to the others would lose theirs: it is added instead.
        joined, alone = self.enter.weight[:, :-1], self.enter.weight[:, -1:].view(1, -1, 1, 1)
        hidden = F.conv2d(torch.cat([self.norm(features), own], 1), joined, self.enter.bias)
        hidden = hidden + fidelity.to(hidden.dtype) * alone.to(hidden.dtype)
        if self.look is not None:
            scale, shift = self.look(look)[..., None, None].chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return features + fidelity * self.leave(leaky(hidden))


class ExpertT(nn.Module):
    """The network; see the module's text."""

    def __init__(self, config: ExpertTConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ExpertTConfig()
        c128, c64, c32, c16 = c.channels
        self.encoder = None if c.regress else OwnEncoder(c.channels)
        self.norm16, self.norm32, self.norm64 = ChannelNorm(c16), ChannelNorm(c32), ChannelNorm(c64)
        self.norm_given32, self.norm_given64 = ChannelNorm(c32), ChannelNorm(c64)
        self.content = ContentReader(c16, c.width, c.heads, GRID, c.read)
        if c.split:
            self.quality = QualityReader(c.quality, c.width, c.heads, (c32, c64))
            self.clean = CleanQuality(c.quality, c.width, c.heads)
        self.renderer = Renderer(c.width, c.heads, GRID, c.render, c.split)
        self.norm_tokens = nn.LayerNorm(c.width)
        self.leave16 = HaarUp(c.width, c32)
        self.join32 = nn.Conv2d(c32, c32, 1)
        self.up32 = ResidualBlock(c32)
        self.norm_up = ChannelNorm(c32)
        self.move = nn.Conv2d(c32, c.code_heads * c.code_width, 1)
        self.sureness = nn.Parameter(torch.full((c.code_heads,), math.log(30.0)))  # of the codes' softmax
        self.fidelity = nn.Conv2d(c32, 1, 1)
        # Of Expert-F both ways are given at 128: the input's pixels, and what it made of them.
        own = c32, c64, 2 * c128 if c.regress else c128
        sizes = zip(MODULATED, c.decoded, own, c.hidden, strict=True)
        self.transforms = nn.ModuleDict(
            {str(size): FeatureTransform(there, here, inside, c.width, c.split) for size, there, here, inside in sizes}
        )
        self.scale = nn.Sequential(nn.Conv2d(c32 + c.code_heads + 1, 32, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 1))
        for layer in (self.move, self.fidelity):
            nn.init.zeros_(layer.weight)
            zero_bias(layer)

    def start_from(self, expert_f: ExpertF) -> None:
        """Takes Expert-F's encoder as the start of its own; without one there is nothing to do.

        Raises:
            ConfigError: if the sizes differ.
        """
        if self.encoder is None:
            return
        for part, _ in self.encoder.named_children():
            try:
                getattr(self.encoder, part).load_state_dict(getattr(expert_f, part).state_dict())
            except RuntimeError as error:
                raise ConfigError(
                    f"expert_t.channels: got {self.config.channels}, which Expert-F's {part} does not fit; start "
                    "without its encoder or give its size"
                ) from error

    def forward(
        self, x: Tensor, frozen: Frozen, knobs: Knobs | None = None, unknown: Tensor | None = None
    ) -> ExpertTOutput:
        """Restores (B, 3, 256, 256) RGB in [0, 1].

        `unknown` (B, 1, 256, 256) bool marks pixels that the picture does not show; there `x` is filled smoothly
        (`ops.fill`), and the prior alone draws.
        """
        knobs = knobs or Knobs()
        seen = self.see(x, frozen, unknown)
        reading = self.read(seen)
        return self.render(reading, self.look(reading, knobs.quality), seen, frozen.prior, knobs)

    def initial_state(self) -> CodeState:
        """The state of a new face, for `restore_sequence`."""
        c, device = self.config, self.sureness.device
        clean = torch.zeros(1, c.quality if c.split else 0, c.width, device=device)
        codes = torch.zeros(1, c.code_heads * c.code_width, CODES, CODES, device=device)
        return CodeState(clean, codes, torch.zeros(1, device=device))

    def restore_sequence(
        self, x: Tensor, frozen: Frozen, knobs: Knobs, smoothing: CodeSmoothing
    ) -> tuple[ExpertTOutput, CodeState]:
        """The same for the next frame of each face; see `nets.code_smoothing`.

        Args:
            x: (B, 3, 256, 256).
            frozen, knobs: as in `forward`.
            smoothing: with the state that this method returned for the last frame; `initial_state` for a new face.

        Returns:
            The output, and the state for the next frame.
        """
        seen = self.see(x, frozen)
        reading = self.read(seen)
        if smoothing.pool and self.config.split:
            reading = reading._replace(clean=pool_tokens(reading.clean, smoothing))
        out = self.render(reading, self.look(reading, knobs.quality), seen, frozen.prior, knobs, smoothing)
        return out, CodeState(reading.clean, out.codes, smoothing.state.weight + smoothing.weights)

    def see(self, x: Tensor, frozen: Frozen, unknown: Tensor | None = None) -> Seen:
        """What the frozen networks see in (B, 3, 256, 256); `unknown` as in `forward`.

        Raises:
            ConfigError: if this network was built for another prior, or Expert-F is missing.
        """
        c, prior = self.config, frozen.prior
        given = (prior.codebook.heads, prior.codebook.width, tuple(prior.config.widths[:3]))
        expected = (c.code_heads, c.code_width, tuple(c.decoded))
        if given != expected:
            raise ConfigError(
                f"prior: got codes, dimensions and channels {given}, expected {expected}; give the prior that Expert-T "
                "was trained with"
            )
        if self.encoder is not None:
            with torch.no_grad():
                features, low = prior.encode(x)
            return Seen(features, low, self.encoder(x), unknown)
        if frozen.expert_f is None:
            raise ConfigError("expert_f: got none, expected the network that goes first (regress=true)")
        with torch.no_grad():
            inside = frozen.expert_f.extract_features(x)
            features, low = prior.encode(frozen.expert_f.decode_half(x, inside).clamp_(0, 1))
            fine128 = torch.cat([inside.encoded128, inside.decoded128], 1)
        maps = Maps(inside.bottom, inside.encoded64, inside.encoded32, inside.decoded32, inside.decoded64, fine128)
        channels = tuple(m.shape[1] for m in (inside.encoded128, maps.given64, maps.given32, maps.bottom))
        if channels != tuple(c.channels):
            raise ConfigError(
                f"expert_f: got features of {channels} channels, expected {tuple(c.channels)}; give the Expert-F that "
                "Expert-T was trained with"
            )
        return Seen(features, low, maps, unknown)

    def read(self, seen: Seen) -> Reading:
        """The tokens of what was seen."""
        maps = seen.maps
        unknown = seen.unknown_at(GRID)
        content = self.content(self.norm16(maps.bottom), None if unknown is None else unknown.flatten(1))
        fine = self.norm32(maps.fine32), self.norm64(maps.fine64), maps.fine128
        if not self.config.split:
            none = content[:, :0]
            return Reading(content, none, none, fine)
        given = self.norm_given32(maps.given32), self.norm_given64(maps.given64)
        quality = self.quality(content, given)
        return Reading(content, quality, self.clean(content, quality), fine)

    def look(self, reading: Reading, quality: float | Tensor) -> Tensor:
        """The quality tokens between the input's own (0) and clean ones (1)."""
        share = _per_face(quality, reading.quality)
        return reading.quality + share * (reading.clean - reading.quality)

    def render(
        self,
        reading: Reading,
        look: Tensor,
        seen: Seen,
        prior: Prior,
        knobs: Knobs,
        smoothing: CodeSmoothing | None = None,
    ) -> ExpertTOutput:
        """The face of `reading` with the quality tokens `look` (B, K, width), its codes smoothed over time if asked."""
        tokens = self.norm_tokens(self.renderer(reading.content, look))
        f16 = rearrange(tokens, "b (h w) c -> b c h w", h=GRID)
        f32 = self.norm_up(self.up32(self.leave16(f16) + self.join32(reading.maps[0])))
        features = seen.features.float() + self.move(f32).float()
        logits = self._logits(features, prior)
        shares = logits.softmax(-1)
        codes = self._codes(features, shares, seen, prior, knobs.lookup)
        if smoothing is not None:
            codes = smooth_codes(codes, smoothing, self.config.code_heads)
        shift = 2 * _per_face(knobs.fidelity, f32) - 1
        fidelity = (self.fidelity(f32).float().sigmoid() + shift).clamp(0, 1)
        unknown = seen.unknown_at(CODES)
        if unknown is not None:
            fidelity = fidelity * ~unknown
        mean = look.mean(1) if self.config.split else look.new_zeros(len(look), self.config.width)
        maps = dict(zip(MODULATED, reading.maps, strict=True))

        def modulate(size: int, decoded: Tensor) -> Tensor:
            share = F.interpolate(fidelity, (size, size), mode="bilinear", align_corners=False)
            hidden = seen.unknown_at(size)
            if hidden is not None:
                share = share * ~hidden
            changed: Tensor = self.transforms[str(size)](decoded, maps[size], share.to(decoded.dtype), mean)
            return changed

        image = prior.decode(codes.to(f32.dtype), seen.low, modulate)
        # Detached: stating where an error is must not change the image.
        unsure = entropy(logits.detach(), shares.detach())
        doubt = torch.cat([f32.detach(), unsure.to(f32.dtype), fidelity.detach().to(f32.dtype)], 1)
        return ExpertTOutput(image, logits, fidelity, self.scale(doubt).float(), codes)

    def _logits(self, features: Tensor, prior: Prior) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            parts = rearrange(features, "b (k d) h w -> b k h w d", k=self.config.code_heads)
            wanted = F.normalize(parts, dim=-1) * self.sureness.exp()[:, None, None, None]
            return torch.einsum("bkhwd,kcd->bkhwc", wanted, prior.codebook.vectors)

    def _codes(self, features: Tensor, shares: Tensor, seen: Seen, prior: Prior, lookup: LookUp) -> Tensor:
        book = prior.codebook
        if not self.config.codebook:
            parts = rearrange(features, "b (k d) h w -> b k d h w", k=self.config.code_heads)
            return F.normalize(parts, dim=2).flatten(1, 2)
        if lookup == "soft":
            return book.interpolate(shares)
        if lookup == "hard":
            return book.select(rearrange(shares.argmax(-1), "b k h w -> b h w k"))
        if lookup == "nearest":
            return book.select(book.nearest(seen.features))
        raise ConfigError(f"lookup: got {lookup!r}, expected {', '.join(LOOK_UPS)}")


def entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Of the codes' shares, relative to even ones: (B, heads, h, w, codes) to (B, heads, h, w) in 0..1.

    log Z - sum p l, with log Z taken where the share is largest: no logarithm of every share.

    Args:
        logits: l.
        shares: p, their softmax.
    """
    log_z = logits.amax(-1) - shares.amax(-1).log()
    return (log_z - torch.linalg.vecdot(shares, logits)).clamp(min=0) / math.log(logits.shape[-1])


def _per_face(value: float | Tensor, like: Tensor) -> Tensor:
    """One number, or (B,), so that it multiplies (B, ...)."""
    given = torch.as_tensor(value, dtype=torch.float32, device=like.device)
    return given.view(-1, *[1] * (like.ndim - 1)) if given.ndim else given
