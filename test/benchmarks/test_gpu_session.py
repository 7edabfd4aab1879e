# SPDX-License-Identifier: Apache-2.0
"""The session on a GPU: its steps, its limits and what it leaves, with steps that need none."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_session, network, roofline
from benchmarks.gpu_session import SHARES, Session, Step
from depth_perception.io.weights import weights_path
from test.support.bare import bare_environment
from test.support.processes import process
from test.support.waiting import PATIENCE, wait_until

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


@pytest.mark.parametrize('only', [list(gpu_session.STEPS), ['tests', 'network'], ['train']])
def test_the_limits_of_the_steps_share_out_all_the_time(only):
    """Also if each step takes as long as it may."""
    end = time.monotonic() + 500
    limits = dict(gpu_session.shared_out(only, end))
    assert list(limits) == only and limits[only[-1]] == pytest.approx(500, abs=1)
    left = 500.0
    for index, name in enumerate(only):
        share = SHARES[name] / sum(SHARES[later] for later in only[index:])
        left -= share * left
    assert left == pytest.approx(0, abs=1e-6) and gpu_session.MINUTES <= 9


def test_every_step_is_a_command_that_exists_and_leaves_four_files(tmp_path):
    (tmp_path / 'rooms.zip').touch()
    options = gpu_session.parse([str(tmp_path / 'out'), '--pack', str(tmp_path / 'rooms.zip')])
    steps = [step(options, tmp_path, 100.0) for step in gpu_session.STEPS.values()]
    assert [step.name for step in steps] == list(gpu_session.STEPS)
    for step in steps:
        assert importlib.util.find_spec(step.command[1])
        assert all((ROOT / part).exists() for part in step.command if part.startswith('test/'))
    # With session.json and session.log four files: JSON goes into the first of them.
    files = [name for step in steps for name in step.results.values() if name[-5:] != '.json']
    assert files == ['network.png', 'weights.safetensors']
    assert options.start_from == 'default' and weights_path('default').stat().st_size < 16e6


def test_every_test_that_asks_for_a_gpu_is_run_on_one():
    """`pytest -m cuda` in those files alone saves the import of all others."""
    found = gpu_session.cuda_tests()
    for file in (ROOT / 'test').rglob('test_*.py'):
        text, name = file.read_text(), str(file.relative_to(ROOT))
        asks = 'skipif(not torch.cuda' in text or 'pytest.mark.cuda' in text
        assert name in found or not asks or file == Path(__file__), f'{name}: use test.support.cuda'
    assert {'test/depth/test_anchors.py', 'test/inference/test_graphs.py'} <= set(found)
    # Those packages are not on a borrowed machine, so such a file would not be imported there.
    for name in found:
        text = (ROOT / name).read_text()
        assert not re.search(r'^(from|import) (hypothesis|psutil|scipy|rosbags|rclpy)', text, re.M)


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


def test_a_folder_with_results_is_not_written_to(tmp_path, capsys):
    (tmp_path / 'session.json').touch()
    with pytest.raises(SystemExit):
        gpu_session.parse([str(tmp_path)])
    assert 'contains the results of a session' in capsys.readouterr().err


def test_the_dry_run_needs_no_more_than_a_borrowed_machine_has(tmp_path):
    """From another folder. The other steps have tests below; all together take minutes."""
    done = subprocess.run(
        [ROOT / 'scripts' / 'gpu_session', 'out', '--dry-run', '--only', 'tests'],
        env=bare_environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / 'out' / 'session.log').read_text()
    said = log.partition('\n')[2]  # below the command
    assert 'no CUDA device here' in said and 'deselected' in said and 'error' not in said.lower()
    session = json.loads((tmp_path / 'out' / 'session.json').read_text())
    assert session['dry_run'] and re.search(
        r'\d+ skipped, \d+ deselected', session['summary']['steps'][0]
    )


def stopped_after(part, folder, module, file, *words) -> tuple[int, str, dict]:
    """Start a benchmark on a bare machine, and end it by SIGTERM once a part is in its file."""
    child = subprocess.Popen(
        [sys.executable, '-m', module, *words],
        env=bare_environment(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: file.exists() or child.poll() is not None, what=part)
        child.terminate()
        _, said = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    return child.returncode, said, json.loads(file.read_text())


def test_a_stopped_frame_benchmark_keeps_what_it_has_measured(tmp_path):
    """Without rosbags it cannot read the clip, says so, and goes on."""
    out = tmp_path / 'frame.json'
    words = '--device cpu --size 64x96 --rounds 1 --networks efficientnet_sff resnet_unet_hybrid'
    code, said, found = stopped_after(
        'a frame', tmp_path, 'benchmarks.gpu_frame', out, '--out', str(out), *words.split()
    )
    assert code == -signal.SIGTERM and 'rosbags is not installed' in said
    assert found['frame'][0]['ways']['fp32']['median_ms'] > 0 and found['half_precision'] is None
    assert found['unfinished'][0] == 'frame of resnet_unet_hybrid' and found['failed'] == {}


def test_a_stopped_network_benchmark_keeps_what_it_has_measured(tmp_path):
    """Without matplotlib it draws nothing, and without onnxruntime it leaves that out."""
    out = tmp_path / 'network.json'
    words = '--device cpu --rounds 2 --networks default resnet_unet_hybrid --sizes 64x96'
    code, said, found = stopped_after(
        'a network', tmp_path, 'benchmarks.network', out, '--out', str(tmp_path), *words.split()
    )
    assert code == -signal.SIGTERM
    assert 'onnxruntime is left out: onnxruntime, onnx, onnxscript not installed' in said
    assert found['unfinished'] == ['resnet_unet_hybrid 64x96']
    assert {row['network'] for row in found['rows']} == {'default'}


def test_a_part_that_fails_does_not_keep_the_next_from_being_measured(
    tmp_path, monkeypatch, capsys
):
    measure = network.measure

    def fails_at_first(name, *words, **more):
        if name == 'resnet_unet':
            raise RuntimeError('CUDNN_STATUS_EXECUTION_FAILED\nat a layer')
        return measure(name, *words, **more)

    monkeypatch.setattr(network, 'measure', fails_at_first)
    words = '--networks resnet_unet default --sizes 48x64 --rounds 1 --only-torch --device cpu'
    assert network.main([*words.split(), '--out', str(tmp_path)]) == 1
    found = json.loads((tmp_path / 'network.json').read_text())
    assert found['failed'] == {'resnet_unet 48x64': 'RuntimeError: CUDNN_STATUS_EXECUTION_FAILED'}
    assert {row['network'] for row in found['rows']} == {'default'}
    assert 'Traceback' in capsys.readouterr().err


@pytest.mark.parametrize('device', ['cuda:99', 'gpu'])
@pytest.mark.parametrize('module', [network, roofline])
def test_a_device_that_is_not_there_is_one_sentence(module, device, capsys):
    words = ['--times', 'none.json'] if module is roofline else []
    with pytest.raises(SystemExit) as error:
        module.main([*words, '--device', device])
    assert error.value.code == 2
    assert f'device {device!r}' in capsys.readouterr().err.splitlines()[-1]


def test_sigterm_ends_the_running_step_and_what_it_measured_is_there(tmp_path):
    """A step in another process group, which hears nothing of the session's signal."""
    step = (
        'import os, time, pathlib\n'
        f'work = pathlib.Path({str(tmp_path)!r})\n'
        '(work / "child").write_text(str(os.getpid()))\n'
        '(work / "half.json").write_text(\'{"ms": 1, "unfinished": ["the rest"]}\')\n'
        'while True: time.sleep(0.1)'
    )
    code = (
        'import sys, pathlib; from benchmarks import gpu_session as g\n'
        'def endless(options, work, seconds):\n'
        f'    results = {{{str(tmp_path / "half.json")!r}: "half.json"}}\n'
        f'    return g.Step("frame", ["-c", {step!r}], seconds, results)\n'
        'g.STEPS["frame"] = endless\n'
        f'sys.exit(g.main([{str(tmp_path / "out")!r}, "--dry-run", "--only", "frame", "network"]))'
    )
    results = tmp_path / 'out' / 'session.json'
    with process(sys.executable, '-c', code) as session:
        # While the step still runs, its figures are there: the machine may be taken away.
        wait_until(lambda: 'half' in json.loads(results.read_text() if results.exists() else '{}'))
        assert json.loads(results.read_text())['steps'][0]['exit_code'] is None
        session.terminate()
        said, _ = session.communicate(timeout=PATIENCE)
    assert session.returncode == 128 + signal.SIGTERM, said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'child').read_text()), 0)
    found = json.loads(results.read_text())
    assert found['half']['ms'] == 1
    assert found['summary']['steps'] == [
        'frame: exit code -15, not measured: the rest',
        'network: skipped: the session was stopped by signal 15',
        'roofline: skipped: the session was stopped by signal 15',
    ]


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
    assert roofline.main(['--times', str(tmp_path / 'none.json')]) == 1
    assert 'there is no file' in capsys.readouterr().err


