# SPDX-License-Identifier: Apache-2.0
"""Slow unpooling: paper 002 (Tang & Pham), which compares two ways to fill the new pixels.

Zero unpooling is from Laina et al., 3DV 2016, section 3.1; averaging neighbours is from paper 002.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Unpooling = Literal['zero', 'average', 'fast', 'leading']


def zero_unpool(features: Tensor) -> Tensor:
    """Upsample (B, C, H, W) to (B, C, 2H, 2W): values at the top left of 2x2 cells, the rest 0."""
    zeros = torch.zeros_like(features)
    return interleave(features, zeros, zeros, zeros)


def average_unpool(features: Tensor) -> Tensor:
    """Upsample (B, C, H, W) to (B, C, 2H, 2W): new pixels are the mean of two neighbours.

    The paper says "the mean of the two nearest neighbours". The diagonal pixel has four nearest
    neighbours; here it takes the right and the lower one. Edges are replicated.
    """
    padded = F.pad(features, (0, 1, 0, 1), mode='replicate')
    right, lower = padded[:, :, :-1, 1:], padded[:, :, 1:, :-1]
    return interleave(features, (features + right) / 2, (features + lower) / 2, (right + lower) / 2)


def interleave(top_left: Tensor, top_right: Tensor, low_left: Tensor, low_right: Tensor) -> Tensor:
    """Interleave four tensors (B, C, H, W) to (B, C, 2H, 2W).

    Like pixel_shuffle, but with the four positions before the channels, so that inference engines
    move whole channels instead of single values.
    """
    batch, channels, height, width = top_left.shape
    places = torch.cat([top_left, top_right, low_left, low_right], dim=1)
    places = places.reshape(batch, 2, 2, channels, height, width)
    return places.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels, 2 * height, 2 * width)


class UnpoolConv(nn.Module):
    """Unpooling by 2 and a 5x5 convolution.

    Args:
        in_channels: channels of the input (B, in_channels, H, W).
        out_channels: channels of the output (B, out_channels, 2H, 2W).
        unpooling: `zero` or `average`.

    Raises:
        ValueError: unpooling is unknown.
    """

    def __init__(self, in_channels: int, out_channels: int, unpooling: Unpooling) -> None:
        super().__init__()
        if unpooling not in ('zero', 'average'):
            raise ValueError(
                f'unknown unpooling {unpooling!r}: choose zero, average, fast or leading'
            )
        self.unpool = zero_unpool if unpooling == 'zero' else average_unpool
        self.convolution = nn.Conv2d(in_channels, out_channels, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, 2H, 2W)."""
        return self.convolution(self.unpool(features))
