# SPDX-License-Identifier: Apache-2.0
"""Run tests, benchmarks and training on a GPU that is available for a short time only.

`scripts/gpu_session` calls this. Each step is a process with a time limit; if one fails, the next
still runs, unless it needs what the other has not written:

* `tests`: every test that needs CUDA (`pytest -m cuda`);
* `frame`: `benchmarks.gpu_frame`, a frame from bytes to cloud, by precision, with and without
  graphs;
* `network`: `benchmarks.network` and `benchmarks.roofline`;
* `train`: `depth_training.train.packed` for the remaining time.

OUT gets four files: `session.json` (steps, exit codes, seconds, and the JSON of each step;
rewritten after each step; a step that was stopped leaves what it had measured, see `unfinished`
there), `session.log`, `network.png` and `weights.safetensors`. There are few
files, since a borrowed machine may limit how many can be copied back.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.results import read_times, write_json

NAMES = ('tests', 'frame', 'network', 'train')
#: Tests that run without ROS and need no packages besides those named above.
TESTS = (
    'test/inference/test_estimator.py',
    'test/inference/test_graphs.py',
    'test/inference/test_transfer.py',
    'test/inference/test_backends.py',
    'test/inference/test_sharing.py',
    'test/depth/test_geometry.py',
    'test/depth/test_scan.py',
    'test/depth/test_temporal.py',
    'test/networks',
    'test/training/test_mixed_precision.py',
    'test/training/test_train_packed.py',
)
NETWORKS = ('default', 'efficientnet_sff', 'resnet_unet_hybrid')
#: Seconds reserved for writing the last files.
RESERVE = 15
#: Training is skipped if fewer seconds than this are left.
SHORTEST = 90
#: Seconds from SIGTERM to SIGKILL.
GRACE = 20
#: Default duration in minutes, and that of a dry run, since a CPU may be slow.
MINUTES, DRY_MINUTES = 9.0, 30.0


@dataclass
class Step:
    """A process with a time limit.

    Attributes:
        name: name of the step.
        command: arguments of the Python interpreter.
        seconds: time limit.
        results: files that it writes to the work folder, and their names in OUT; a JSON file is
            inserted into `session.json` under its name.
        times_of: step whose `network.json` it needs; '' = none.
    """

    name: str
    command: list[str]
    seconds: float
    results: dict[str, str] = field(default_factory=dict)
    times_of: str = ''


def steps(options: argparse.Namespace, work: Path, left: float) -> Iterator[Step]:
    """Yield all steps but the training, in order; `left` seconds remain for all of them.

    The first convolution of each shape and type takes about 30 ms on a GPU, since cuDNN searches
    for an algorithm. So a network of a hundred layers needs seconds to start in each process.
    """
    yield Step(
        'tests',
        ['-m', 'pytest', '-q', '-rs', '-m', 'cuda', '-p', 'no:cacheprovider', *TESTS],
        0.25 * left,
    )
    yield _frame(options, work, 0.25 * left)
    yield _network(options, work, 0.2 * left)
    yield Step(
        'roofline',
        [
            '-m',
            'benchmarks.roofline',
            *_device(options),
            '--times',
            str(work / 'network.json'),
            '--out',
            str(work),
        ],
        0.15 * left,
        {'roofline.json': 'gpu_roofline.json'},
        times_of='network',
    )


def _device(options: argparse.Namespace) -> list[str]:
    return ['--device', 'cpu' if options.dry_run else 'cuda']


def _frame(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    pack = ['--pack', str(options.pack)] if options.pack else []
    amount = (
        ['--rounds', '1', '--size', '64x96', '--frames', '2', '--networks', 'efficientnet_sff']
        if options.dry_run
        else ['--rounds', '100', '--networks', *options.networks]
    )
    return Step(
        'frame',
        [
            '-m',
            'benchmarks.gpu_frame',
            *_device(options),
            *pack,
            '--out',
            str(work / 'gpu_frame.json'),
            *amount,
        ],
        seconds,
        {'gpu_frame.json': 'gpu_frame.json'},
    )


def _network(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    amount = (
        ['--networks', NETWORKS[0], '--sizes', '64x96', '--rounds', '2', '--only-torch']
        if options.dry_run
        else ['--networks', *options.networks, '--sizes', '480x640', '--rounds', '100']
    )
    return Step(
        'network',
        [
            '-m',
            'benchmarks.network',
            *_device(options),
            '--out',
            str(work),
            '--seconds',
            '5',
            *amount,
        ],
        seconds,
        {'network.json': 'gpu_network.json', 'network.png': 'network.png'},
    )


def training(options: argparse.Namespace, work: Path, left: float) -> Step:
    """Return the training step for the given seconds."""
    length = (
        [
            '--steps',
            '2',
            '--batch',
            '2',
            '--validation-views',
            '4',
            '--log-every',
            '1',
            '--precision',
            'bf16',
        ]
        if options.dry_run
        else ['--minutes', f'{(left - 45) / 60:.2f}', '--batch', str(options.batch)]
    )
    return Step(
        'train',
        [
            '-m',
            'depth_training.train.packed',
            str(options.pack),
            '--out',
            str(work / 'run'),
            '--start-from',
            options.start_from,
            *length,
            '--device',
            'cpu' if options.dry_run else 'cuda',
        ],
        left,
        {
            'run/training.json': 'gpu_training.json',
            'run/weights.safetensors': 'weights.safetensors',
        },
    )


class Session:
    """Run steps and record their results.

    Args:
        out: folder of the results.
        work: folder of the steps' files.
    """

    def __init__(self, out: Path, work: Path) -> None:
        self.out, self.work = out, work
        self.done: list[dict[str, Any]] = []
        #: Whether all went well, and how each step ended; None until all have.
        self.summary: dict[str, Any] | None = None
        self.results: dict[str, object] = {}
        self.log = out / 'session.log'
        self.log.write_text('')

    def run(self, step: Step) -> bool:
        """Run a step; return True if it succeeded within its time."""
        if step.times_of and (missing := self._missing(step.times_of)):
            self.skip(step.name, missing)
            return False
        start = time.monotonic()
        exit_code, timed_out = self._process(step)
        taken = time.monotonic() - start
        unfinished = self._collect(step)
        self.done.append(
            {
                **asdict(step),
                'exit_code': exit_code,
                'timed_out': timed_out,
                'taken_seconds': round(taken, 1),
                'unfinished': unfinished,
            }
        )
        self._write()
        print(f'{_outcome(self.done[-1])}, {taken:.0f} s', flush=True)
        return exit_code == 0

    def skip(self, name: str, why: str, as_wanted: bool = False) -> None:
        """Record that a step does not run; with `as_wanted` the session may still succeed."""
        self.done.append({'name': name, 'skipped': why, 'as_wanted': as_wanted})
        self._write()
        print(_outcome(self.done[-1]), flush=True)

    def finish(self) -> int:
        """Write and print how each step ended; return 0 if all went well, otherwise 1."""
        well = all(step.get('as_wanted') or step.get('exit_code') == 0 for step in self.done)
        self.summary = {
            'well': well,
            'steps': [_outcome(step) for step in self.done],
        }
        self._write()
        print(f'{"all well" if well else "NOT all well"}: {"; ".join(self.summary["steps"])}')
        print(f'results: {self.out / "session.json"}, output of the steps: {self.log}', flush=True)
        return 0 if well else 1

    def _missing(self, name: str) -> str:
        """Return why there are no times by the step with that name; '' if there are."""
        try:
            read_times(self.work / 'network.json')
        except ValueError:
            ended = [step['exit_code'] for step in self.done if step['name'] == name]
            how = f'ended with {ended[-1]}' if ended else 'has not run'
            return f'no times of the networks (the step {name} {how})'
        return ''

    def _process(self, step: Step) -> tuple[int, bool]:
        """Return the exit code of a step's process, and whether it was stopped at its limit."""
        with self.log.open('ab') as log:
            log.write(f'==== {step.name}: {" ".join(step.command)}\n'.encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, *step.command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'PYTHONUNBUFFERED': '1'},
                start_new_session=True,
            )
            try:
                return process.wait(step.seconds), False
            except subprocess.TimeoutExpired:
                return self._end(process), True
            except BaseException:  # Ctrl-C does not reach the step, which has its own session
                self._end(process)
                raise

    def _collect(self, step: Step) -> list[str]:
        """Take the results of a step; return what they say is unfinished, or cannot be read."""
        unfinished: list[str] = []
        for source, target in step.results.items():
            if not (self.work / source).exists():
                continue
            if not target.endswith('.json'):
                shutil.copyfile(self.work / source, self.out / target)
                continue
            try:
                found = json.loads((self.work / source).read_text(encoding='utf-8'))
            except ValueError as error:
                unfinished.append(f'{source} cannot be read: {error}')
                continue
            self.results[target.removesuffix('.json')] = found
            unfinished += found.get('unfinished', []) if isinstance(found, dict) else []
        return unfinished

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> int:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _write(self) -> None:
        write_json(
            self.out / 'session.json',
            {
                'machine': machine(),
                'summary': self.summary,
                'steps': self.done,
                **self.results,
            },
        )


