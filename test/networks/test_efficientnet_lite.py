# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite held against timm's."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from depth_perception.networks.efficientnet_lite import VARIANTS, EfficientNetLite

SIZES = [(64, 96), (65, 97), (33, 47), (7, 5)]


@pytest.fixture(scope='module', params=VARIANTS)
def pair(request):
    """Ours and timm's, with the same values."""
    import timm

    ours = EfficientNetLite(request.param)
    theirs = timm.create_model(request.param, pretrained=False, features_only=True)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize('training', [False, True])
def test_numbers_are_those_of_timm_to_the_last_bit(pair, training):
    ours, theirs = (network.train(training) for network in pair)
    for size in SIZES if training else SIZES[:2]:
        image = torch.randn(2, 3, *size)
        for mine, expected in zip(ours(image), theirs(image)):
            assert torch.equal(mine, expected)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert list(found) == list(expected)  # the order of the tensors, too
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_channels_are_those_of_timm(pair):
    ours, theirs = pair
    assert ours.channels == tuple(theirs.feature_info.channels())


def test_random_values_are_spread_as_timm_s():
    import timm

    name = 'tf_efficientnet_lite0'
    mine = EfficientNetLite(name).state_dict()
    theirs = timm.create_model(name, pretrained=False, features_only=True).state_dict()
    for key, tensor in theirs.items():
        if tensor.numel() > 5000:
            assert abs(mine[key].std() / tensor.std() - 1) < 0.1, key
        elif '.weight' not in key or 'bn' in key:
            assert torch.equal(mine[key], tensor), key


def test_the_bundled_network_is_loaded_without_timm_and_other_slow_imports():
    slow = {'timm', 'torchvision', 'torch._dynamo', 'matplotlib', 'rosbags', 'huggingface_hub'}
    program = (
        'import sys; from depth_perception.inference.estimator import DepthEstimator; '
        "DepthEstimator.load(device='cpu', backend='torch'); "
        f'print(sorted({slow!r} & sys.modules.keys()))'
    )
    said = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert said.strip() == '[]'
