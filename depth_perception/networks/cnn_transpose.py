# SPDX-License-Identifier: Apache-2.0
"""Paper 002's CNN with a third pooling, followed by a transposed convolution that upsamples.

The transposed convolution causes checkerboard artefacts, as the paper shows.
"""

from __future__ import annotations

from torch import nn

from depth_perception.networks.cnn import CNN, WIDTHS
from depth_perception.networks.registry import register_network
from depth_perception.networks.up_projection_decoder import MEAN_INDOOR_DEPTH


@register_network('cnn_transpose')
def cnn_transpose(head_bias: float = MEAN_INDOOR_DEPTH) -> CNN:
    """Build the CNN: 1,444,547 parameters; output 56x76 for an input of 228x304."""
    return CNN(
        nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(WIDTHS[-1], 1, 4, stride=2, padding=1)),
        head_bias,
    )