def test_a_session_fills_the_tables_and_a_dry_run_does_not(session, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(
        'performance_page', ROOT / 'scripts' / 'performance_page.py'
    )
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    (tmp_path / 'docs').mkdir()
    monkeypatch.setattr(page, 'FOLDER', tmp_path / 'docs')
    monkeypatch.setattr(page, 'PAGES', ())
    row = dict(network='n', size='8x8', way='torch fp16', median_ms=2.0, p95_ms=3.0, ratio=4.0)
    figures = {
        'gpu_network': {'machine': 'a GPU', 'rows': [{**row, 'error': 0.0}]},
        'gpu_frame': {'network_alone': []},
        'gpu_training': {'options': {'pack': '/home/somebody/rooms.zip', 'out': '/tmp/x/run'}},
    }
    for name, found in figures.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(found))
    results = {f'{name}.json': f'{name}.json' for name in figures}
    session.run(Step('tests', ['-c', 'print("2 failed, 9 passed")\nraise SystemExit(1)'], 60))
    session.run(Step('network', ['-c', ''], 60, results))
    session.skip('train', '--pack is not given', as_wanted=True)
    session.finish()
    assert page.main(['--gpu', str(session.out / 'session.json')]) == 0
    data = page.Data(tmp_path / 'docs')
    ended = page.gpu_session(data)
    assert '| 2 failed, 9 passed |' in ended and '| complete |' in ended and 'train' not in ended
    assert '| `n` | 8x8 | torch fp16 | 2.0 | 3.0 | 4.0 |' in page.gpu_network(data)
    assert data['gpu_training']['options'] == {'pack': 'rooms.zip', 'out': 'run'}
    dry = Session(tmp_path / 'out', tmp_path, dry_run=True)
    dry.finish()
    before = (tmp_path / 'docs' / 'gpu_session.json').read_text()
    for file, text in (
        (dry.out / 'session.json', 'is of a dry run'),
        (tmp_path / 'no', 'no result'),
    ):
        assert page.main(['--gpu', str(file)]) == 1 and text in capsys.readouterr().err
    assert (tmp_path / 'docs' / 'gpu_session.json').read_text() == before
