# SPDX-License-Identifier: Apache-2.0
"""A head that estimates a network's error is added without changing the network's depth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from depth_perception.io.weights import load_weights, save_weights
from depth_training.convert.mean_weights import mean_weights
from depth_training.data.layouts.packed import write_pack
from depth_training.data.sample import DataError
from depth_training.evaluate.sparsification import STEPS, Sparsification, curve, described
from depth_training.recipes import get_recipe
from depth_training.train import build
from depth_training.train import confidence as train_confidence
from test.support.weights import (
    TINY_ARGUMENTS,
    tiny_info,
    tiny_network,
    unsure_info,
    unsure_network,
)
from test.training.test_packed import view


@pytest.fixture(scope='module')
def pack(tmp_path_factory):
    path = tmp_path_factory.mktemp('packed') / 'rooms.zip'
    write_pack(path, [(view(n), 'train') for n in range(6)] + [(view(n), 'test') for n in (6, 7)])
    return path


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'tiny.safetensors'
    save_weights(path, tiny_network(), tiny_info(), torch.float16)
    return path


def test_the_command_adds_a_head_and_keeps_every_other_bit(pack, weights, tmp_path, capsys):
    out = tmp_path / 'new.safetensors'
    more = ['--views', '4', '--epochs', '30', '--threads', '1']
    assert train_confidence.main([str(weights), str(pack), '--out', str(out), *more]) == 0
    before, after = load_weights(weights), load_weights(out)
    assert after.info.gives_confidence and not before.info.gives_confidence
    state = after.network.state_dict()
    for name, tensor in before.network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert abs(out.stat().st_size - weights.stat().st_size) < 20_000, 'still half precision'
    assert 'uncertainty head: 30 epochs of 4 views of rooms.zip' in after.info.recipe
    text = capsys.readouterr().out
    assert after.checksum in text and '| confidence, all pixels |' in text
    # Again: the head is replaced, and the recipe names one head.
    again = tmp_path / 'again.safetensors'
    assert train_confidence.main([str(out), str(pack), '--out', str(again), *more]) == 0
    assert load_weights(again).info.recipe.count('uncertainty head') == 1
    assert load_weights(again).checksum == after.checksum, 'the same seed gives the same head'


def test_the_head_learns_where_errors_are_large():
    """Errors are ten times as large in the left half, where the one feature is 1."""
    torch.manual_seed(0)
    feature = torch.zeros(2, 1, 12, 16)
    feature[..., :8] = 1
    errors = torch.randn(2, 1, 12, 16) * torch.where(feature > 0, 0.5, 0.05)
    seen = [
        train_confidence.Seen(
            [feature.half()], torch.ones(2, 1, 48, 64), errors, torch.ones_like(errors) > 0
        )
    ]
    head = train_confidence.UncertaintyHead([1])
    train_confidence.fit(head, seen, epochs=200, seed=0)
    train_confidence.calibrate(head, seen)
    scale = head([feature], torch.ones(2, 1, 48, 64)).exp()
    left, right = scale[..., 1:7].mean(), scale[..., 9:15].mean()
    assert left / right == pytest.approx(10, rel=0.4)
    found = train_confidence.judge(head, seen)
    assert found.all_pixels().ause_gain > 0.5


def test_both_halves_of_the_held_out_rooms_are_needed_and_the_number_is_kept(tmp_path):
    pack = tmp_path / 'p.zip'
    write_pack(pack, [(view(0), 'train')] + [(view(n), 'test') for n in range(6, 12)])
    for count in (2, 4, 5, 99):
        halves = train_confidence.held_out(pack, count)
        assert sum(map(len, halves)) == min(count, 6), count
    with pytest.raises(DataError, match='--held-out 1: all of these views are in one half'):
        train_confidence.held_out(pack, 1)


@pytest.mark.parametrize(
    'change, views, text',
    [
        ({'output': 'reciprocal'}, (6, 7), 'with metres and a known focal length'),
        ({'training_focal_length': 0.0}, (6, 7), 'with metres and a known focal length'),
        ({}, (6,), 'holds out 1 room; two are needed'),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, capsys, change, views, text):
    weights, pack, out = (tmp_path / name for name in ('a.safetensors', 'p.zip', 'o.safetensors'))
    save_weights(weights, tiny_network(), tiny_info(**change))
    write_pack(pack, [(view(0), 'train')] + [(view(n), 'test') for n in views])
    more = ['--views', '1', '--epochs', '1']
    assert train_confidence.main([str(weights), str(pack), '--out', str(out), *more]) == 1
    assert text in capsys.readouterr().err and not out.exists()


def test_training_and_averaging_leave_the_head_of_other_weights_out(tmp_path):
    plain, headed = tmp_path / 'plain.safetensors', tmp_path / 'headed.safetensors'
    save_weights(plain, tiny_network(1), tiny_info())
    save_weights(headed, unsure_network(0), unsure_info())
    mean = mean_weights([headed, plain])
    assert not mean.info.gives_confidence
    recipe = dataclasses.replace(
        get_recipe('paper_001_m5'),
        network='efficientnet_sff',
        network_arguments=dict(TINY_ARGUMENTS),
    )
    network = build.network(recipe, 0, headed)
    assert torch.equal(network.head[0].weight, tiny_network(0).head[0].weight)


def test_the_areas_are_those_of_known_curves():
    errors = np.linspace(0, 1, 10_001)
    assert curve(errors, np.zeros(10_001))[0] == pytest.approx(0.5)
    # The oracle keeps the smallest: mean error of the best share q is q / 2, its area 1 / 4.
    assert curve(errors, errors).mean() == pytest.approx(0.25 * (1 + 1 / STEPS), rel=1e-3)
    truth = np.ones(10_001)
    perfect, useless = Sparsification(), Sparsification()
    perfect.add(truth + errors, truth, -errors)
    useless.add(truth + errors, truth, np.random.default_rng(0).random(10_001))
    assert perfect.within_pictures().ause_gain == pytest.approx(1)
    assert perfect.all_pixels().gain == pytest.approx(0.5, abs=0.02)
    assert useless.all_pixels().ause_gain == pytest.approx(0, abs=0.05)


def test_reliability_counts_depth_within_a_quarter():
    found = Sparsification()
    depth = np.array([1.2, 1.3, 0.81, 0.79] * 50)
    found.add(depth, np.ones(200), np.full(200, 0.55))
    rows = found.reliability()
    assert rows[3] == (pytest.approx(0.55), 0.5, 1.0) and rows[0][2] == 0
    assert '| 0.5 to 0.6 | 0.55 | 0.50 | 100 % |' in described({'confidence': found})
