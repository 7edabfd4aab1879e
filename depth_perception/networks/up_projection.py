# SPDX-License-Identifier: Apache-2.0
"""Up-projection: Laina et al., 3DV 2016, sections 3.1 and 3.2; used by papers 000, 002 and 003.

After a zero unpooling (each value at the top left of a 2x2 cell, the rest 0), a 5x5 convolution
mostly multiplies by zeros. Four small convolutions, one for each position in the cell, give the
same result when their outputs are interleaved.
"""

from __future__ import annotations

import warnings
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.unpooling import UnpoolConv, Unpooling, interleave

Norm = Literal['batch', 'none']

# The warning is about a copy of the features, which is cheap compared with the convolution.
warnings.filterwarnings('ignore', "Using padding='same' with even kernel lengths")


class FastUnpoolConv(nn.Module):
    """Zero unpooling by 2 and a 5x5 convolution, computed only on the non-zero values.

    Args:
        in_channels: channels of the input (B, in_channels, H, W).
        out_channels: channels of the output (B, out_channels, 2H, 2W).

    Kernels of size 2 are padded only at the bottom and right (`same`), the only choice that equals
    the 5x5 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.even_even = nn.Conv2d(in_channels, out_channels, (3, 3), padding='same')
        self.odd_even = nn.Conv2d(in_channels, out_channels, (2, 3), padding='same')
        self.even_odd = nn.Conv2d(in_channels, out_channels, (3, 2), padding='same')
        self.odd_odd = nn.Conv2d(in_channels, out_channels, (2, 2), padding='same')

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, 2H, 2W)."""
        return interleave(
            self.even_even(features),
            self.even_odd(features),
            self.odd_even(features),
            self.odd_odd(features),
        )

    def equivalent_kernel(self) -> Tensor:
        """Return the 5x5 kernel (out, in, 5, 5) that is equivalent after a zero unpooling."""
        weight = self.even_even.weight
        kernel = weight.new_zeros(*weight.shape[:2], 5, 5)
        kernel[:, :, 0::2, 0::2] = self.even_even.weight
        kernel[:, :, 1::2, 0::2] = self.odd_even.weight
        kernel[:, :, 0::2, 1::2] = self.even_odd.weight
        kernel[:, :, 1::2, 1::2] = self.odd_odd.weight
        return kernel


class LeadingUnpoolConv(FastUnpoolConv):
    """Like `FastUnpoolConv`, but kernels of 2 are padded at the top and left (Laina et al.)."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, 2H, 2W)."""
        padded = F.pad(features, (1, 1, 1, 1))
        parts = (
            (self.even_even, padded),
            (self.even_odd, padded[..., :-1]),
            (self.odd_even, padded[..., :-1, :]),
            (self.odd_odd, padded[..., :-1, :-1]),
        )
        return interleave(*(F.conv2d(part, place.weight, place.bias) for place, part in parts))


class UpProjection(nn.Module):
    """Residual up-projection block: doubles height and width (Laina et al., Fig. 2c and 3).

    Args:
        in_channels: channels of the input (B, in_channels, H, W).
        out_channels: channels of the output (B, out_channels, 2H, 2W).
        unpooling: `fast`, `leading`, or the slow `zero` or `average` that paper 002 compares.
        norm: `batch`, or `none` for no normalisation (paper 002 mentions no normalisation here).

    Raises:
        ValueError: unpooling or norm is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        unpooling: Unpooling = 'fast',
        norm: Norm = 'batch',
    ) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _unpool_conv(unpooling, in_channels, out_channels),
            _norm(norm, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            _norm(norm, out_channels),
        )
        self.side = nn.Sequential(
            _unpool_conv(unpooling, in_channels, out_channels),
            _norm(norm, out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, 2H, 2W)."""
        return F.relu(self.main(features) + self.side(features))


def _unpool_conv(unpooling: Unpooling, in_channels: int, out_channels: int) -> nn.Module:
    if unpooling in ('fast', 'leading'):
        kind = FastUnpoolConv if unpooling == 'fast' else LeadingUnpoolConv
        return kind(in_channels, out_channels)
    return UnpoolConv(in_channels, out_channels, unpooling)


def _norm(norm: str, channels: int) -> nn.Module:
    if norm not in ('batch', 'none'):
        raise ValueError(f'unknown norm {norm!r}: choose batch or none')
    return nn.BatchNorm2d(channels) if norm == 'batch' else nn.Identity()
