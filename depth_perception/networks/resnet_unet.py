# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 U-Net with fast up-projection and plain concatenation: paper 000.

The paper gives no channel plan. The halving of channels is read as Laina's decoder widths: halving
the concatenated features instead gives 185 million parameters, against the paper's "greatly fewer".
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
        """Normalised image (B, 3, H, W) -> depth in metres (B, 1, ceil(H / 2), ceil(W / 2))."""
        return self.decoder(self.encoder(image))


@register_network('resnet_unet')
def resnet_unet(decoder_init_std: float = 0.01, dropout: float = 0.0,
                head_bias: float = MEAN_INDOOR_DEPTH) -> ResNetUNet:
    """Paper 000's network, 80,775,425 parameters; half the input's size. It names no dropout."""
    encoder = Encoder('resnet50')
    decoder = UpProjectionDecoder(
        encoder.channels, skip='concat', bridge_bias=False, dropout=dropout,
        init_std=decoder_init_std, head_bias=head_bias)
    return ResNetUNet(decoder, encoder)
