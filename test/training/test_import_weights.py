# SPDX-License-Identifier: Apache-2.0
"""Import checkpoints with random values in the layouts of other projects, and compare."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from depth_perception.io.weights import load_weights
from depth_perception.networks import create_network
from depth_perception.networks.encoder import Encoder
from depth_training.commands import import_weights_parser
from depth_training.convert import KINDS
from depth_training.convert.densedepth import EPSILON_DIFFERENCE, fill_densedepth, read_keras
from depth_training.convert.encoders import fill_encoder
from depth_training.convert.import_weights import INFOS, run
from depth_training.convert.reading import ForeignError, checksum, read_state
from depth_training.convert.sff import fill_sff


def randomised(module, seed=0):
    """Give every weight and BatchNorm statistic a value that matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith('running_var'):
                value.uniform_(0.5, 2.0, generator=generator)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn(value.shape, generator=generator))
    return module.eval()


@pytest.mark.parametrize('name', ['resnet50', 'efficientnet_b2'])
def test_torchvision_encoder_gives_the_same_features(name):
    reference = randomised(torchvision.models.get_model(name, weights=None))
    encoder = Encoder(name).eval()
    fill_encoder(encoder, reference.state_dict())
    image = torch.randn(1, 3, 65, 64)
    with torch.inference_mode():
        if name == 'resnet50':
            trunk = torch.nn.Sequential(*list(reference.children())[:-2])
        else:
            trunk = reference.features[:-1]
        expected = trunk(image)
        torch.testing.assert_close(
            encoder(image)[-1], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )


def glp_style(network):
    """The state dict of our network under GLPDepth-style names."""
    state = {f'encoder.{key}': value for key, value in network.encoder.body.state_dict().items()}
    fusion = {'0': 'conv1.0', '1': 'conv1.1', '3': 'conv2.0', '4': 'conv2.1', '6': 'conv3'}
    for number, stage in enumerate(network.stages):
        reduce = f'skip_conv{number}' if number else 'bot_conv'
        for key, value in stage.reduce.state_dict().items():
            state[f'decoder.{reduce}.{key}'] = value
        for key, value in stage.fuse.attention.state_dict().items():
            place, _, kind = key.partition('.')
            state[f'decoder.fusion{number + 1}.{fusion[place]}.{kind}'] = value
    head = network.head.state_dict()
    return state | {f'last_layer_depth.{key}': value for key, value in head.items()}


def tiny_sff():
    return create_network('efficientnet_sff', encoder='test_efficientnet').eval()


def test_glp_style_checkpoint_is_imported_exactly(tmp_path):
    reference = randomised(tiny_sff())
    file = tmp_path / 'sff.ckpt'
    torch.save({'model': {f'module.{k}': v for k, v in glp_style(reference).items()}}, file)
    output = tmp_path / 'sff.safetensors'
    assert command('sff', file, '--output', output, '--encoder', 'test_efficientnet') == 0
    image = torch.randn(1, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(load_weights(output).network(image), reference(image))


@pytest.mark.parametrize('name', ['decoder.fusion9.conv3.bias', 'encoder.patch_embed1.weight'])
def test_glp_style_checkpoint_of_another_network_is_refused(name):
    state = {**glp_style(tiny_sff()), name: torch.zeros(1)}
    with pytest.raises(ForeignError):
        fill_sff(tiny_sff(), state)


def keras_layers(network):
    """Return our DenseDepth's tensors with Keras's names and layouts."""
    kinds = {
        'weight': 'gamma',
        'bias': 'beta',
        'running_mean': 'moving_mean',
        'running_var': 'moving_variance',
    }
    for name, module in network.named_modules():
        tensors = {
            k: v.numpy()
            for k, v in module.state_dict(keep_vars=False).items()
            if '.' not in k and k in kinds
        }
        if isinstance(module, torch.nn.Conv2d):
            arrays = {'kernel': tensors['weight'].transpose(2, 3, 1, 0)}
            arrays |= {'bias': tensors['bias']} if 'bias' in tensors else {}
            yield keras_name(name), arrays
        elif isinstance(module, torch.nn.BatchNorm2d):
            yield keras_name(name), {kinds[k]: v for k, v in tensors.items()}


def keras_name(name):
    parts = name.split('.')
    if parts[0] == 'stages':
        return f'up{int(parts[1]) + 1}_conv{"A" if parts[2] == "first" else "B"}'
    top = {
        'bridge': 'conv2',
        'head': 'conv3',
        'encoder.body.conv0': 'conv1/conv',
        'encoder.body.norm0': 'conv1/bn',
        'encoder.body.norm5': 'bn',
    }
    if name in top:
        return top[name]
    if parts[2].startswith('transition'):
        return f'pool{int(parts[2][-1]) + 1}_{"bn" if parts[3] == "norm" else "conv"}'
    inner = {'norm1': '0_bn', 'conv1': '1_conv', 'norm2': '1_bn', 'conv2': '2_conv'}
    layer = parts[3].removeprefix('denselayer')
    return f'conv{int(parts[2][-1]) + 1}_block{layer}_{inner[parts[4]]}'


def write_keras(file, network):
    """Write DenseDepth's HDF5 file as Keras would save it."""
    with h5py.File(file, 'w') as content:
        layers, names = content.create_group('model_weights'), []
        for layer, arrays in keras_layers(network):
            group = layers.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{kind}:0'.encode() for kind in arrays]
            for kind, array in arrays.items():
                group[f'{layer}/{kind}:0'] = array
            names.append(layer.encode())
        layers.attrs['layer_names'] = names


def test_densedepth_keras_file_is_imported_exactly(tmp_path):
    reference = randomised(create_network('densedepth'))
    file = tmp_path / 'nyu.h5'
    write_keras(file, reference)
    with torch.device('meta'):
        ours = create_network('densedepth')
    ours = ours.to_empty(device='cpu').eval()
    fill_densedepth(ours, read_keras(file))
    expected = reference.state_dict()
    for name, value in ours.state_dict().items():
        if name.endswith('running_var'):
            torch.testing.assert_close(value, expected[name] + EPSILON_DIFFERENCE)
        elif not name.endswith('num_batches_tracked'):
            assert torch.equal(value, expected[name]), name
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), reference(image), rtol=1e-3, atol=1e-4)


