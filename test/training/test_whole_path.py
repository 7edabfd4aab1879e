# SPDX-License-Identifier: Apache-2.0
"""A user's whole path through the command line: raw frames to weights, scores, report, exports."""

from __future__ import annotations

import json

import cv2
import pytest
import torch

from depth_perception.io.weights import load_weights
from depth_training import cli
from depth_training.evaluate.protocols import PROTOCOLS
from depth_training.recipes import RECIPES
from test.support import layouts
from test.support.tiny_training import TINY, words
from test.training.test_prepare_raw import raw_scene


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command that must succeed; return its output."""

    def call(*arguments: object) -> str:
        assert cli.main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        said = capsys.readouterr()
        return said.out + said.err

    return call


def test_raw_frames_become_pairs(run, tmp_path):
    raw_scene(tmp_path / 'raw/kitchen_0001')
    said = run(
        'prepare', 'raw', tmp_path / 'raw', tmp_path / 'pairs', '--every', '2', '--split', 'all'
    )
    assert '2 pairs of 1 scenes, 0 frames skipped' in said


def test_from_pairs_to_exports(run, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data, out = layouts.rooms(tmp_path / 'rooms', count=4), tmp_path / 'run'
    hold_out = ('--hold-out', 'scene_1')
    run(*words(data, out, '--epochs', '1', '--batch', '2', *hold_out))
    weights = out / 'weights.safetensors'
    scores = tmp_path / 'scores.json'
    scores.write_text(
        run(
            'evaluate',
            '--weights',
            weights,
            '--data',
            data,
            *hold_out,
            '--protocol',
            'all',
            '--json',
        )
    )
    results = json.loads(scores.read_text())
    assert [result['protocol'] for result in results] == list(PROTOCOLS)
    for result in results:
        assert result['by_pixels']['RMSE'] > 0 and result['by_images']['RMSE'] > 0
        assert result['counts'].keys() >= {
            'pixels',
            'clamped_pixels',
            'skipped_images',
            'bad_pairs',
        }
    run(
        'report',
        '--out',
        tmp_path / 'report',
        '--results',
        scores,
        '--runs',
        out,
        '--data',
        data,
        *hold_out,
    )
    assert '| tiny | eigen_bts |' in (tmp_path / 'report/report.md').read_text()
    program = tmp_path / 'tiny.pt2'
    run('export', weights, '--output', program, '--format', 'program', '--dynamic')
    image = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.export.load(program).module()(image),
            load_weights(weights).network(image),
            rtol=1e-5,
            atol=1e-5,
        )
    run(
        'predict',
        data / 'scene_1/rgb_00000.jpg',
        '--model',
        weights,
        '--out',
        tmp_path / 'depth',
        '--horizontal-fov-deg',
        '60',
    )
    depths = [
        file
        for file in (tmp_path / 'depth').iterdir()
        if file.suffix == '.png' and cv2.imread(str(file), cv2.IMREAD_UNCHANGED).dtype == 'uint16'
    ]
    assert len(depths) == 1


def test_counted_holes_give_the_absurd_numbers_of_paper_002(run, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data, out = layouts.sync(tmp_path / 'data'), tmp_path / 'run'
    run(*words(data, out, '--fast-dev-run', '--batch', '2'))
    evaluate = (
        'evaluate',
        '--weights',
        out / 'weights.safetensors',
        '--data',
        data,
        '--protocol',
        'plain',
        '--split',
        'all',
        '--json',
    )
    absrel = [
        json.loads(run(*evaluate, *more))[0]['scores']['AbsRel']
        for more in ((), ('--count-holes',))
    ]
    assert absrel[0] < 10 and absrel[1] > 1e5
