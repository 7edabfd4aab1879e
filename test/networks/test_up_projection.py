# SPDX-License-Identifier: Apache-2.0
"""Fast up-projection against its definition: zero unpooling and a 5x5 convolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from depth_perception.networks.unpooling import interleave
from depth_perception.networks.up_projection import FastUnpoolConv, UpProjection
from depth_perception.networks.up_projection_decoder import Concatenation1x1


def zero_unpooled(features):
    """(B, C, H, W) -> (B, C, 2H, 2W): each value at the top left of a 2x2 cell."""
    batch, channels, height, width = features.shape
    result = features.new_zeros(batch, channels, 2 * height, 2 * width)
    result[:, :, ::2, ::2] = features
    return result


def bias_map(layer, height, width):
    """(1, out, 2H, 2W): each branch's bias at the places that it fills."""
    result = torch.empty(
        1, layer.even_even.out_channels, 2 * height, 2 * width, dtype=layer.even_even.bias.dtype
    )
    for row, column, branch in (
        (0, 0, layer.even_even),
        (1, 0, layer.odd_even),
        (0, 1, layer.even_odd),
        (1, 1, layer.odd_odd),
    ):
        result[:, :, row::2, column::2] = branch.bias.detach().view(1, -1, 1, 1)
    return result


@pytest.mark.parametrize('size', [(4, 5), (1, 1), (1, 7), (3, 2)])
def test_fast_up_projection_equals_zero_unpooling_and_5x5_convolution(size):
    torch.manual_seed(0)
    layer = FastUnpoolConv(3, 4).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    slow = F.conv2d(zero_unpooled(features), layer.equivalent_kernel(), padding=2)
    torch.testing.assert_close(
        layer(features), slow + bias_map(layer, *size), rtol=1e-12, atol=1e-12
    )


def test_every_value_of_the_equivalent_kernel_is_used_once():
    layer = FastUnpoolConv(2, 3)
    weights = sum(branch.weight.numel() for branch in layer.children())
    assert layer.equivalent_kernel().numel() == weights == 25 * 2 * 3
    assert (layer.equivalent_kernel() != 0).all()


@pytest.mark.parametrize(
    ('channels_in', 'channels_out', 'expected'),
    [(1024, 512, 28_581_376), (512, 256, 7_147_264), (256, 128, 1_787_776), (128, 64, 447_424)],
)
def test_up_projection_blocks_have_the_published_parameters(channels_in, channels_out, expected):
    with torch.device('meta'):
        block = UpProjection(channels_in, channels_out)
    assert sum(parameter.numel() for parameter in block.parameters()) == expected


def test_up_projection_doubles_the_size_and_is_not_negative():
    block = UpProjection(6, 4).eval()
    result = block(torch.randn(1, 6, 3, 5))
    assert result.shape == (1, 4, 6, 10) and result.min() >= 0


def test_merging_without_concatenation_equals_convolving_it():
    torch.manual_seed(0)
    merge = Concatenation1x1(3, 4).double()
    skip, features = torch.randn(2, 7, 5, 6, dtype=torch.float64).split([3, 4], dim=1)
    expected = F.conv2d(torch.cat([skip, features], dim=1), merge.weight, merge.bias)
    torch.testing.assert_close(merge(skip, features), expected, rtol=1e-12, atol=1e-12)


def test_interleaving_equals_pixel_shuffle():
    places = torch.randn(4, 2, 3, 5, 6).unbind()
    expected = F.pixel_shuffle(torch.stack(places, dim=2).flatten(1, 2), 2)
    assert torch.equal(interleave(*places), expected)
