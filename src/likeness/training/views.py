"""Pictures of what the prior has learned: all codes, reconstructions and interpolations."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch import Tensor

from likeness.nets.prior import LATENT_SIZE, LOW_SIZE, Prior
from likeness.types import Pixels

BLOCK, CELL = 4, 16  # each code fills 4 x 4 cells of 16 pixels, of which the central 2 x 2 are shown
COLUMNS = 32


def to_pixels(images: Tensor) -> Pixels:
    """(B, 3, H, W) in about [0, 1] to (B, H, W, 3) uint8."""
    rounded = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def codebook_sheet(prior: Prior, head: int = 0) -> Pixels:
    """Decodes each code of one head on a uniform grey; the codes of the other heads are zero.

    Returns:
        (32 x rows, 32 x 32, 3) uint8: 32 codes a row, 32 pixels each, in the order of the codebook.
    """
    book = prior.codebook
    device = book.vectors.device
    across = LATENT_SIZE // BLOCK
    patches, size = [], book.size
    low = torch.full((1, 3, LOW_SIZE, LOW_SIZE), 0.5, device=device)
    for first in range(0, size, across * across):
        numbers = torch.arange(first, first + across * across, device=device).clamp(max=size - 1)
        grid = numbers.view(across, across).repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
        codes = torch.zeros(1, book.heads, book.width, LATENT_SIZE, LATENT_SIZE, device=device)
        codes[0, head] = book.vectors[head][grid].permute(2, 0, 1)
        image = prior.decode(codes.flatten(1, 2), low)[0]
        blocks = rearrange(image, "c (r y) (k x) -> (r k) c y x", y=BLOCK * CELL, x=BLOCK * CELL)
        patches.append(blocks[: size - first, :, CELL:-CELL, CELL:-CELL])
    codes_shown = torch.cat(patches)
    columns = min(COLUMNS, size)
    rows = -(-size // columns)
    empty = torch.full((rows * columns - size, *codes_shown.shape[1:]), 0.5, device=device)
    sheet = rearrange(torch.cat([codes_shown, empty]), "(r k) c y x -> 1 c (r y) (k x)", k=columns)
    return to_pixels(sheet)[0]


@torch.no_grad()
def reconstructions(prior: Prior, images: Tensor) -> Pixels:
    """Images (B, 3, 256, 256) in [0, 1] beside their reconstructions: (256 B, 512, 3) uint8."""
    reconstructed = torch.nn.functional.avg_pool2d(prior(images).image, 2)
    return rearrange(to_pixels(torch.cat([images, reconstructed], 3)), "b h w c -> (b h) w c")


@torch.no_grad()
def interpolation(prior: Prior, first: Tensor, second: Tensor, steps: int = 5) -> Pixels:
    """Interpolates between two faces: mixes features and low bands, then decodes the nearest codes.

    Args:
        first, second: (3, 256, 256) in [0, 1].
        steps: number of pictures, both faces included.

    Returns:
        (256, 256 x steps, 3) uint8.
    """
    features, low = prior.encode(torch.stack([first, second]))
    alpha = torch.linspace(0, 1, steps, device=features.device).view(-1, 1, 1, 1)
    mixed_features, mixed_low = ((1 - alpha) * pair[:1] + alpha * pair[1:] for pair in (features, low))
    images = prior.decode(prior.codebook.select(prior.codebook.nearest(mixed_features)), mixed_low)
    return rearrange(to_pixels(torch.nn.functional.avg_pool2d(images, 2)), "b h w c -> h (b w) c")


class CodebookSheet(Callback):
    """With every validation, saves the codebook sheet of each head, as a PNG and to W&B if it is used.

    Args:
        folder: of the PNGs, which each validation overwrites.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the codebook. The EMA callback precedes this one, so the averaged weights are already in place."""
        if trainer.sanity_checking:
            return
        net = pl_module.net
        assert isinstance(net, Prior)
        self.folder.mkdir(parents=True, exist_ok=True)
        for head in range(net.codebook.heads):
            sheet = codebook_sheet(net, head)
            Image.fromarray(sheet).save(self.folder / f"codebook_{head}.png")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"val/codebook_{head}", [sheet], step=trainer.global_step)
