# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 and up-projections without skips (FCRN, Laina et al. 2016).

Paper 002's "CNN + residual", and the network that paper 003 extends.
"""

from __future__ import annotations

from depth_perception.networks.encoder import Encoder
from depth_perception.networks.registry import register_network
from depth_perception.networks.resnet_unet import ResNetUNet
from depth_perception.networks.unpooling import Unpooling
from depth_perception.networks.up_projection import Norm
from depth_perception.networks.up_projection_decoder import (
    MEAN_INDOOR_DEPTH,
    UpProjectionDecoder,
)


@register_network('cnn_residual')
def cnn_residual(
    unpooling: Unpooling = 'zero',
    norm: Norm = 'batch',
    crop: bool = False,
    decoder_init_std: float = 0.01,
    head_bias: float = MEAN_INDOOR_DEPTH,
) -> ResNetUNet:
    """Build paper 002's network: 63,566,913 parameters; output 128x160 for an input of 228x304.

    Args:
        unpooling: `zero` or `average`, which the paper compares, or `fast` (as `zero`, in less
            than half the time; 63,572,673 parameters, because each of the four positions has its
            own bias).
        norm: `batch`, or `none` for no normalisation inside the up-projections (the paper
            mentions no normalisation).
        crop: crop to half the input's size, so that the depth is aligned with the image even if a
            side is not a multiple of 32. Laina's network does not crop; it learns the stretch for
            its fixed input size.
        decoder_init_std: standard deviation of the decoder's initial weights.
        head_bias: initial bias of the head, in metres.
    """
    return _without_skips(unpooling, norm, crop, decoder_init_std, head_bias)


@register_network('resnet_fcrn')
def resnet_fcrn(decoder_init_std: float = 0.01, head_bias: float = MEAN_INDOOR_DEPTH) -> ResNetUNet:
    """Build paper 003's network without skips: 63,572,673 parameters; half the input's size."""
    return _without_skips('fast', 'batch', True, decoder_init_std, head_bias)


def _without_skips(
    unpooling: Unpooling, norm: Norm, crop: bool, init_std: float, head_bias: float
) -> ResNetUNet:
    encoder = Encoder('resnet50')
    decoder = UpProjectionDecoder(
        encoder.channels,
        skip='none',
        bridge_bias=True,
        init_std=init_std,
        unpooling=unpooling,
        norm=norm,
        crop=crop,
        head_bias=head_bias,
    )
    return ResNetUNet(decoder, encoder)
