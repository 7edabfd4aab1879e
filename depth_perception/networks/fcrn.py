# SPDX-License-Identifier: Apache-2.0
"""FCRN as Laina et al. (3DV 2016) released it: `cnn_residual` in the layout of their weights.

Their encoder is Caffe's ResNet-50: the first 1x1 convolution of a stage has the stride, pooling is
padded only at the bottom and right, and unpooling only at the top and left.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.encoder import Encoder
from depth_perception.networks.registry import register_network
from depth_perception.networks.resnet_unet import ResNetUNet
from depth_perception.networks.up_projection_decoder import UpProjectionDecoder


class SamePool(nn.Module):
    """3x3 max pooling at stride 2 with TensorFlow's `SAME` padding, for non-negative features."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        height, width = features.shape[-2:]
        return F.max_pool2d(F.pad(features, (width % 2, 1, height % 2, 1)), 3, 2)


@register_network('fcrn')
def fcrn() -> ResNetUNet:
    """Build FCRN: 63,572,673 parameters; 128x160 for 228x304, stretched as in the original."""
    encoder = Encoder('resnet50')
    for stage in ('layer2', 'layer3', 'layer4'):
        block = encoder.body[stage][0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    encoder.body['maxpool'] = SamePool()
    decoder = UpProjectionDecoder(
        encoder.channels, skip='none', bridge_bias=True, unpooling='leading', crop=False
    )
    return ResNetUNet(decoder, encoder)
