"""Expert-T: content and quality tokens choose codes of the prior, whose decoder draws the face.

Frozen Expert-F runs first. The prior's encoder reads its output, and Expert-T shifts these features until their codes
fit the true face. The tokens (`nets/tokens.py`) are computed from Expert-F's features, which describe the input as well
as the restored face, so no second encoder is needed. They separate what the face is from how good its picture is, so
the same content can be decoded with the input's quality or clean. Features of the input modulate the decoder
(controllable feature transformation, CodeFormer, Zhou et al. 2022, eq. 5), scaled by a fidelity map: 0 = the prior
alone, 1 = the input.

Codes are chosen by cosine similarity to a predicted feature instead of by a free classifier of 1024 classes. Before
training, that feature is the prior encoder's own, so the first output is already a face.

Input (B, 3, 256, 256) RGB in [0, 1]; output (B, 3, 512, 512). The weights contain neither the prior nor Expert-F.
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
    Encoded,
    ExpertTConfig,
    ExpertTOutput,
    FeatureMaps,
    Frozen,
    Knobs,
    LookUp,
    Tokens,
)
from likeness.nets.prior import Prior
from likeness.nets.tokens import CleanQuality, ContentReader, QualityReader, Renderer


class Encoder(nn.Module):
    """Expert-F's encoder, to be trained: (B, 3, 256, 256) to `FeatureMaps`, whose fine maps are the encoder's own."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        c128, c64, c32, c16 = channels
        self.skip128 = nn.Conv2d(12, c128, 3, padding=1)
        self.enter64 = HaarDown(c128, c64)
        self.down64 = nn.Sequential(ResidualBlock(c64), ResidualBlock(c64))
        self.enter32 = HaarDown(c64, c32)
        self.down32 = nn.Sequential(ResidualBlock(c32), ResidualBlock(c32))
        self.enter16 = HaarDown(c32, c16)

    def forward(self, x: Tensor) -> FeatureMaps:
        f128 = leaky(self.skip128(haar_split((x - 0.5) * INPUT_GAIN)))
        f64 = self.down64(self.enter64(f128))
        f32 = self.down32(self.enter32(f64))
        return FeatureMaps(self.enter16(f32), f64, f32, f32, f64, f128)


