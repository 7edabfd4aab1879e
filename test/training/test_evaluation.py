# SPDX-License-Identifier: Apache-2.0
"""Evaluation by each protocol, and what it says beside the figures."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depth_perception.weights import save_weights
from depth_training import cli
from depth_training.data import open_dataset
from depth_training.evaluation import Predictor, evaluate, focal_factor
from depth_training.protocols import PROTOCOLS, get_protocol
from test.support import layouts
from test.support.weights import tiny_info, tiny_network


class Constant(torch.nn.Module):
    def forward(self, image):
        return torch.full((1, 1, 4, 4), 2.0)


def constant(**changes) -> Predictor:
    return Predictor(Constant(), tiny_info(**changes), torch.device('cpu'))


def test_scores_are_those_of_a_few_lines(tmp_path):
    dataset = open_dataset(layouts.sync(tmp_path, count=3), 'all')
    result = evaluate(constant(), dataset, get_protocol('plain'))
    truths = np.concatenate([dataset[i].depth[4:47, 4:60].ravel() for i in range(len(dataset))])
    truths = truths[truths > 0]
    assert result.by_pixels['AbsRel'] == pytest.approx(np.mean(abs(2 - truths) / truths), rel=1e-2)
    assert result.counts['images'] == len(dataset) and result.counts['bad_pairs'] == 0
    assert 'raw' in result.note


def test_bad_pairs_are_counted_and_passed_over(tmp_path):
    layouts.sync(tmp_path, count=3)
    (tmp_path / 'kitchen_0001/sync_depth_00001.png').write_bytes(b'')
    result = evaluate(constant(), open_dataset(tmp_path, 'all'), get_protocol('laina'))
    assert (result.counts['images'], result.counts['bad_pairs']) == (5, 1)


def test_reciprocal_output_becomes_metres():
    depth = constant(output='reciprocal')(np.zeros((8, 8, 3), np.uint8))
    assert (depth == 5).all()


def test_depth_is_corrected_to_the_camera_of_the_pair(tmp_path):
    sample = open_dataset(layouts.rooms(tmp_path), 'all')[0]
    info = tiny_info(training_focal_length=100.0, training_image_width=64)
    # fx 50 at 64 columns, of which the network sees all.
    assert focal_factor(info, sample, get_protocol('plain'), 64) == pytest.approx(0.5)
    # Paper 003's network under its own protocol: 285.4 pixels of a frame shrunk to 352 columns.
    nyu = tiny_info(training_focal_length=50 * 352 / 64, training_image_width=320)
    assert focal_factor(nyu, sample, get_protocol('harsanyi'), 320) == pytest.approx(1)


@pytest.fixture
def weights(tmp_path):
    save_weights(tmp_path / 'tiny.safetensors', tiny_network(), tiny_info())
    return str(tmp_path / 'tiny.safetensors')


def test_all_protocols_as_json(weights, tmp_path, capsys):
    data = str(layouts.sync(tmp_path / 'data'))
    assert cli.main(['evaluate', '--weights', weights, '--data', data, '--device', 'cpu',
                     '--json']) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result['protocol'] for result in results] == list(PROTOCOLS)
    assert all(result['scores']['RMSE'] > 0 for result in results)


def test_the_table_names_protocol_truth_and_counts(weights, tmp_path, capsys):
    data = str(layouts.sync(tmp_path / 'data'))
    assert cli.main(['evaluate', '--weights', weights, '--data', data, '--device', 'cpu',
                     '--protocol', 'eigen_bts', '--count-holes']) == 0
    said = capsys.readouterr().out
    assert 'eigen_bts: raw ground truth' in said and 'holes counted' in said
    assert 'clamped pixels' in said and '0 skipped images' in said
