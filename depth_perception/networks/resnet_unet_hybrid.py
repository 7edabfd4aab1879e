# SPDX-License-Identifier: Apache-2.0
"""Hybrid ResNet-50 U-Net with fast up-projection: paper 003 (Harsanyi et al. 2018), Fig. 2."""

from __future__ import annotations

from depth_perception.networks.encoder import Encoder
from depth_perception.networks.registry import register_network
from depth_perception.networks.resnet_unet import ResNetUNet
from depth_perception.networks.up_projection_decoder import (
    MEAN_INDOOR_DEPTH,
    UpProjectionDecoder,
)


@register_network('resnet_unet_hybrid')
def resnet_unet_hybrid(
    decoder_init_std: float = 0.01, head_bias: float = MEAN_INDOOR_DEPTH
) -> ResNetUNet:
    """Build paper 003's network: 64,614,017 parameters; trained at 320x256, output 160x128."""
    encoder = Encoder('resnet50')
    decoder = UpProjectionDecoder(
        encoder.channels,
        skip='concat_1x1',
        bridge_bias=True,
        init_std=decoder_init_std,
        head_bias=head_bias,
    )
    return ResNetUNet(decoder, encoder)
