# SPDX-License-Identifier: Apache-2.0
"""Every registered network: exact parameters, any size, saved and loaded bit for bit."""

from __future__ import annotations

import functools
import importlib
import pkgutil

import pytest
import torch

from depth_perception import networks
from depth_perception.io.weights import load_weights, save_weights
from depth_perception.networks import create_network, registry
from depth_perception.networks.fast_unpooling import fast_equivalent, use_fast_unpooling
from depth_perception.networks.unpooling import UnpoolConv, average_unpool, zero_unpool
from test.support.weights import tiny_info

PARAMETERS = {
    'cnn': 1_443_651,
    'cnn_fc': 77_051_942,
    'cnn_residual': 63_566_913,
    'cnn_transpose': 1_444_547,
    'densedepth': 42_657_689,
    'efficientnet_sff': 7_652_147,
    'efficientnet_unet': 7_967_747,
    'fcrn': 63_572_673,
    'resnet_fcrn': 63_572_673,
    'resnet_unet': 80_775_425,
    'resnet_unet_hybrid': 64_614_017,
}
#: Output size for an image of 65x97.
ODD_OUTPUT = {
    'cnn': (16, 24),
    'cnn_fc': (55, 74),
    'cnn_transpose': (16, 24),
    'cnn_residual': (48, 64),
    'densedepth': (33, 49),
    'efficientnet_sff': (65, 97),
    'efficientnet_unet': (65, 97),
    'fcrn': (48, 64),
}
#: Output size for each paper's training size.
TRAINED = {
    'cnn': ((228, 304), (57, 76)),
    'cnn_transpose': ((228, 304), (56, 76)),
    'cnn_residual': ((228, 304), (128, 160)),
    'fcrn': ((228, 304), (128, 160)),
    'efficientnet_unet': ((96, 128), (96, 128)),
}


@functools.lru_cache(maxsize=1)
def network(name):
    torch.manual_seed(0)
    return create_network(name).eval()


def test_every_registered_network_is_tested_here():
    for module in pkgutil.iter_modules(networks.__path__, 'depth_perception.networks.'):
        importlib.import_module(module.name)
    # Other tests may register networks of their own.
    ours = [
        name
        for name, factory in registry._FACTORIES.items()
        if factory.__module__.startswith('depth_perception.')
    ]
    assert sorted(PARAMETERS) == sorted(ours) == sorted(registry._MODULES)


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_network_has_exactly_the_specified_parameters(name):
    with torch.device('meta'):
        made = create_network(name)
    assert sum(parameter.numel() for parameter in made.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize('unpooling', ['zero', 'average'])
def test_residual_cnn_without_batch_norm_has_the_specified_parameters(unpooling):
    with torch.device('meta'):
        made = create_network('cnn_residual', unpooling=unpooling, norm='none')
    assert sum(parameter.numel() for parameter in made.parameters()) == 63_561_153


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_network_takes_odd_sizes_and_survives_its_weights_file_bit_for_bit(name, tmp_path):
    image = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        depth = network(name)(image)
        assert depth.shape == (1, 1, *ODD_OUTPUT.get(name, (33, 49)))
        assert depth.isfinite().all()
        file = tmp_path / 'network.safetensors'
        save_weights(file, network(name), tiny_info(network=name, network_arguments={}))
        loaded = load_weights(file).network
        file.unlink()
        assert all(
            torch.equal(mine, loaded.state_dict()[key])
            for key, mine in network(name).state_dict().items()
        )
        assert torch.equal(loaded(image), depth)


@pytest.mark.parametrize('name', sorted(TRAINED))
def test_network_gives_the_papers_size(name):
    size, expected = TRAINED[name]
    with torch.inference_mode():
        assert network(name)(torch.randn(1, 3, *size)).shape[-2:] == expected


@pytest.mark.parametrize('name', ['cnn', 'cnn_transpose', 'densedepth', 'efficientnet_unet'])
def test_network_takes_an_image_smaller_than_its_stride(name):
    with torch.inference_mode():
        assert network(name)(torch.randn(1, 3, 7, 5)).isfinite().all()


def test_residual_cnn_may_be_cropped_to_half_the_image():
    decoder = create_network('cnn_residual', unpooling='fast', crop=True).decoder.eval()
    features = [
        torch.randn(1, c, -(-65 // s), -(-97 // s))
        for c, s in zip((64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32))
    ]
    with torch.inference_mode():
        assert decoder(features).shape[-2:] == (33, 49)


@pytest.mark.parametrize('name', ['cnn', 'cnn_transpose'])
def test_each_of_the_eight_layers_has_batch_norm_and_relu(name):
    made = [type(module).__name__ for module in create_network(name).modules()]
    layers = [kind for kind in made if kind in ('Conv2d', 'ConvTranspose2d', 'BatchNorm2d', 'ReLU')]
    assert [kind.removesuffix('Transpose2d').removesuffix('2d') for kind in layers] == [
        'Conv',
        'BatchNorm',
        'ReLU',
    ] * 8


def test_every_parameter_of_the_plain_u_net_learns():
    made = create_network('efficientnet_unet', encoder='test_efficientnet').train()
    made(torch.randn(2, 3, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_zero_unpooling_equals_its_fast_equivalent():
    torch.manual_seed(0)
    slow = UnpoolConv(3, 4, 'zero').double()
    features = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(
        fast_equivalent(slow.convolution)(features), slow(features), rtol=1e-12, atol=1e-12
    )


def test_average_unpooling_has_no_fast_equivalent():
    torch.manual_seed(0)
    average = UnpoolConv(3, 4, 'average')
    features = torch.randn(2, 3, 5, 6)
    difference = fast_equivalent(average.convolution)(features) - average(features)
    assert difference.abs().max() > 0.1
    assert use_fast_unpooling(torch.nn.Sequential(average)) == 0


def test_a_residual_cnn_with_zero_unpooling_becomes_the_fast_one():
    """Compare names and shapes of the whole networks on the meta device."""
    with torch.device('meta'):
        slow = create_network('cnn_residual', unpooling='zero')
        fast = create_network('cnn_residual', unpooling='fast')
        assert use_fast_unpooling(slow) == 8
    shapes = [
        {key: value.shape for key, value in made.state_dict().items()} for made in (slow, fast)
    ]
    assert shapes[0] == shapes[1]


def test_unpooling_by_its_definition():
    features = torch.tensor([[1.0, 3.0], [5.0, 11.0]])[None, None]
    assert zero_unpool(features)[0, 0].tolist() == [
        [1, 0, 3, 0],
        [0, 0, 0, 0],
        [5, 0, 11, 0],
        [0, 0, 0, 0],
    ]
    assert average_unpool(features)[0, 0].tolist() == [
        [1, 2, 3, 3],
        [3, 4, 7, 7],
        [5, 8, 11, 11],
        [5, 8, 11, 11],
    ]


@pytest.mark.parametrize(
    ('arguments', 'said'), [({'unpooling': 'mean'}, 'unpooling'), ({'norm': 'group'}, 'norm')]
)
def test_unknown_options_of_the_residual_cnn_are_a_value_error(arguments, said):
    with pytest.raises(ValueError, match=said), torch.device('meta'):
        create_network('cnn_residual', **arguments)
