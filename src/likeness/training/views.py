"""Pictures of what the prior has learnt: every code, and the way from one face's codes to another's."""

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

BLOCK, CELL = 4, 16  # a code is laid on 4 x 4 cells of 16 pixels; the 2 x 2 in the middle are shown
COLUMNS = 32


def to_pixels(images: Tensor) -> Pixels:
    """(B, 3, H, W) in about [0, 1] to (B, H, W, 3) uint8."""
    rounded = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def codebook_sheet(prior: Prior, head: int = 0) -> Pixels:
    """What each code of one head decodes to on an even grey, the others' codes left out.

    Returns:
        (32 x rows, 32 x 32, 3) uint8, 32 codes a row, 32 pixels each, in the order of the codebook.
    """
    book = prior.codebook
    device = book.vectors.device
    across = LATENT_SIZE // BLOCK
    sheets, size = [], book.size
    low = torch.full((1, 3, LOW_SIZE, LOW_SIZE), 0.5, device=device)
    for first in range(0, size, across * across):
        numbers = torch.arange(first, first + across * across, device=device).clamp(max=size - 1)
        grid = numbers.view(across, across).repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
        codes = torch.zeros(1, book.heads, book.width, LATENT_SIZE, LATENT_SIZE, device=device)
        codes[0, head] = book.vectors[head][grid].permute(2, 0, 1)
        image = prior.decode(codes.flatten(1, 2), low)[0]
        blocks = rearrange(image, "c (r y) (k x) -> (r k) c y x", y=BLOCK * CELL, x=BLOCK * CELL)
        sheets.append(blocks[: size - first, :, CELL:-CELL, CELL:-CELL])
    patches = torch.cat(sheets)
    columns = min(COLUMNS, size)
    rows = -(-size // columns)
    empty = torch.full((rows * columns - size, *patches.shape[1:]), 0.5, device=device)
    sheet = rearrange(torch.cat([patches, empty]), "(r k) c y x -> 1 c (r y) (k x)", k=columns)
    return to_pixels(sheet)[0]


@torch.no_grad()
def reconstructions(prior: Prior, images: Tensor) -> Pixels:
    """(B, 3, 256, 256) in [0, 1] beside what its codes decode to: (256 B, 512, 3) uint8."""
    found = torch.nn.functional.avg_pool2d(prior(images).image, 2)
    return rearrange(to_pixels(torch.cat([images, found], 3)), "b h w c -> (b h) w c")


@torch.no_grad()
def interpolation(prior: Prior, first: Tensor, second: Tensor, steps: int = 5) -> Pixels:
    """From one face to another through the codebook: features and low band are mixed, then the nearest codes decoded.

    Args:
        first, second: (3, 256, 256) in [0, 1].
        steps: pictures, both ends included.

    Returns:
        (256, 256 x steps, 3) uint8.
    """
    features, low = prior.encode(torch.stack([first, second]))
    shares = torch.linspace(0, 1, steps, device=features.device).view(-1, 1, 1, 1)
    mixed, light = ((1 - shares) * pair[:1] + shares * pair[1:] for pair in (features, low))
    images = prior.decode(prior.codebook.select(prior.codebook.nearest(mixed)), light)
    return rearrange(to_pixels(torch.nn.functional.avg_pool2d(images, 2)), "b h w c -> h (b w) c")


class CodebookSheet(Callback):
    """With every validation: the sheet of every head by the validated weights, as PNG and to W&B where it logs.

    Args:
        folder: where the PNGs go; the last ones are kept.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the codebook of the module's network; the average, listed before, is in place by now."""
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
