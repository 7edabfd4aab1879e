# SPDX-License-Identifier: Apache-2.0
"""Evaluation by each protocol, and the remarks printed with the scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depth_perception.io.weights import save_weights
from depth_training import cli
from depth_training.data import open_dataset
from depth_training.evaluate.evaluation import Predictor, evaluate, focal_factor
from depth_training.evaluate.geometry import look
from depth_training.evaluate.protocols import PROTOCOLS, get_protocol
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
    # fx 50 at 64 columns; the network sees the whole frame.
    assert focal_factor(info, sample, look(info, sample.rgb)) == pytest.approx(0.5)
    # Paper 003's network as in its paper: 285.4 pixels for a frame of 352 columns.
    nyu = tiny_info(
        training_focal_length=50 * 352 / 64,
        training_image_width=320,
        input_height=256,
        input_width=320,
        test_geometry='harsanyi',
    )
    assert focal_factor(nyu, sample, look(nyu, sample.rgb)) == pytest.approx(1)


@pytest.fixture
def weights(tmp_path):
    save_weights(tmp_path / 'tiny.safetensors', tiny_network(), tiny_info())
    return str(tmp_path / 'tiny.safetensors')


def test_all_protocols_as_json(weights, tmp_path, capsys):
    data = str(layouts.sync(tmp_path / 'data'))
    assert (
        cli.main(['evaluate', '--weights', weights, '--data', data, '--device', 'cpu', '--json'])
        == 0
    )
    results = json.loads(capsys.readouterr().out)
    assert [result['protocol'] for result in results] == list(PROTOCOLS)
    assert all(result['scores']['RMSE'] > 0 for result in results)


def test_the_table_names_protocol_truth_and_counts(weights, tmp_path, capsys):
    data = str(layouts.sync(tmp_path / 'data'))
    assert (
        cli.main(
            [
                'evaluate',
                '--weights',
                weights,
                '--data',
                data,
                '--device',
                'cpu',
                '--protocol',
                'eigen_bts',
                '--count-holes',
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert 'eigen_bts: raw ground truth' in said and 'holes counted' in said
    assert 'clamped pixels' in said and '0 skipped images' in said


def judged(capsys, weights, data, *options):
    assert (
        cli.main(
            [
                'evaluate',
                '--weights',
                weights,
                '--data',
                data,
                '--device',
                'cpu',
                '--json',
                *options,
            ]
        )
        == 0
    )
    return json.loads(capsys.readouterr().out)[0]


def test_swapped_divides_by_the_prediction(weights, tmp_path, capsys):
    data = str(layouts.sync(tmp_path / 'data'))
    plain, swapped = (
        judged(capsys, weights, data, '--protocol', 'densedepth', *more)
        for more in ((), ('--swapped',))
    )
    assert plain['scores']['AbsRel'] != swapped['scores']['AbsRel']
    assert plain['scores']['RMSE'] == pytest.approx(swapped['scores']['RMSE'])
    assert 'swapped' in swapped['description']


@pytest.mark.parametrize(
    'recipe, protocol, averaging',
    [
        ('paper_000', 'plain', 'images'),
        ('paper_001_m5', 'eigen_bts', 'pixels'),
        ('paper_001_m5', 'plain', 'pixels'),
        ('', 'eigen_bts', 'images'),
        ('paper_003', 'harsanyi', 'pixels'),
        ('paper_000', 'eigen_bts', 'images'),
    ],
)
def test_scores_are_averaged_as_the_weights_paper_defines_it(
    recipe, protocol, averaging, tmp_path, capsys
):
    """Paper 001's N is all pixels of the test set, paper 000's T the pixels of one image."""
    file, data = tmp_path / 'w.safetensors', str(layouts.sync(tmp_path / 'data'))
    save_weights(file, tiny_network(), tiny_info(recipe_name=recipe))
    result = judged(capsys, str(file), data, '--protocol', protocol)
    assert result['averaging'] == averaging and result['scores'] == result[f'by_{averaging}']
    other = {'pixels': 'images', 'images': 'pixels'}[averaging]
    result = judged(capsys, str(file), data, '--protocol', protocol, '--averaging', other)
    assert result['averaging'] == other and result['scores'] == result[f'by_{other}']


def test_what_was_seen_and_every_factor_is_printed(tmp_path, capsys):
    file, data = str(tmp_path / 'w.safetensors'), str(layouts.rooms(tmp_path / 'data'))
    save_weights(file, tiny_network(), tiny_info(test_geometry='centre_crop'))
    assert (
        cli.main(
            [
                'evaluate',
                '--weights',
                file,
                '--data',
                data,
                '--device',
                'cpu',
                '--protocol',
                'laina',
                '--align',
                'median',
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert 'the network saw centre_crop: the middle 64x48 of the frame at 70x50 (smooth)' in said
    assert 'depth is multiplied by 1.094 to 1.116: focal length' in said
    assert 'to match the median of its truth' in said and 'lie outside what the network saw' in said
