# SPDX-License-Identifier: Apache-2.0
"""A killed run can be resumed with exactly the same result."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from depth_training import cli
from depth_training.recipes import RECIPES
from depth_training.train import checkpoint
from depth_training.train import run_log as journal
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, start, words

#: Not a divisor of the 2 steps per epoch or of all 20, so most kills happen between checkpoints.
EVERY = ('--checkpoint-every', '3', '--epochs', '10')


def curve(folder: Path) -> list[tuple]:
    """Return the log without the speed."""
    keys = ('step', 'kind', 'epoch', 'loss', 'gradient_norm', 'learning_rate', 'RMSE')
    return [tuple(row.get(key) for key in keys) for row in journal.read(folder)]


def wait_for(folder: Path, step: int, process) -> None:
    while process.poll() is None:
        rows = journal.read(folder)
        if rows and rows[-1]['step'] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(process.stderr.read())


def finish(process) -> None:
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0, said


def test_killed_twice_and_resumed_equals_undisturbed(tmp_path):
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    undisturbed, killed = tmp_path / 'undisturbed', tmp_path / 'killed'
    finish(start(words(data, undisturbed, *EVERY)))
    for step, more in ((4, ()), (11, ('--resume',))):
        process = start(words(data, killed, *EVERY, *more))
        wait_for(killed, step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(words(data, killed, *EVERY, '--resume')))
    assert len(curve(undisturbed)) == 30
    assert curve(killed) == curve(undisturbed)
    files = [(folder / checkpoint.FILE).read_bytes() for folder in (undisturbed, killed)]
    assert files[0] == files[1]
    assert not list(killed.glob('.*.part'))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_all_processes_writes_a_checkpoint_first(tmp_path, number):
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    out = tmp_path / 'run'
    process = start(words(data, out, '--epochs', '500', '--workers', '2'))
    wait_for(out, 3, process)
    # Like Ctrl-C and job managers.
    for one in (*psutil.Process(process.pid).children(), process):
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'continue with --resume' in said and 'Traceback' not in said
    assert checkpoint.exists(out)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the folder of a run that was stopped by its time limit in the first epoch."""
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / 'run'
    assert (
        cli.main(
            words(
                Path('data'),
                out,
                '--epochs',
                '2',
                '--seed',
                '3',
                '--batch',
                '2',
                '--set',
                'clip_gradient=0.5',
                '--time-limit',
                '1e-9',
            )
        )
        == 3
    )
    assert data.exists() and 0 < read_run(out).step < 8
    return out


def test_resume_alone_takes_the_runs_own_options(run, tmp_path, monkeypatch, capsys):
    step = read_run(run).step
    monkeypatch.chdir('/')
    assert cli.main(['train', '--resume', str(run), '--time-limit', '60']) == 0
    said = capsys.readouterr().err
    assert f'resumed at step {step} of 8' in said
    assert 'other than before: --time-limit 60.0 (was 1e-09)' in said and '--workers' not in said
    about = read_run(run).description
    assert about.options['seed'] == 3 and about.recipe['clip_gradient'] == 0.5
    assert len([row for row in journal.read(run) if row['kind'] == 'train']) == 8
    assert [path.name for path in tmp_path.iterdir() if path.name == 'runs'] == []


def test_the_same_command_with_resume_goes_on_too(run, tmp_path, capsys):
    again = words(
        Path('data'),
        run,
        '--epochs',
        '2',
        '--seed',
        '3',
        '--batch',
        '2',
        '--set',
        'clip_gradient=0.5',
        '--time-limit',
        '60',
        '--resume',
    )
    other = [word.replace('clip_gradient=0.5', 'clip_gradient=0.7') for word in again]
    assert cli.main(other) == 1
    assert 'has changed (clip_gradient 0.5; now clip_gradient 0.7)' in capsys.readouterr().err
    assert cli.main(again) == 0
    said = capsys.readouterr().err
    assert said.count('other than before') == 1  # the time limit, but not the data
    assert read_run(run).step == 8


def test_resume_names_what_may_differ_and_refuses_what_may_not(run, capsys):
    resume = ['train', '--resume', str(run), '--time-limit', '60']
    for more, sentence in (
        (['--seed', '4'], 'was started with --seed 3, not 4: omit it'),
        (['--no-fast-dev-run', '--batch', '4'], 'its recipe has changed (batch 2; now batch 4)'),
        (['--pairs', '2'], 'its recipe has changed (pairs None; now pairs 2)'),
        (['--hold-out', 'kitchen'], 'was started with --hold-out none, not kitchen'),
        (['--out', '/other'], 'are different folders: omit one of them'),
    ):
        assert cli.main([*resume, *more]) == 1
        assert sentence in capsys.readouterr().err
    assert cli.main([*resume, '--workers', '1', '--licence', 'CC0-1.0']) == 0
    said = capsys.readouterr().err
    assert 'other than before: --workers 1 (was 0)' in said
    assert 'other than before: --licence CC0-1.0 (was LicenseRef-unknown)' in said


def test_resume_without_a_checkpoint_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    for words_ in (
        ['--resume', str(tmp_path / 'none')],
        ['tiny', '--data', 'x', '--out', str(tmp_path / 'none'), '--resume'],
    ):
        assert cli.main(['train', *words_]) == 1
        assert (
            'contains no checkpoint.safetensors to resume: omit --resume' in capsys.readouterr().err
        )
    assert cli.main(['train', '--resume']) == 1
    assert 'give the folder of the run: --resume FOLDER' in capsys.readouterr().err
    assert cli.main(['train', '--data', 'x']) == 1
    assert 'no recipe is given' in capsys.readouterr().err
    assert not (tmp_path / 'none').exists()
