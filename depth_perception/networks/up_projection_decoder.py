# SPDX-License-Identifier: Apache-2.0
"""The up-projection decoder that papers 000, 002 and 003 share.

They differ in how they use the encoder's features: not at all (paper 002, after Laina's FCRN), by
plain concatenation (paper 000), or by concatenation and a 1x1 convolution (paper 003).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.unpooling import Unpooling
from depth_perception.networks.up_projection import Norm, UpProjection

Skip = Literal['none', 'concat', 'concat_1x1']

#: Laina et al., section 3.1: width of the bridge, then of each of the four up-projections.
WIDTHS = (1024, 512, 256, 128, 64)
#: Mean depth of an indoor training set, metres: a good initial bias for the head.
MEAN_INDOOR_DEPTH = 2.7


class Concatenation(nn.Module):
    """Concatenation of skip and features, without parameters."""

    def __init__(self, skip_channels: int, width: int) -> None:
        super().__init__()

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:
        """Merge (B, skip_channels, H, W), (B, width, H, W) to (B, skip_channels + width, H, W)."""
        return torch.cat([skip, features], dim=1)


class Concatenation1x1(nn.Conv2d):
    """1x1 convolution of the concatenation, computed as the sum of two convolutions."""

    def __init__(self, skip_channels: int, width: int) -> None:
        super().__init__(skip_channels + width, width, 1)

    # Takes two inputs instead of their concatenation.
    def forward(self, skip: Tensor, features: Tensor) -> Tensor:  # type: ignore[override]
        """Merge (B, skip_channels, H, W) and (B, width, H, W) to (B, width, H, W)."""
        of_skip, of_features = self.weight.split([skip.shape[1], features.shape[1]], dim=1)
        return F.conv2d(skip, of_skip) + F.conv2d(features, of_features, self.bias)


_MERGES: dict[Skip, type[nn.Module]] = {
    'none': Concatenation,
    'concat': Concatenation,
    'concat_1x1': Concatenation1x1,
}


class UpProjectionDecoder(nn.Module):
    """Bridge, four up-projections with skips, and a head that ends in ReLU.

    Args:
        encoder_channels: channels of the five encoder features, strides 2 to 32.
        skip: how to merge the features of strides 16 to 2.
        bridge_bias: whether the 1x1 bridge has a bias (papers 002 and 003: yes; 000: no).
        dropout: dropout probability before the head (papers 002 and 003: 0.5).
        init_std: standard deviation of all initial weights (paper 003's code: 0.01; its text:
            0.001).
        unpooling: see `UpProjection` (paper 002 varies it).
        norm: see `UpProjection` (paper 002 varies it).
        head_bias: initial bias of the head, in metres. The papers start at 0, where the ReLU may
            output 0 everywhere and then never learns.
        crop: remove the extra row or column of features that were upsampled from an odd size, so
            that the output is aligned with the image. Optional without skips (Laina's output is
            stretched: 128x160 for an input of 228x304).

    Raises:
        ValueError: unpooling or norm is unknown, or there are skips but no crop.
    """

    def __init__(
        self,
        encoder_channels: tuple[int, ...],
        skip: Skip,
        bridge_bias: bool,
        dropout: float = 0.5,
        init_std: float = 0.01,
        unpooling: Unpooling = 'fast',
        norm: Norm = 'batch',
        crop: bool = True,
        head_bias: float = MEAN_INDOOR_DEPTH,
    ) -> None:
        super().__init__()
        if skip != 'none' and not crop:
            raise ValueError('skips need features of their own size: crop must be true')
        self.skip = skip
        self.crop = crop
        self.bridge = nn.Sequential(
            nn.Conv2d(encoder_channels[-1], WIDTHS[0], 1, bias=bridge_bias),
            nn.BatchNorm2d(WIDTHS[0]),
        )
        self.ups = nn.ModuleList()
        self.merges = nn.ModuleList()
        channels = WIDTHS[0]
        for width, skip_channels in zip(WIDTHS[1:], reversed(encoder_channels[:-1])):
            self.ups.append(UpProjection(channels, width, unpooling, norm))
            channels = width if skip != 'concat' else width + skip_channels
            self.merges.append(_MERGES[skip](skip_channels, width))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(channels, 1, 3, padding=1)
        self._initialise(init_std, head_bias)

    def forward(self, encoder_features: list[Tensor]) -> Tensor:
        """Decode five tensors (B, C_i, H_i, W_i), stride 2 first, to metres (B, 1, H_0, W_0).

        Without `crop` the output is (B, 1, 16 H_4, 16 W_4).
        """
        *skips, features = encoder_features
        features = self.bridge(features)
        for up, merge, skip in zip(self.ups, self.merges, reversed(skips)):
            features = up(features)
            if self.crop:
                # If the skip has an odd size, the doubled features have one row or column too many.
                features = features[..., : skip.shape[-2], : skip.shape[-1]]
            if self.skip != 'none':
                features = merge(skip, features)
        return torch.relu(self.head(self.dropout(features)))

    def _initialise(self, std: float, head_bias: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.head.bias is not None:
            nn.init.constant_(self.head.bias, head_bias)
