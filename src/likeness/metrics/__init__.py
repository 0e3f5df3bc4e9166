"""Figures that compare a restored face with the truth.

Every module is a pure function on (B, 3, H, W) tensors in [0, 1] that returns one value per image;
where validation during training needs a running mean there is a thin torchmetrics class beside it.
"""