def test_foreign_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / 'other.h5', 'w') as content:
        content['depths'] = np.zeros(3)
    with pytest.raises(ForeignError, match='not of a Keras network'):
        read_keras(tmp_path / 'other.h5')
    (tmp_path / 'text.h5').write_text('hello')
    with pytest.raises(ForeignError, match='not an HDF5 file'):
        read_keras(tmp_path / 'text.h5')


PLACES = {'even_even': 'conv_A', 'odd_even': 'conv_B', 'even_odd': 'conv_C', 'odd_odd': 'conv_D'}


def published_hybrid(network):
    """Return our hybrid's tensors with the names of the published file, with duplicates."""
    state = {}
    top = {'bridge.0': 'conv2', 'bridge.1': 'bn2', 'head': 'conv3'}
    for key, value in network.state_dict().items():
        if key.startswith('encoder.body.'):
            state[key.removeprefix('encoder.body.')] = value
            continue
        name = key.removeprefix('decoder.')
        module, _, kind = name.rpartition('.')
        parts = name.split('.')
        if module in top:
            state[f'{top[module]}.{kind}'] = value
        elif parts[0] == 'merges':
            state[f'con_conv{int(parts[1]) + 1}.conv.{kind}'] = value
        else:
            block = f'up_proj{int(parts[1]) + 1}'
            branch, unpool = {
                'main': ('main_branch', 'unpool_main'),
                'side': ('residual_branch', 'unpool_res'),
            }[parts[2]]
            rest = '.'.join(PLACES.get(part, part) for part in parts[3:])
            state[f'{block}.{branch}.{rest}'] = value
            if parts[3] == '0':
                state[f'{block}.{unpool}.{rest[2:]}'] = value
    return state


def test_published_hybrid_layout_is_imported_exactly(tmp_path):
    reference = randomised(create_network('resnet_unet_hybrid'))
    file, output = tmp_path / 'hyb_net_weights.model', tmp_path / 'hybrid.safetensors'
    torch.save(published_hybrid(reference), file)
    assert command('hybrid', file, '--output', output) == 0
    loaded = load_weights(output)
    image = torch.randn(1, 3, 33, 47)
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), reference(image))
    assert checksum(file) in loaded.info.recipe
    # The report needs these, and the test geometry is the paper's.
    assert (loaded.info.recipe_name, loaded.info.origin) == ('paper_003', 'imported')
    assert loaded.info.test_geometry == 'harsanyi'


def test_every_kind_of_checkpoint_has_its_metadata():
    assert tuple(INFOS) == KINDS


def command(*arguments):
    return run(import_weights_parser().parse_args([str(argument) for argument in arguments]))


class Dangerous:
    def __reduce__(self):
        raise_system_exit = (SystemExit, ('a pickle ran code',))
        return raise_system_exit


def test_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, capsys):
    file = tmp_path / 'bad.model'
    file.write_bytes(pickle.dumps(Dangerous()))
    assert command('hybrid', file, '--output', tmp_path / 'out.safetensors') == 1
    assert 'refused' in capsys.readouterr().err
    assert not (tmp_path / 'out.safetensors').exists()


@pytest.mark.parametrize('content', [{'a': 1}, [torch.zeros(1)], {}])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / 'file.pth')
    with pytest.raises(ForeignError, match='not a state dict'):
        read_state(tmp_path / 'file.pth')


def test_safetensors_state_is_read(tmp_path):
    save_file({'module.a': torch.ones(2)}, tmp_path / 'x.safetensors')
    assert list(read_state(tmp_path / 'x.safetensors')) == ['a']


@pytest.mark.parametrize(
    'options',
    [
        ['--sha256', '0' * 64, '--network', 'resnet_unet'],
        [],
        ['--network', 'cnn'],
        ['--network', 'nonsense'],
    ],
)
def test_wrong_command_is_one_sentence(options, tmp_path, capsys):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'x.pth')
    assert command('encoder', tmp_path / 'x.pth', '--output', tmp_path / 'y', *options) == 1
    assert capsys.readouterr().err.count('\n') == 1
