# SPDX-License-Identifier: Apache-2.0
"""Commands show their progress and name the files they wrote, without filling a log."""

from __future__ import annotations

import re

import pytest

from depth_perception import progress
from depth_perception.io.weights import save_weights
from depth_training import cli
from depth_training.recipes import RECIPES
from depth_training.train import progress as run_progress
from depth_training.train.options import TrainOptions, usual_workers
from depth_training.train.progress import ProgressDisplay
from test.support import layouts
from test.support.tiny_training import TINY, words
from test.support.weights import tiny_info, tiny_network


@pytest.fixture
def data(tmp_path):
    return layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 4)


@pytest.fixture
def impatient(monkeypatch):
    """Make every step due to be logged."""
    monkeypatch.setattr(progress, 'LOG_EVERY', 0.0)
    monkeypatch.setattr(progress, 'LOG_SHARE', 0.0)
    monkeypatch.setattr(run_progress, '_EVERY', 0.0)


def test_evaluate_shows_progress_beside_its_result(data, tmp_path, capsys, impatient):
    weights = tmp_path / 'w.safetensors'
    save_weights(weights, tiny_network(), tiny_info())
    assert (
        cli.main(
            [
                'evaluate',
                '--weights',
                str(weights),
                '--data',
                str(data),
                '--device',
                'cpu',
                '--split',
                'all',
                '--protocol',
                'plain',
                '--json',
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith('[') and re.search(r'evaluate plain: 1 of \d+ pairs, \d+ s left', err)


def test_report_and_overfit_say_what_they_wrote(data, tmp_path, capsys, monkeypatch):
    assert cli.main(['report', '--out', str(tmp_path / 'report')]) == 0
    assert f'wrote {tmp_path}/report/report.md, ' in capsys.readouterr().err
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    cli.main(
        [
            'overfit',
            '--data',
            str(data),
            '--recipes',
            'tiny',
            '--pairs',
            '2',
            '--steps',
            '1',
            '--device',
            'cpu',
            '--out',
            str(tmp_path / 'overfit'),
        ]
    )
    said = capsys.readouterr().err
    assert 'at most 1 steps of 2 pairs' in said and f'pictures to {tmp_path}/overfit' in said
    assert (tmp_path / 'overfit' / 'results.json').exists()


def test_a_log_of_a_training_hears_of_its_first_steps_and_of_the_time_left(
    data, tmp_path, capsys, monkeypatch, impatient
):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    out = tmp_path / 'run'
    assert cli.main(words(data, out, '--steps', '3', '--log-every', '100')) == 0
    said = capsys.readouterr().err
    assert '3 steps of 4 images on cpu, 0 processes load data' in said
    assert re.search(r'step 1/3  loss \S+  \S+ images/s  \d+ s left', said)


def test_the_time_left_is_that_of_the_steps_left(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr('depth_training.train.progress.time.monotonic', lambda: now[0])
    display = ProgressDisplay('run', 1000, 2000)
    for step in (1001, 1200, 2000):
        now[0] += 600
        display.step(step, 0.5, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split('images/s')[1].strip() for line in lines] == [
        '166.5 h left',
        '80 min left',
        '',
    ]


def test_workers_are_as_many_as_there_are_cores(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: range(8), raising=False)
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    assert usual_workers() == TrainOptions('tiny', ()).workers == 8
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    assert usual_workers() == 2
    monkeypatch.setattr('os.sched_getaffinity', lambda _: range(1), raising=False)
    assert usual_workers() == 1
    monkeypatch.setattr('os.sched_getaffinity', lambda _: range(400), raising=False)
    assert usual_workers() == 16
