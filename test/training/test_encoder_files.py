# SPDX-License-Identifier: Apache-2.0
"""ImageNet encoders of every paper: their published files can start a training, nothing else."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import safe_open

from depth_perception.io.weights import WeightsError, load_weights, save_weights
from depth_perception.networks.encoder import Encoder
from depth_training import cli
from depth_training.convert import imagenet
from depth_training.recipes import get_recipe
from depth_training.train import build
from test.support import imagenet as stubs
from test.support import layouts
from test.support.slim_training import slim
from test.support.tiny_training import TINY, words
from test.support.weights import tiny_info, tiny_network

#: A recipe for each encoder, and the published file from which it starts.
STARTS = {
    'paper_000': 'resnet50-0676ba61.pth',
    'paper_004': 'densenet169-b2777c0a.pth',
    'paper_001_m5': 'efficientnet_b2_rwightman-c35c1473.pth',
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('imagenet')


@pytest.mark.parametrize('name, file', STARTS.items())
def test_published_encoders_start_a_training_directly_and_imported(
    name, file, folder, tmp_path, monkeypatch, capsys
):
    slim(monkeypatch)
    source, output = stubs.write(folder, file), tmp_path / 'encoder.safetensors'
    recipe = get_recipe(name)
    arguments = [] if name != 'paper_001_m5' else ['--encoder', 'efficientnet_b2']
    assert (
        cli.main(
            [
                'import-weights',
                'encoder',
                str(source),
                '--output',
                str(output),
                '--network',
                recipe.network,
                *arguments,
            ]
        )
        == 0
    ), capsys.readouterr().err
    direct, imported = (
        build.network(recipe, 0, encoder_weights=path).encoder.state_dict()
        for path in (source, output)
    )
    random = build.network(recipe, 0).encoder.state_dict()
    assert all(torch.equal(value, imported[key]) for key, value in direct.items())
    weights = [key for key in direct if key.endswith('.weight') and direct[key].dim() == 4]
    assert not any(torch.equal(direct[key], random[key]) for key in weights)
    # The wrong encoder's file gives a sentence that names both.
    with pytest.raises(ValueError, match=r'is not |does not match'):
        build.network(TINY, 0, encoder_weights=source)
    with safe_open(output, 'pt') as content:
        about = json.loads(content.metadata()['depth_perception_encoder'])
    assert file in about['origin'] and 'sha256' in about['origin']


def test_lite2_by_a_stub_of_its_packages_shapes(tmp_path):
    encoder = Encoder('tf_efficientnet_lite2')
    state = {
        f'_{place}': torch.rand_like(value) if value.is_floating_point() else value
        for place, value in enumerate(encoder.body.state_dict().values())
    }
    # After the features, the file has a last convolution and the classifier.
    torch.save({**state, '_fc.weight': torch.zeros(1000, 1280)}, tmp_path / 'lite2.pth')
    imagenet.load_lite2(encoder, tmp_path / 'lite2.pth')
    for value, loaded in zip(state.values(), encoder.body.state_dict().values()):
        assert torch.equal(value, loaded)


def test_an_encoder_is_refused_where_a_network_is_needed(tmp_path, capsys):
    torch.save(tiny_network().encoder.body.state_dict(), tmp_path / 'x.pth')
    file = tmp_path / 'encoder.safetensors'
    assert (
        cli.main(
            [
                'import-weights',
                'encoder',
                str(tmp_path / 'x.pth'),
                '--output',
                str(file),
                '--network',
                'efficientnet_sff',
                '--encoder',
                'test_efficientnet',
            ]
        )
        == 0
    )
    said = 'it has only an encoder, which gives no depth: use it to start a training'
    with pytest.raises(WeightsError, match=said):
        load_weights(file)
    data = layouts.sync(tmp_path / 'data')
    photo = layouts.write(tmp_path / 'photo.jpg', layouts.encode('.jpg', layouts.scene()[0]))
    for command in (
        ['evaluate', '--weights', str(file), '--data', str(data)],
        ['export', str(file), '--output', str(tmp_path / 'x.onnx')],
        ['predict', str(photo), '--model', str(file), '--out', str(tmp_path / 'out')],
        [
            'model-card',
            '--weights',
            str(file),
            '--data',
            str(data),
            '--out',
            str(tmp_path / 'card.md'),
        ],
    ):
        capsys.readouterr()
        assert cli.main(command) != 0, command
        assert said in capsys.readouterr().err, command


def test_an_encoder_with_a_random_decoder_of_an_older_version_is_refused_too(tmp_path):
    file = tmp_path / 'old.safetensors'
    save_weights(
        file,
        tiny_network(),
        tiny_info(training_data='encoder: ImageNet, by others; decoder: random'),
    )
    with pytest.raises(WeightsError, match='it has only an encoder'):
        load_weights(file)


def test_a_checkpoint_is_told_from_a_network(tmp_path, monkeypatch):
    from depth_training.recipes import RECIPES

    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    out = tmp_path / 'run'
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 4)
    assert cli.main(words(data, out, '--fast-dev-run')) == 0
    with pytest.raises(WeightsError, match=r'the network is in weights\.safetensors next to it'):
        load_weights(out / 'checkpoint.safetensors')
