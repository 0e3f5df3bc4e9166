"""Metrics of restored faces and clips.

Unless a module says otherwise, a metric is a pure function of (B, 3, H, W) tensors in [0, 1] that returns one value for
each image.
"""
