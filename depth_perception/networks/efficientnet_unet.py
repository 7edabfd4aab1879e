# SPDX-License-Identifier: Apache-2.0
"""EfficientNet U-Net without selective feature fusion: models 1 and 2 of paper 001's ablation.

The paper does not describe this baseline; upsampling, concatenation and two convolutions are our
choice. Encoder, head and depth range are the same as in the full network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.efficientnet_sff import EfficientNetSFF
from depth_perception.networks.registry import register_network


class ConcatenationStage(nn.Module):
    """Resize to the skip's size, concatenate, reduce to its channels by two 3x3 convolutions."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(in_channels + skip_channels, skip_channels, 3, padding=1),
            nn.BatchNorm2d(skip_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(skip_channels, skip_channels, 3, padding=1),
            nn.BatchNorm2d(skip_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Merge (B, in, h, w) and (B, skip, H, W) to (B, skip, H, W)."""
        features = F.interpolate(features, skip.shape[-2:], mode='bilinear', align_corners=False)
        return self.convolutions(torch.cat([skip, features], dim=1))


class EfficientNetUNet(EfficientNetSFF):
    """Paper 001's network with plain U-Net stages instead of fusion stages."""

    stage = ConcatenationStage


@register_network('efficientnet_unet')
def efficientnet_unet(
    encoder: str = 'efficientnet_b2',
    max_depth: float = 10.0,
) -> EfficientNetUNet:
    """Build the U-Net: 7,967,747 parameters with EfficientNet-B2; depth at the image's size."""
    return EfficientNetUNet(encoder, max_depth)
