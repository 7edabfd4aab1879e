# SPDX-License-Identifier: Apache-2.0
"""Convolutions and two fully connected layers: paper 002's CNN+FC.

This is the coarse network of Eigen et al., NIPS 2014, section 3.1.1. The widths 96, 256, 384, 384,
256 and 13824 -> 4096 -> 4070 follow from paper 002's parameter counts (27232 and 7329382).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.registry import register_network

#: (height, width) of the input, fixed by the fully connected layers, and of the output.
INPUT_SIZE = (228, 304)
OUTPUT_SIZE = (55, 74)
#: Width between the two fully connected layers (Eigen et al.).
HIDDEN = 4096


class CNNFC(nn.Module):
    """Five convolutions and two fully connected layers, the last of them linear."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 96, 11, stride=4),
            nn.MaxPool2d(2),
            *_convolution(96, 256, 5, padding=2),
            nn.MaxPool2d(2),
            *_convolution(256, 384, 3, padding=1),
            *_convolution(384, 384, 3, padding=1),
            *_convolution(384, 256, 3, padding=1),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Sequential(
            nn.Linear(256 * 6 * 9, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, OUTPUT_SIZE[0] * OUTPUT_SIZE[1]),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to depth in metres (B, 1, 55, 74).

        Resizes the image to 228x304 first.
        """
        image = F.interpolate(image, INPUT_SIZE, mode='bilinear', align_corners=False)
        return self.fc(self.features(image).flatten(1)).unflatten(1, (1, *OUTPUT_SIZE))


def _convolution(
    in_channels: int, out_channels: int, side: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, side, stride, padding),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


@register_network('cnn_fc')
def cnn_fc() -> CNNFC:
    """Build CNN+FC: 77,051,942 parameters, 73,301,990 of them in the fully connected layers."""
    return CNNFC()
