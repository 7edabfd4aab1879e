# SPDX-License-Identifier: Apache-2.0
"""Images smaller than what pooling leaves anything of."""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def at_least(image: Tensor, side: int) -> Tensor:
    """(B, C, H, W), enlarged so that no side is shorter than `side` pixels; others untouched."""
    height, width = image.shape[-2:]
    if height >= side and width >= side:
        return image
    size = (max(height, side), max(width, side))
    return F.interpolate(image, size, mode='bilinear', align_corners=False)