class FeatureTransform(nn.Module):
    """Modulates the decoder's features by the input's, given the quality tokens and the fidelity map.

    (B, C, S, S) to the same; the identity before training.
    """

    def __init__(self, channels: int, input_channels: int, hidden: int, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.enter = nn.Conv2d(channels + input_channels + 1, hidden, 1)
        self.look = nn.Linear(width, 2 * hidden)  # scale and shift from the mean quality token
        self.leave = nn.Conv2d(hidden, channels, 3, padding=1)
        for layer in (self.leave, self.look):
            nn.init.zeros_(layer.weight)
            zero_bias(layer)

    def forward(self, features: Tensor, source: Tensor, fidelity: Tensor, quality: Tensor) -> Tensor:
        """`source` (B, E, S, S) of the input, `fidelity` (B, 1, S, S), `quality` (B, width), the mean quality token."""
        # Concatenating the one-channel map would lose the others' channels_last layout, so its share is added instead.
        weight, fidelity_weight = self.enter.weight[:, :-1], self.enter.weight[:, -1:].view(1, -1, 1, 1)
        hidden = F.conv2d(torch.cat([self.norm(features), source], 1), weight, self.enter.bias)
        hidden = hidden + fidelity.to(hidden.dtype) * fidelity_weight.to(hidden.dtype)
        scale, shift = self.look(quality)[..., None, None].chunk(2, 1)
        hidden = hidden * (1 + scale) + shift
        return features + fidelity * self.leave(leaky(hidden))


class ExpertT(nn.Module):
    """The network; see the module's docstring."""

    def __init__(self, config: ExpertTConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ExpertTConfig()
        c128, c64, c32, c16 = c.channels
        self.encoder = None if c.regress else Encoder(c.channels)
        self.norm16, self.norm32, self.norm64 = ChannelNorm(c16), ChannelNorm(c32), ChannelNorm(c64)
        self.norm_given32, self.norm_given64 = ChannelNorm(c32), ChannelNorm(c64)
        self.content = ContentReader(c16, c.width, c.heads, GRID, c.read)
        self.quality = QualityReader(c.quality, c.width, c.heads, (c32, c64))
        self.clean = CleanQuality(c.quality, c.width, c.heads)
        self.renderer = Renderer(c.width, c.heads, GRID, c.render)
        self.norm_tokens = nn.LayerNorm(c.width)
        self.leave16 = HaarUp(c.width, c32)
        self.join32 = nn.Conv2d(c32, c32, 1)
        self.up32 = ResidualBlock(c32)
        self.norm_up = ChannelNorm(c32)
        self.move = nn.Conv2d(c32, c.code_heads * c.code_width, 1)
        self.sureness = nn.Parameter(torch.full((c.code_heads,), math.log(30.0)))  # inverse temperature of the softmax
        self.fidelity = nn.Conv2d(c32, 1, 1)
        # Expert-F gives both its encoder's and its decoder's features at 128.
        sources = c32, c64, 2 * c128 if c.regress else c128
        sizes = zip(MODULATED, c.decoded, sources, c.hidden, strict=True)
        self.transforms = nn.ModuleDict(
            {str(size): FeatureTransform(decoded, source, hidden, c.width) for size, decoded, source, hidden in sizes}
        )
        self.scale = nn.Sequential(nn.Conv2d(c32 + c.code_heads + 1, 32, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 1))
        for layer in (self.move, self.fidelity):
            nn.init.zeros_(layer.weight)
            zero_bias(layer)

    def start_from(self, expert_f: ExpertF) -> None:
        """Initialises Expert-T's own encoder from Expert-F's; does nothing with `regress`.

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
                    f"expert_t.channels: got {self.config.channels}, which Expert-F's {part} does not fit; set "
                    "model.tokens.start=scratch or give its size"
                ) from error

    def forward(
        self, x: Tensor, frozen: Frozen, knobs: Knobs | None = None, unknown: Tensor | None = None
    ) -> ExpertTOutput:
        """Restores (B, 3, 256, 256) RGB in [0, 1].

        `unknown` (B, 1, 256, 256) bool marks masked pixels. There `x` is filled smoothly (`ops.fill`), and the fidelity
        is 0.
        """
        knobs = knobs or Knobs()
        encoded = self.encode(x, frozen, unknown)
        tokens = self.tokenize(encoded)
        return self.decode(tokens, self.mix_quality(tokens, knobs.quality), encoded, frozen.prior, knobs)

    def initial_state(self) -> CodeState:
        """The state of a new face, for `restore_sequence`."""
        c, device = self.config, self.sureness.device
        clean = torch.zeros(1, c.quality, c.width, device=device)
        codes = torch.zeros(1, c.code_heads * c.code_width, CODES, CODES, device=device)
        return CodeState(clean, codes, torch.zeros(1, device=device))

    def restore_sequence(
        self, x: Tensor, frozen: Frozen, knobs: Knobs, smoothing: CodeSmoothing
    ) -> tuple[ExpertTOutput, CodeState]:
        """Restores the next frame of each face; see `nets.code_smoothing`.

        Args:
            x: (B, 3, 256, 256).
            frozen, knobs: as in `forward`.
            smoothing: holds the state that this method returned for the last frame, or `initial_state`.

        Returns:
            The output, and the state for the next frame.
        """
        encoded = self.encode(x, frozen)
        tokens = self.tokenize(encoded)
        if smoothing.pool:
            tokens = tokens._replace(clean=pool_tokens(tokens.clean, smoothing))
        out = self.decode(tokens, self.mix_quality(tokens, knobs.quality), encoded, frozen.prior, knobs, smoothing)
        return out, CodeState(tokens.clean, out.codes, smoothing.state.weight + smoothing.weights)

    def encode(self, x: Tensor, frozen: Frozen, unknown: Tensor | None = None) -> Encoded:
        """Runs the frozen networks on (B, 3, 256, 256); `unknown` as in `forward`.

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
            return Encoded(features, low, self.encoder(x), unknown)
        if frozen.expert_f is None:
            raise ConfigError("expert_f: got none, expected the network that runs first (regress=true)")
        with torch.no_grad():
            inside = frozen.expert_f.extract_features(x)
            features, low = prior.encode(frozen.expert_f.decode_half(x, inside).clamp_(0, 1))
            fine128 = torch.cat([inside.encoded128, inside.decoded128], 1)
        maps = FeatureMaps(
            inside.bottom, inside.encoded64, inside.encoded32, inside.decoded32, inside.decoded64, fine128
        )
        channels = tuple(m.shape[1] for m in (inside.encoded128, maps.encoded64, maps.encoded32, maps.bottom))
        if channels != tuple(c.channels):
            raise ConfigError(
                f"expert_f: got features of {channels} channels, expected {tuple(c.channels)}; give the Expert-F that "
                "Expert-T was trained with"
            )
        return Encoded(features, low, maps, unknown)

    def tokenize(self, encoded: Encoded) -> Tokens:
        """Content and quality tokens of an encoded face."""
        maps = encoded.maps
        unknown = encoded.unknown_at(GRID)
        content = self.content(self.norm16(maps.bottom), None if unknown is None else unknown.flatten(1))
        fine = self.norm32(maps.fine32), self.norm64(maps.fine64), maps.fine128
        quality = self.quality(content, (self.norm_given32(maps.encoded32), self.norm_given64(maps.encoded64)))
        return Tokens(content, quality, self.clean(content, quality), fine)

    def mix_quality(self, tokens: Tokens, quality: float | Tensor) -> Tensor:
        """Quality tokens between the input's (0) and the clean ones (1)."""
        weight = _per_face(quality, tokens.quality)
        return tokens.quality + weight * (tokens.clean - tokens.quality)

    def decode(
        self,
        tokens: Tokens,
        quality: Tensor,
        encoded: Encoded,
        prior: Prior,
        knobs: Knobs,
        smoothing: CodeSmoothing | None = None,
    ) -> ExpertTOutput:
        """Decodes the face with the quality tokens given, (B, K, width); with `smoothing` its codes change smoothly."""
        rendered = self.norm_tokens(self.renderer(tokens.content, quality))
        f16 = rearrange(rendered, "b (h w) c -> b c h w", h=GRID)
        f32 = self.norm_up(self.up32(self.leave16(f16) + self.join32(tokens.maps[0])))
        logits = self._logits(encoded.features.float() + self.move(f32).float(), prior)
        probabilities = logits.softmax(-1)
        codes = self._codes(probabilities, encoded, prior, knobs.lookup)
        if smoothing is not None:
            codes = smooth_codes(codes, smoothing, self.config.code_heads)
        shift = 2 * _per_face(knobs.fidelity, f32) - 1
        fidelity = (self.fidelity(f32).float().sigmoid() + shift).clamp(0, 1)
        unknown = encoded.unknown_at(CODES)
        if unknown is not None:
            fidelity = fidelity * ~unknown
        mean = quality.mean(1)
        maps = dict(zip(MODULATED, tokens.maps, strict=True))

        def modulate(size: int, decoded: Tensor) -> Tensor:
            weight = F.interpolate(fidelity, (size, size), mode="bilinear", align_corners=False)
            masked = encoded.unknown_at(size)
            if masked is not None:
                weight = weight * ~masked
            modulated: Tensor = self.transforms[str(size)](decoded, maps[size], weight.to(decoded.dtype), mean)
            return modulated

        image = prior.decode(codes.to(f32.dtype), encoded.low, modulate)
        # Detached: predicting the error must not change the image.
        uncertainty = entropy(logits.detach(), probabilities.detach())
        evidence = torch.cat([f32.detach(), uncertainty.to(f32.dtype), fidelity.detach().to(f32.dtype)], 1)
        return ExpertTOutput(image, logits, fidelity, self.scale(evidence).float(), codes)

    def _logits(self, features: Tensor, prior: Prior) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            parts = rearrange(features, "b (k d) h w -> b k h w d", k=self.config.code_heads)
            scaled = F.normalize(parts, dim=-1) * self.sureness.exp()[:, None, None, None]
            return torch.einsum("bkhwd,kcd->bkhwc", scaled, prior.codebook.vectors)

    def _codes(self, probabilities: Tensor, encoded: Encoded, prior: Prior, lookup: LookUp) -> Tensor:
        book = prior.codebook
        if lookup == "soft":
            return book.interpolate(probabilities)
        if lookup == "hard":
            return book.select(rearrange(probabilities.argmax(-1), "b k h w -> b h w k"))
        if lookup == "nearest":
            return book.select(book.nearest(encoded.features))
        raise ConfigError(f"lookup: got {lookup!r}, expected {', '.join(LOOK_UPS)}")


def entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Entropy of the codes, relative to a uniform choice: (B, heads, h, w, codes) to (B, heads, h, w) in 0..1.

    log Z - sum p l. log Z is computed from the most probable code, which needs one logarithm instead of one per code.

    Args:
        logits: l.
        probabilities: p, their softmax.
    """
    log_z = logits.amax(-1) - probabilities.amax(-1).log()
    return (log_z - torch.linalg.vecdot(probabilities, logits)).clamp(min=0) / math.log(logits.shape[-1])


def _per_face(value: float | Tensor, like: Tensor) -> Tensor:
    """A number, or (B,), shaped to multiply (B, ...)."""
    values = torch.as_tensor(value, dtype=torch.float32, device=like.device)
    return values.view(-1, *[1] * (like.ndim - 1)) if values.ndim else values
