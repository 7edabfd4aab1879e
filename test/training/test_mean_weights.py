# SPDX-License-Identifier: Apache-2.0
"""The mean of several weights files."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from depth_perception.io.weights import load_weights, save_weights
from depth_training.convert import mean_weights
from test.support.weights import tiny_info, tiny_network


@pytest.fixture
def files(tmp_path):
    paths = []
    for seed, change in ((0, {}), (1, {'recipe': 'second', 'training_data': 'more rooms'})):
        torch.manual_seed(seed)
        network = tiny_network()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * seed)
        paths.append(tmp_path / f'{seed}.safetensors')
        save_weights(paths[-1], network, tiny_info(**change))
    return paths


def test_every_tensor_is_the_mean(files, tmp_path):
    out = tmp_path / 'mean.safetensors'
    assert (
        mean_weights.main([*map(str, files), '--out', str(out), '--test-geometry', 'canonical'])
        == 0
    )
    first, second, mean = (load_weights(file) for file in (*files, out))
    states = [weights.network.state_dict() for weights in (first, second, mean)]
    for name, tensor in states[2].items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (states[0][name] + states[1][name]) / 2)
    assert mean.info.test_geometry == 'canonical' and not mean.info.scores
    assert 'second' in mean.info.recipe and 'more rooms' in mean.info.training_data


def test_the_mean_of_one_network_with_itself_is_that_network(files):
    mean = mean_weights.mean_weights([files[0], files[0]])
    for name, tensor in load_weights(files[0]).network.state_dict().items():
        torch.testing.assert_close(mean.network.state_dict()[name], tensor)


def test_other_networks_are_refused_and_nothing_is_written(files, tmp_path, capsys):
    weights = load_weights(files[1])
    info = dataclasses.replace(weights.info, training_focal_length=99.0)
    save_weights(files[1], weights.network, info)
    out = tmp_path / 'mean.safetensors'
    assert mean_weights.main([*map(str, files), '--out', str(out)]) == 1
    assert 'training_focal_length 99.0' in capsys.readouterr().err
    assert mean_weights.main([str(files[0]), '--out', str(out)]) == 1
    assert 'at least two' in capsys.readouterr().err
    assert not out.exists()
