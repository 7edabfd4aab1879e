# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 U-Net with fast up-projection and plain concatenation: paper 000.

The paper does not list the channels. We take "halving" to mean Laina's decoder widths: halving the
concatenated features instead gives 185 million parameters, which contradicts "greatly fewer".
"""

from __future__ import annotations

from torch import Tensor, nn

from depth_perception.networks.encoder import Encoder
from depth_perception.networks.registry import register_network
from depth_perception.networks.up_projection_decoder import (
    MEAN_INDOOR_DEPTH,
    UpProjectionDecoder,
)


class ResNetUNet(nn.Module):
    """A ResNet-50 encoder and the up-projection decoder; the output has half the input's size."""

    def __init__(self, decoder: UpProjectionDecoder, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to metres (B, 1, ceil(H / 2), ceil(W / 2))."""
        return self.decoder(self.encoder(image))


@register_network('resnet_unet')
def resnet_unet(
    decoder_init_std: float = 0.01, dropout: float = 0.0, head_bias: float = MEAN_INDOOR_DEPTH
) -> ResNetUNet:
    """Build paper 000's network: 80,775,425 parameters; half the input's size.

    The paper does not mention dropout, so it is off by default.
    """
    encoder = Encoder('resnet50')
    decoder = UpProjectionDecoder(
        encoder.channels,
        skip='concat',
        bridge_bias=False,
        dropout=dropout,
        init_std=decoder_init_std,
        head_bias=head_bias,
    )
    return ResNetUNet(decoder, encoder)
