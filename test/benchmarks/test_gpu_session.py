# SPDX-License-Identifier: Apache-2.0
"""The session on a GPU: its steps, its limits and what it leaves, with steps that need none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_session
from benchmarks.gpu_session import Session, Step

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / 'out').mkdir()
    return Session(tmp_path / 'out', tmp_path)


def test_results_are_there_after_each_step_whatever_it_did(session, tmp_path):
    made = ''.join(
        f'open({str(tmp_path / name)!r}, "w").write({text!r});'
        for name, text in (('made', 'good'), ('figures', '{"ms": 1}'))
    )
    assert session.run(
        Step('good', ['-c', made], 60, {'made': 'good.txt', 'figures': 'figures.json'})
    )
    assert not session.run(Step('bad', ['-c', 'raise SystemExit(3)'], 60, {'missing': 'x'}))
    said = json.loads((session.out / 'session.json').read_text())
    assert [(step['name'], step['exit_code']) for step in said['steps']] == [
        ('good', 0),
        ('bad', 3),
    ]
    assert (session.out / 'good.txt').read_text() == 'good' and said['machine']
    assert said['figures'] == {'ms': 1} and not (session.out / 'figures.json').exists()
    assert not (session.out / 'x').exists()


def test_a_step_that_takes_too_long_is_told_to_end_and_its_results_are_kept(session, tmp_path):
    code = (
        f'import signal, time; open({str(tmp_path / "half")!r}, "w").write("half")\n'
        'print("ready", flush=True)\n'
        'signal.signal(signal.SIGTERM, lambda *_: exit(143))\n'
        'while True: time.sleep(0.1)'
    )
    assert not session.run(Step('endless', ['-c', code], 3, {'half': 'half'}))
    step = json.loads((session.out / 'session.json').read_text())['steps'][0]
    assert step['timed_out'] and (session.out / 'half').read_text() == 'half'
    assert 'ready' in session.log.read_text()


def test_the_limits_of_the_steps_leave_time_for_training(tmp_path):
    options = gpu_session.parse([str(tmp_path / 'out')])
    steps = list(gpu_session.steps(options, tmp_path, 500.0))
    assert [step.name for step in steps] == ['tests', 'frame', 'network', 'roofline']
    assert sum(step.seconds for step in steps) < 500
    for step in steps:
        assert all((ROOT / part).exists() for part in step.command if part.startswith('test/'))
    steps.append(gpu_session.training(options, tmp_path, 100.0))
    # With session.json and session.log four files: JSON goes into the first of them.
    assert (
        sum(not target.endswith('.json') for step in steps for target in step.results.values()) == 2
    )


@pytest.mark.parametrize(
    'arguments, text',
    [(['--minutes', '0.5'], 'give more than 1'), (['--pack', 'nowhere.zip'], 'is not a file')],
)
def test_wrong_options_are_refused(tmp_path, capsys, arguments, text):
    with pytest.raises(SystemExit) as error:
        gpu_session.main([str(tmp_path / 'out'), *arguments])
    assert error.value.code == 2 and text in capsys.readouterr().err


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert gpu_session.main([str(tmp_path / 'out')]) == 2
    assert '--dry-run tests the steps' in capsys.readouterr().err


def test_the_dry_run_of_the_script_runs_the_tests_that_need_cuda(tmp_path):
    """The other steps have tests of their own; all together take minutes on a CPU."""
    done = subprocess.run(
        [ROOT / 'scripts' / 'gpu_session', tmp_path / 'out', '--dry-run', '--only', 'tests'],
        env={**os.environ, 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / 'out' / 'session.log').read_text()
    assert 'no CUDA device here' in log and 'deselected' in log and 'error' not in log.lower()


def test_a_step_without_the_times_it_needs_is_skipped_and_the_next_one_runs(session, capsys):
    session.run(Step('network', ['-c', 'raise SystemExit(3)'], 60))
    assert not session.run(Step('roofline', ['-c', ''], 60, times_of='network'))
    assert session.run(Step('train', ['-c', ''], 60))
    assert session.finish() == 1
    why = 'roofline: skipped: no times of the networks (the step network ended with 3)'
    summary = json.loads((session.out / 'session.json').read_text())['summary']
    assert summary == {
        'well': False,
        'steps': ['network: exit code 3', why, 'train: exit code 0'],
    }
    assert f'NOT all well: network: exit code 3; {why}' in capsys.readouterr().out


def test_what_a_stopped_step_measured_is_kept_and_the_rest_named(session, tmp_path):
    times = json.dumps({'rows': [1], 'unfinished': ['densedepth 8x8']})
    code = f'open({str(tmp_path / "network.json")!r}, "w").write({times!r}); raise SystemExit(5)'
    session.run(Step('network', ['-c', code], 60, {'network.json': 'gpu_network.json'}))
    assert session.run(Step('roofline', ['-c', ''], 60, times_of='network'))
    said = json.loads((session.out / 'session.json').read_text())
    assert said['gpu_network']['rows'] == [1]
    assert said['steps'][0]['unfinished'] == ['densedepth 8x8'] and session.finish() == 1


def test_what_was_not_asked_for_does_not_fail_the_session(session):
    session.skip('train', '--pack is not given', as_wanted=True)
    assert session.finish() == 0
    session.skip('train', 'no time is left')
    assert session.finish() == 1


def test_a_roofline_without_times_says_so(tmp_path, capsys):
    from benchmarks import roofline

    assert roofline.main(['--times', str(tmp_path / 'none.json')]) == 1
    assert 'there is no file' in capsys.readouterr().err
