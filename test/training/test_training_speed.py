# SPDX-License-Identifier: Apache-2.0
"""The benchmark that fills the table of docs/reproducing.md runs."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import torch

from benchmarks import training_speed
from depth_training.recipes import RECIPES
from test.support import layouts
from test.support.tiny_training import TINY


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, 'tiny', dataclasses.replace(TINY, perceptual_weight=0.5))
    monkeypatch.setitem(training_speed.PAIRS, 'tiny', 100)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['training_speed', '--recipes', 'tiny', *words])
        training_speed.main()
        return capsys.readouterr().out

    return run


def test_steps_and_loading_are_measured(call, tmp_path):
    data = layouts.sync(tmp_path / 'data', count=4)
    said = call(
        '--device',
        'cpu',
        '--batch',
        '2',
        '--steps',
        '1',
        '--precisions',
        'fp32',
        '--data',
        str(data),
        '--workers',
        '0',
        '--images',
        '4',
    )
    assert '| tiny | 64x48 | 2 | fp32 | ' in said and '| tiny | 0 | ' in said


def test_operations_are_counted_with_the_loss_network(call):
    with_loss = training_speed.flops_per_image(TINY)
    assert '| tiny | ' in call('--flops')
    assert training_speed.flops_per_image(RECIPES['tiny']) > 2 * with_loss > 0


def test_too_large_a_batch_is_a_row(call, monkeypatch):
    def too_much(*_):
        raise torch.cuda.OutOfMemoryError('too much')

    monkeypatch.setattr(training_speed, 'measure', too_much)
    assert '| out of memory |' in call('--device', 'cpu', '--precisions', 'bf16')
