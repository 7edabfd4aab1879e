# SPDX-License-Identifier: Apache-2.0
"""Eight 3x3 convolutions: paper 002's pure CNN (Ma, Geng and Bie, CS231n 2017, report 203).

The paper does not give the widths (its figure is missing); 64 to 256 and back is our choice.
"""

from __future__ import annotations

from torch import Tensor, nn

from depth_perception.networks.registry import register_network
from depth_perception.networks.small_images import at_least
from depth_perception.networks.up_projection_decoder import MEAN_INDOOR_DEPTH

#: Widths of the first seven convolutions.
WIDTHS = (64, 64, 128, 128, 256, 256, 128)
#: Indices of the convolutions that a 2x2 pooling follows.
POOLED = (1, 3)
#: Smallest height and width, in pixels, that survives three poolings.
SMALLEST_SIDE = 8


class CNN(nn.Module):
    """Eight convolutions, each with BatchNorm and ReLU.

    Args:
        last: the eighth convolution, (B, 128, H / 4, W / 4) -> (B, 1, h, w).
        head_bias: initial bias of the last BatchNorm, in metres.
    """

    def __init__(self, last: nn.Module, head_bias: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for index, width in enumerate(WIDTHS):
            layers += [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            layers += [nn.MaxPool2d(2)] if index in POOLED else []
            channels = width
        self.body = nn.Sequential(*layers)
        norm = nn.BatchNorm2d(1)
        self.head = nn.Sequential(last, norm, nn.ReLU(inplace=True))
        nn.init.constant_(norm.bias, head_bias)

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to depth in metres (B, 1, h, w), h about H / 4."""
        return self.head(self.body(at_least(image, SMALLEST_SIDE)))


@register_network('cnn')
def cnn(head_bias: float = MEAN_INDOOR_DEPTH) -> CNN:
    """Build the pure CNN: 1,443,651 parameters; output 57x76 for an input of 228x304."""
    return CNN(nn.Conv2d(WIDTHS[-1], 1, 3, padding=1), head_bias)
