# SPDX-License-Identifier: Apache-2.0
"""Several seeds of one recipe: each in its own folder, with mean and deviation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from depth_training import cli
from depth_training.recipes import RECIPES
from depth_training.train import run_log as journal
from depth_training.train import trainer
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, words


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 4)
    return words(data, tmp_path / 'run', '--epochs', '1', '--seeds', '3', '--seed', '5')


def test_each_seed_is_trained_and_the_same_command_goes_on(command, tmp_path, capsys, monkeypatch):
    stopped, plain = [], trainer.Trainer.run

    def stop_at_second(self):
        if self.options.seed == 6 and not stopped:
            stopped.append(True)
            self._save()
            return 143
        return plain(self)

    monkeypatch.setattr(trainer.Trainer, 'run', stop_at_second)
    assert cli.main(command) == 143
    assert not (tmp_path / 'run/seed_7').exists()
    assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert 'seed_5 is done' in said and 'resumed at step 0' in said
    rows = [
        next(
            row
            for row in journal.read(tmp_path / f'run/seed_{seed}')
            if row['kind'] == 'validation'
        )
        for seed in (5, 6, 7)
    ]
    assert len({row['RMSE'] for row in rows}) == 3
    values = json.loads((tmp_path / 'run/seeds.json').read_text())
    for name in ('RMSE', 'loss'):
        each = [row[name] for row in rows]
        assert values[name] == {
            'mean': pytest.approx(np.mean(each)),
            'deviation': pytest.approx(np.std(each, ddof=1)),
            'each': each,
        }
    assert f'RMSE {values["RMSE"]["mean"]:.4f} ± {values["RMSE"]["deviation"]:.4f}' in said

    weights = [str(tmp_path / f'run/seed_{seed}/weights.safetensors') for seed in (5, 6, 7)]
    evaluate = [
        'evaluate',
        '--weights',
        *weights,
        '--data',
        command[3],
        '--device',
        'cpu',
        '--protocol',
        'plain',
    ]
    assert cli.main(evaluate) == 0
    table = capsys.readouterr().out
    assert cli.main([*evaluate, '--json']) == 0
    each = [result['scores']['RMSE'] for result in json.loads(capsys.readouterr().out)]
    mean, deviation = (
        next(line for line in table.splitlines() if word in line)
        for word in ('mean of 3', 'deviation')
    )
    assert f'{np.mean(each):.4f}' in mean and f'{np.std(each, ddof=1):.4f}' in deviation
    assert all(f'{file}:' in table for file in weights)
    assert read_run(tmp_path / 'run/seed_5').name == 'run/seed_5'


def test_what_does_not_go_together_is_refused(command, tmp_path, capsys, monkeypatch):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/checkpoint.safetensors').write_bytes(b'x')
    assert cli.main(command) == 1
    assert 'already contains a run of one seed' in capsys.readouterr().err
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert cli.main(command) == 1
    assert 'start a run for each --seed' in capsys.readouterr().err
