# SPDX-License-Identifier: Apache-2.0
"""DenseDepth: paper 004 (Alhashim and Wonka 2018), Fig. 1 and section 3.1.

The output is reciprocal: 10 m / depth. Its weights files declare this (`output: reciprocal`), and
an input of RGB / 255 without ImageNet's normalisation (mean 0, std 1), as in the paper's code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.encoder import import_timm
from depth_perception.networks.registry import register_network
from depth_perception.networks.small_images import at_least

#: Children of DenseNet's `features` after which a skip starts, stride 2 to 16.
_TAPS = ('norm0', 'pool0', 'transition1', 'transition2')
_SKIP_CHANNELS = (64, 64, 128, 256)
_CHANNELS = 1664
_SLOPE = 0.2  # paper 004, section 3.1: leaky ReLU
#: Smallest height and width, in pixels, that leaves at least one feature at stride 32.
SMALLEST_SIDE = 32


class DenseNetEncoder(nn.Module):
    """DenseNet-169 with the skip features of paper 004, taken after the poolings.

    timm's own feature pyramid takes them before the poolings, so this class runs its blocks itself.
    """

    def __init__(self) -> None:
        super().__init__()
        timm = import_timm()
        self.name = 'densenet169'
        self.body = timm.create_model(
            self.name, pretrained=False, num_classes=0, global_pool=''
        ).features

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features of 64, 64, 128, 256, 1664 channels at strides 2, 4, 8, 16, 32."""
        taps = []
        features = image
        for name, block in self.body.named_children():
            features = block(features)
            if name in _TAPS:
                taps.append(features)
        return [*taps, features]


class UpStage(nn.Module):
    """Resize to the skip's size, concatenate, apply two 3x3 convolutions with leaky ReLU."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels + skip_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Merge (B, in, h, w) and (B, skip, H, W) to (B, out, H, W)."""
        # TensorFlow's resize uses half-pixel centres: align_corners=False.
        features = F.interpolate(features, skip.shape[-2:], mode='bilinear', align_corners=False)
        features = F.leaky_relu(self.first(torch.cat([features, skip], dim=1)), _SLOPE)
        return F.leaky_relu(self.second(features), _SLOPE)


class DenseDepth(nn.Module):
    """Reciprocal depth by DenseNet-169 and a plain decoder without BatchNorm.

    Args:
        half_width: use half the decoder width, the default of the published code (21,365,405
            parameters). The paper and the released weights use the full width.
    """

    def __init__(self, half_width: bool = False) -> None:
        super().__init__()
        self.encoder = DenseNetEncoder()
        width = _CHANNELS // 2 if half_width else _CHANNELS
        self.bridge = nn.Conv2d(_CHANNELS, width, 1)
        self.stages = nn.ModuleList()
        for skip_channels in reversed(_SKIP_CHANNELS):
            self.stages.append(UpStage(width, skip_channels, width // 2))
            width //= 2
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Map RGB / 255 (B, 3, H, W) to 10 m / depth (B, 1, ceil(H / 2), ceil(W / 2))."""
        *skips, features = self.encoder(at_least(image, SMALLEST_SIDE))
        features = self.bridge(features)
        for stage, skip in zip(self.stages, reversed(skips)):
            features = stage(features, skip)
        return self.head(features)


@register_network('densedepth')
def densedepth(half_width: bool = False) -> DenseDepth:
    """Build paper 004's network: 42,657,689 parameters; half the input's size."""
    return DenseDepth(half_width)
