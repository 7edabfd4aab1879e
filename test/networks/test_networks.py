# SPDX-License-Identifier: Apache-2.0
"""The networks as a whole: parameters, sizes, ranges, and the registry that makes them."""

from __future__ import annotations

import functools

import pytest
import torch

from depth_perception.networks import create_network, network_names
from depth_perception.networks.encoder import STRIDES, Encoder
from depth_perception.networks.up_projection_decoder import WIDTHS, UpProjectionDecoder

# Sides that are even, odd, and odd at every halving (33 -> 17 -> 9 -> 5 -> 3).
SIZES = [(64, 96), (65, 97), (33, 47), (50, 61), (7, 5)]


@functools.lru_cache(maxsize=2)
def network(name, encoder=None):
    torch.manual_seed(0)
    return create_network(name, **({'encoder': encoder} if encoder else {})).eval()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_hybrid_resnet_unet_has_the_parameters_of_the_published_network():
    hybrid = network('resnet_unet_hybrid')
    assert parameters(hybrid) == 64_614_017
    assert parameters(hybrid.encoder) == 23_508_032
    assert parameters(hybrid.decoder) == 41_105_985


def test_efficientnet_sff_has_the_parameters_of_the_paper():
    b2 = network('efficientnet_sff', 'efficientnet_b2')
    assert parameters(b2) == 7_652_147
    assert parameters(b2.encoder) == 7_202_562


def test_parts_of_the_hybrid_decoder_have_the_published_parameters():
    decoder = network('resnet_unet_hybrid').decoder
    assert parameters(decoder.bridge) == 2_098_176 + 2_048
    assert [parameters(merge) for merge in decoder.merges] == [786_944, 196_864, 49_280, 8_256]
    assert parameters(decoder.head) == 577


def test_parts_of_the_sff_decoder_have_the_published_parameters():
    b2 = network('efficientnet_sff', 'efficientnet_b2')
    assert [parameters(stage.reduce) for stage in b2.stages] == [42_360, 5_808, 1_176, 400]
    assert [parameters(stage.fuse) for stage in b2.stages] == [325_622, 52_490, 13_286, 5_978]
    assert parameters(b2.head) == 2_465


@pytest.mark.parametrize('size', SIZES)
def test_hybrid_gives_half_the_size_rounded_up(size):
    with torch.inference_mode():
        depth = network('resnet_unet_hybrid')(torch.randn(1, 3, *size))
    assert depth.shape == (1, 1, -(-size[0] // 2), -(-size[1] // 2))
    assert depth.min() >= 0


@pytest.mark.parametrize('encoder', ['test_efficientnet', 'tf_efficientnet_lite2'])
@pytest.mark.parametrize('size', SIZES)
def test_efficientnet_sff_gives_the_full_size_within_its_range(size, encoder):
    with torch.inference_mode():
        depth = network('efficientnet_sff', encoder)(torch.randn(2, 3, *size))
    assert depth.shape == (2, 1, *size)
    assert depth.min() > 0 and depth.max() < 10


def test_a_refined_decoder_starts_as_the_one_without_and_can_learn_more():
    plain = network('efficientnet_sff', 'test_efficientnet')
    refined = create_network('efficientnet_sff', encoder='test_efficientnet', refined=True).eval()
    missing, unexpected = refined.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(name.startswith('refinements.') for name in missing)
    image = torch.randn(1, 3, 64, 96)
    depth = refined(image)
    with torch.inference_mode():
        torch.testing.assert_close(depth, plain(image), rtol=0, atol=0)
    depth.sum().backward()
    for part in refined.refinements:
        assert part.branch[-1].weight.grad.abs().max() > 0


@pytest.mark.parametrize(('skip', 'head_in'), [('none', 64), ('concat', 128), ('concat_1x1', 64)])
def test_one_decoder_serves_all_three_kinds_of_skip(skip, head_in):
    channels = (64, 24, 32, 40, 48)
    decoder = UpProjectionDecoder(channels, skip=skip, bridge_bias=False).eval()
    features = [torch.randn(1, c, -(-40 // s), -(-56 // s)) for c, s in zip(channels, STRIDES)]
    with torch.inference_mode():
        assert decoder(features).shape == (1, 1, 20, 28)
    assert decoder.head.in_channels == head_in
    assert decoder.bridge[0].out_channels == WIDTHS[0] and decoder.bridge[0].bias is None


def test_an_untrained_hybrid_does_not_start_dead():
    with torch.inference_mode():
        depth = network('resnet_unet_hybrid')(torch.randn(1, 3, 64, 64))
    assert (depth > 0).float().mean() > 0.5


@pytest.mark.parametrize(
    ('name', 'channels'),
    [
        ('resnet50', (64, 256, 512, 1024, 2048)),
        ('efficientnet_b2', (16, 24, 48, 120, 352)),
    ],
)
def test_encoder_taps_are_those_of_the_papers(name, channels):
    assert Encoder(name).channels == channels


def test_registry_knows_both_networks():
    assert {'efficientnet_sff', 'resnet_unet_hybrid'} <= set(network_names())


def test_error_for_an_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'nonsense'.*efficientnet_sff, .*resnet_unet_hybrid"):
        create_network('nonsense')


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'colour': 'red'}, 'does not take'),
        ({'encoder': 'no_such_encoder'}, 'unknown encoder'),
        ({'encoder': 5}, 'unknown encoder'),
        ({'encoder': 'vit_tiny_patch16_224'}, 'strides'),
        ({'encoder': 'test_efficientnet', 'max_depth': 'far'}, 'max_depth'),
        ({'encoder': 'test_efficientnet', 'max_depth': -1}, 'max_depth'),
    ],
)
def test_wrong_network_arguments_are_a_value_error(arguments, said):
    with pytest.raises(ValueError, match=said):
        create_network('efficientnet_sff', **arguments)