def _outcome(step: dict[str, Any]) -> str:
    """Describe in one line how a step ended."""
    if 'skipped' in step:
        return f'{step["name"]}: skipped: {step["skipped"]}'
    stopped = f', stopped at its limit of {step["seconds"]:.0f} s' if step['timed_out'] else ''
    left = f', not measured: {", ".join(step["unfinished"])}' if step['unfinished'] else ''
    return f'{step["name"]}: exit code {step["exit_code"]}{stopped}{left}'


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('out', type=Path, help='folder of the results')
    parser.add_argument('--pack', type=Path, help='file by scripts/pack_rooms, to train on')
    parser.add_argument('--start-from', default='default', help='weights to train from')
    parser.add_argument(
        '--minutes',
        type=float,
        help=f'longest duration (default: {MINUTES:g}; of a dry run {DRY_MINUTES:g})',
    )
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--only', nargs='+', choices=NAMES, default=list(NAMES))
    parser.add_argument(
        '--networks',
        nargs='+',
        choices=NETWORKS,
        default=list(NETWORKS),
        help='networks to measure; each takes about a minute',
    )
    parser.add_argument('--dry-run', action='store_true', help='test every step on a CPU')
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = DRY_MINUTES if options.dry_run else MINUTES
    if options.minutes <= 1:
        parser.error(f'--minutes is {options.minutes:g}: give more than 1')
    if options.pack is not None and not options.pack.is_file():
        parser.error(f'--pack {options.pack} is not a file: create it with scripts/pack_rooms')
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Return 0 if all steps succeeded, 1 if one failed or could not run, 2 without a GPU.
    """
    options = parse(arguments)
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        sys.stderr.write('gpu_session: there is no CUDA device; --dry-run tests the steps\n')
        return 2
    end = time.monotonic() + 60 * options.minutes - RESERVE
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        session = Session(options.out, work)
        wanted = {*options.only, *(['roofline'] if 'network' in options.only else [])}
        for step in steps(options, work, end - time.monotonic()):
            if step.name in wanted:
                session.run(step)
        if 'train' in wanted:
            _train(session, options, work, end)
    return session.finish()


def _train(session: Session, options: argparse.Namespace, work: Path, end: float) -> None:
    """Train until `end`, by the monotonic clock, if there is something to train on, and time."""
    left = end - time.monotonic()
    if options.pack is None:
        session.skip('train', '--pack is not given', as_wanted=True)
    elif left < SHORTEST:
        session.skip('train', f'less than {SHORTEST} s are left: give more --minutes')
    else:
        session.run(training(options, work, left))


if __name__ == '__main__':
    sys.exit(main())
