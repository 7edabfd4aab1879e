# SPDX-License-Identifier: Apache-2.0
"""A run that is killed goes on as if nothing had happened."""
from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from depth_training import checkpoint, journal
from test.support import layouts
from test.support.tiny_training import start, words

#: Not a divisor of the 2 steps an epoch has, nor of all 20: most kills lie between checkpoints.
EVERY = ('--checkpoint-every', '3', '--epochs', '10')


def curve(folder: Path) -> list[tuple]:
    """All that was logged but the speed."""
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


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_writes_a_checkpoint_first(tmp_path, number):
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    out = tmp_path / 'run'
    process = start(words(data, out, '--epochs', '500', '--workers', '2'))
    wait_for(out, 3, process)
    # As Ctrl-C and job managers do.
    for one in (*psutil.Process(process.pid).children(), process):
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'go on with --resume' in said and 'Traceback' not in said
    assert checkpoint.exists(out)
