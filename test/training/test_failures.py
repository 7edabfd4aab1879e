# SPDX-License-Identifier: Apache-2.0
"""Full shared memory, a killed worker, and a signal during a long step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from depth_training import cli
from depth_training.failures import check_shared_memory, explained
from depth_training.recipes import RECIPES
from depth_training.train import checkpoint
from depth_training.train import run_log as journal
from depth_training.train.step import Learner
from test.support import layouts
from test.support.tiny_training import ROOT, TINY, start, words
from test.support.waiting import wait_until

PATIENCE = 120
#: Run a command with its own /dev/shm of size $1.
_OWN = 'mount -t tmpfs -o size=$1 tmpfs /dev/shm && shift && "$@"'
#: Fill it once the training has logged a step: $0 is the log, the rest the training command.
_FILL = """"$@" & training=$!
until grep -q '"train"' "$0" 2>/dev/null; do kill -0 $training || break; sleep 0.05; done
cat /dev/zero > /dev/shm/filler 2>/dev/null
wait $training"""
#: Run the training command in a folder $1 of 40 MB of which $2 kB are left, and again, with the
#: option $3 if it is not empty, when there is room.
_FULL_DISK = """disk=$1 again=$3
mount -t tmpfs -o size=40m tmpfs "$disk" && head -c "$((40960 - $2))k" /dev/zero > "$disk/filler"
shift 3; "$@"; echo "ended with $?"; rm "$disk/filler"
"$@" $again; echo "ended with $?"; ls "$disk/run"
"""
TRAINING = (sys.executable, '-m', 'test.support.tiny_training')


def with_shared_memory(size: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', _OWN, 'sh', size, *command],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
    )


def one_sentence(said: str) -> str:
    """Return the last line, which must be the complete error message."""
    assert 'Traceback' not in said and 'Exception ignored' not in said, said
    last = said.strip().splitlines()[-1]
    assert last.startswith('depth_training: ')
    return last


@pytest.fixture
def data(tmp_path):
    return layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)


@pytest.fixture
def own_memory():
    if with_shared_memory('64k', 'true').returncode:
        pytest.skip('needs a mount of its own, which this system does not allow')


@pytest.mark.usefixtures('own_memory')
def test_shared_memory_that_is_too_small_is_said_before_anything_runs(data, tmp_path):
    done = with_shared_memory('64k', *TRAINING, *words(data, tmp_path / 'run', '--workers', '1'))
    assert done.returncode == 1
    assert (
        '/dev/shm has 0.1 MB free, and the processes that load data need 0.6 MB there'
        in one_sentence(done.stderr)
    )
    assert '--shm-size 2g), or load with --workers 0' in done.stderr


@pytest.mark.usefixtures('own_memory')
def test_shared_memory_that_is_full_one_day_is_one_sentence(data, tmp_path):
    out = tmp_path / 'run'
    done = with_shared_memory(
        '4m',
        'sh',
        '-c',
        _FILL,
        str(out / journal.FILE),
        *TRAINING,
        *words(data, out, '--workers', '1', '--epochs', '500'),
    )
    assert done.returncode == 1
    said = one_sentence(done.stderr)
    assert '/dev/shm' in said and '--workers 0' in said


@pytest.mark.usefixtures('own_memory')
@pytest.mark.parametrize(
    'left, what, remedy, again',
    [
        (0, 'log', 'there is no checkpoint yet: free some space and start again', ''),
        (4900, '(pictures|weights)', 'so free some space and resume with --resume', '--resume'),
    ],
)
def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_done(
    left, what, remedy, again, data, tmp_path
):
    disk = tmp_path / 'disk'
    disk.mkdir()
    run = [word for word in words(data, disk / 'run') if word != '--no-tensorboard']
    script = ('sh', '-c', _FULL_DISK, 'sh', str(disk), str(left), again)
    done = with_shared_memory('40m', *script, *TRAINING, *run)
    assert 'Traceback' not in done.stderr and 'Exception ignored' not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith('depth_training: ')]
    assert len(said) == 1 and said[0].endswith(remedy), done.stderr
    assert re.search(f'cannot write the {what} to {disk / "run"}: No space left on', said[0])
    assert done.stdout.count('ended with 0') == 1 and 'weights.safetensors' in done.stdout


def test_a_killed_worker_is_one_sentence_and_the_run_goes_on(data, tmp_path):
    out = tmp_path / 'run'
    run = words(data, out, '--workers', '1', '--epochs', '500')
    process = start(run)
    wait_until(
        lambda: checkpoint.exists(out) or process.poll() is not None, PATIENCE, 'a checkpoint'
    )

    def killed() -> bool:
        """Kill the workers repeatedly, since each epoch starts new ones."""
        for worker in psutil.Process(process.pid).children():
            worker.kill()
        return process.poll() is not None

    wait_until(killed, PATIENCE, 'the end')
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert (
        'a process that loads data was killed, probably because memory ran out: lower '
        '--workers or --batch; continue from the last checkpoint with --resume'
        in one_sentence(said)
    )


def test_other_failures_of_memory_have_their_sentence_and_the_rest_its_traceback(
    capsys, monkeypatch
):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert explained(caught.value) == 'out of memory: lower --batch or --workers'
    assert explained(
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.')
    ).startswith('the GPU is out of memory (CUDA out of memory')
    assert explained(ValueError('anything')) is None
    check_shared_memory(1)

    def fail(options):
        raise RuntimeError('a fault of the program')

    monkeypatch.setattr('depth_training.cli._run', lambda *_: fail(None))
    with pytest.raises(RuntimeError, match='a fault of the program'):
        cli.main(['train'])


def long_step(mark: Path) -> None:
    """Make the second step of a run longer than workers used to live after SIGTERM."""
    from depth_training.train import training_data as training

    # Instead of the 30 s that they lived.
    training.GRACE = 1
    learn = Learner.learn

    def slowly(self, batch, place):
        if place.step == 1:
            mark.touch()
            for _ in range(30):  # a signal ends one sleep, not the step
                time.sleep(0.1)
        return learn(self, batch, place)

    Learner.learn = slowly


def test_a_signal_during_a_long_step_still_leaves_a_checkpoint(data, tmp_path):
    mark, out = tmp_path / 'in_step', tmp_path / 'run'
    code = (
        'import sys; from pathlib import Path; from test.training import test_failures as t\n'
        't.long_step(Path(sys.argv[1])); t.RECIPES["tiny"] = t.TINY\n'
        'sys.exit(t.cli.main(sys.argv[2:]))'
    )
    process = subprocess.Popen(
        [
            sys.executable,
            '-c',
            code,
            str(mark),
            *words(data, out, '--workers', '2', '--epochs', '500'),
        ],
        cwd=ROOT,
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
    )
    wait_until(lambda: mark.exists() or process.poll() is not None, PATIENCE, 'the long step')
    workers = psutil.Process(process.pid).children()
    for one in (*workers, process):  # like a job manager: to all processes of a run
        one.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert 'stopped at step 2: continue with --resume' in said and 'Traceback' not in said
    assert checkpoint.exists(out)
    assert not any(worker.is_running() for worker in workers)


def test_the_trainer_itself_can_end_its_workers(data):
    """The trainer can by SIGTERM, as Python ends daemons; other processes cannot."""
    from depth_training.train.training_data import start_worker

    loader = torch.utils.data.DataLoader(
        range(10**6), 1, num_workers=1, worker_init_fn=start_worker
    )
    batches = iter(loader)
    next(batches)
    worker = batches._workers[0]
    subprocess.run(['kill', '-TERM', str(worker.pid)], check=True)
    for _ in range(20):
        next(batches)
    assert worker.is_alive()
    worker.terminate()
    worker.join(PATIENCE)
    assert worker.exitcode == 0


__all__ = ['RECIPES', 'TINY', 'long_step']
