# SPDX-License-Identifier: Apache-2.0
"""The command that overfits networks to a few pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_training import cli
from depth_training.recipes import RECIPES
from test.support.tiny_training import TINY

ROOT_WORDS = ['overfit', '--recipes', 'tiny', '--shrink', '1', '--device', 'cpu']


@pytest.fixture
def pairs(tmp_path):
    """Write a sync folder of four pairs: a wall in two parts whose colours encode the depth."""
    scene = tmp_path / 'data' / 'scene'
    scene.mkdir(parents=True)
    for index in range(4):
        near = np.zeros((96, 128), bool)
        near[:, : 32 + 16 * index] = True
        depth = np.where(near, 1000 + 200 * index, 3000).astype(np.uint16)
        rgb = np.where(near[..., None], [200, 40 * index, 0], [0, 60, 180]).astype(np.uint8)
        cv2.imwrite(str(scene / f'rgb_{index:05d}.jpg'), rgb)
        cv2.imwrite(str(scene / f'sync_depth_{index:05d}.png'), depth)
    return tmp_path / 'data'


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch):
    monkeypatch.setitem(
        RECIPES, 'tiny', replace(TINY, height=64, width=96, test_height=64, test_width=96)
    )


def run(pairs, *more):
    return cli.main([*ROOT_WORDS, '--data', str(pairs), '--pairs', '4', *more])


def test_a_network_learns_a_few_pairs(pairs, tmp_path, capsys):
    assert (
        run(pairs, '--steps', '300', '--learning-rate', '0.003', '--out', str(tmp_path / 'out'))
        == 0
    )
    (result,) = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert result['learnt'] and result['absrel'] <= 0.05 and result['steps'] <= 300
    assert 'learnt' in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / 'out' / 'tiny.png'))
    assert picture.shape[1] == 960


def test_a_recipe_that_learns_holes_is_judged_on_known_depth(pairs, monkeypatch, capsys):
    """Paper 002's recipes learn unknown depth as 0, which has no relative error."""
    monkeypatch.setitem(RECIPES, 'tiny', replace(RECIPES['tiny'], holes='as_zero'))
    for file in pairs.glob('*/sync_depth_*.png'):
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        depth[:20] = 0
        cv2.imwrite(str(file), depth)
    assert run(pairs, '--steps', '1') == 1
    assert 'NOT LEARNT' in capsys.readouterr().out


def test_too_few_steps_are_a_failure(pairs, capsys):
    assert run(pairs, '--steps', '1') == 1
    assert 'NOT LEARNT' in capsys.readouterr().out


def test_too_few_pairs_are_named(pairs, capsys):
    assert run(pairs, '--pairs', '9') == 1
    assert 'has 4 pairs, fewer than the 9 of --pairs' in capsys.readouterr().err


def test_unknown_recipes_are_named(pairs, capsys):
    assert run(pairs, '--recipes', 'paper_9') == 1
    assert "unknown recipe 'paper_9'" in capsys.readouterr().err
