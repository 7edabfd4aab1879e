# SPDX-License-Identifier: Apache-2.0
"""Enlarge images that are too small for the poolings of a network."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def at_least(image: Tensor, side: int) -> Tensor:
    """Enlarge an image (B, C, H, W) so that neither side is shorter than `side` pixels."""
    height, width = image.shape[-2:]
    if height >= side and width >= side:
        return image
    size = (max(height, side), max(width, side))
    return F.interpolate(image, size, mode='bilinear', align_corners=False)
