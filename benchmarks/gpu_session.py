# SPDX-License-Identifier: Apache-2.0
"""Run tests, benchmarks and training on a GPU that is available for a short time only.

`scripts/gpu_session` calls this. Each step is a process with a time limit; if one fails, the next
still runs, unless it needs what the other has not written:

* `tests`: every test that needs CUDA (`pytest -m cuda`);
* `frame`: `benchmarks.gpu_frame`, a frame from bytes to cloud, by precision, with and without
  graphs;
* `network`: `benchmarks.network`, and `roofline`: `benchmarks.roofline`;
* `train`: `depth_training.train.packed` for the remaining time.

OUT gets at most four files: `session.json` (steps, exit codes, seconds, and the JSON of each step),
`session.log`, `network.png` and `weights.safetensors`; there are few, since a borrowed machine may
limit how many can be copied back. They are brought up to date every few seconds, so that what a
step has measured stays if the machine is taken away. SIGTERM and Ctrl-C end the step that runs,
then the session. `scripts/performance_page.py --gpu OUT/session.json` fills the tables of the docs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.machine import machine
from benchmarks.results import read_times, write_json
from depth_perception.io.files import write_atomically
from depth_perception.termination import leave_terminal, signals_go_to, stopping_signals
from depth_training.train.commit import commit

ROOT = Path(__file__).parents[1]
NAMES = ('tests', 'frame', 'network', 'train')
NETWORKS = ('default', 'efficientnet_sff', 'resnet_unet_hybrid')
#: Share of each step in the time, relative to the others; what it leaves goes to those after it.
SHARES = {'tests': 0.4, 'frame': 0.2, 'network': 0.12, 'roofline': 0.08, 'train': 0.35}
#: Seconds reserved for writing the last files.
RESERVE = 15
#: Training is skipped if fewer seconds than this are left, and ends so many before its limit.
SHORTEST, TRAINING_ENDS = 90, 45
#: Seconds from SIGTERM to SIGKILL.
GRACE = 20
#: Seconds between two looks at what the running step has written.
LOOK = 2.0
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


def cuda_tests() -> list[str]:
    """Return the files with tests that need CUDA: those that use `test.support.cuda`."""
    return [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / 'test').rglob('test_*.py'))
        if 'from test.support.cuda import' in file.read_text(encoding='utf-8')
    ]


def _tests(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    words = '-m pytest -q -rs -m cuda -p no:cacheprovider --continue-on-collection-errors'
    return Step('tests', [*words.split(), '--durations=10', *cuda_tests()], seconds)


def _device(options: argparse.Namespace) -> list[str]:
    return ['--device', 'cpu' if options.dry_run else 'cuda']


def _frame(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    out = work / 'gpu_frame.json'
    pack = ['--pack', str(options.pack)] if options.pack else []
    amount = (
        ['--rounds', '1', '--size', '64x96', '--frames', '2', '--networks', 'efficientnet_sff']
        if options.dry_run
        else ['--rounds', '100', '--networks', *options.networks]
    )
    command = ['-m', 'benchmarks.gpu_frame', *_device(options), *pack, '--out', str(out), *amount]
    return Step('frame', command, seconds, {out.name: out.name})


def _network(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    amount = (
        ['--networks', NETWORKS[0], '--sizes', '64x96', '--rounds', '2', '--only-torch']
        if options.dry_run
        else ['--networks', *options.networks, '--sizes', '480x640', '--rounds', '100']
    )
    common = ['--out', str(work), '--seconds', '5']
    return Step(
        'network',
        ['-m', 'benchmarks.network', *_device(options), *common, *amount],
        seconds,
        {'network.json': 'gpu_network.json', 'network.png': 'network.png'},
    )


def _roofline(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    common = ['--times', str(work / 'network.json'), '--out', str(work)]
    return Step(
        'roofline',
        ['-m', 'benchmarks.roofline', *_device(options), *common],
        seconds,
        {'roofline.json': 'gpu_roofline.json'},
        times_of='network',
    )


def _training(options: argparse.Namespace, work: Path, seconds: float) -> Step:
    amount = (
        '--steps 2 --batch 2 --validation-views 4 --log-every 1 --precision bf16'
        if options.dry_run
        else f'--minutes {(seconds - TRAINING_ENDS) / 60:.2f} --batch {options.batch}'
    )
    where = ['--out', str(work / 'run'), '--start-from', options.start_from, *_device(options)]
    return Step(
        'train',
        ['-m', 'depth_training.train.packed', str(options.pack), *where, *amount.split()],
        seconds,
        {
            'run/training.json': 'gpu_training.json',
            'run/weights.safetensors': 'weights.safetensors',
        },
    )


#: The steps in their order: each takes the options, the work folder and its seconds.
STEPS: dict[str, Callable[[argparse.Namespace, Path, float], Step]] = {
    'tests': _tests,
    'frame': _frame,
    'network': _network,
    'roofline': _roofline,
    'train': _training,
}


def shared_out(names: list[str], end: float) -> Iterator[tuple[str, float]]:
    """Yield each step's name and its seconds, of those left until `end` (monotonic clock).

    The first convolution of each shape and type takes about 30 ms on a GPU, since cuDNN searches
    for an algorithm. So a network of a hundred layers needs seconds to start in each process.
    """
    for index, name in enumerate(names):
        share = SHARES[name] / sum(SHARES[later] for later in names[index:])
        yield name, share * (end - time.monotonic())


class Session:
    """Run steps and record their results.

    Args:
        out: folder of the results.
        work: folder of the steps' files.
        dry_run: whether the figures are meaningless.

    Attributes:
        signal: the signal that ends the session; 0 = none.
    """

    def __init__(self, out: Path, work: Path, dry_run: bool = False) -> None:
        self.out, self.work = out, work
        self.done: list[dict[str, Any]] = []
        #: Whether all went well, and how each step ended; None until all have.
        self.summary: dict[str, Any] | None = None
        self.results: dict[str, object] = {}
        self.signal = 0
        self.log = out / 'session.log'
        self.log.write_text('')
        self._taken: dict[str, int] = {}
        self._about = {
            'machine': machine(),
            'began': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'commit': commit(),
            'dry_run': dry_run,
        }

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Let the running step end, and then the session."""
        leave_terminal(number)
        self.signal = number

    def run(self, step: Step) -> bool:
        """Run a step; return True if it succeeded within its time."""
        if step.times_of and (missing := self._missing(step.times_of)):
            self.skip(step.name, missing)
            return False
        with self.log.open('ab') as log:
            log.write(f'==== {step.name}: {" ".join(step.command)}\n'.encode())
        start, before = time.monotonic(), self.log.stat().st_size
        record: dict[str, Any] = {**asdict(step), 'exit_code': None, 'unfinished': []}
        self.done.append(record)
        self._taken.clear()
        exit_code, timed_out = self._process(step, record)
        record |= {
            'exit_code': exit_code,
            'timed_out': timed_out,
            'taken_seconds': round(time.monotonic() - start, 1),
            'unfinished': self._collect(step),
            'last_line': _last_line(self.log, before),
        }
        self._write()
        print(f'{_outcome(record)}, {time.monotonic() - start:.0f} s', flush=True)
        return exit_code == 0

    def skip(self, name: str, why: str, as_wanted: bool = False) -> None:
        """Record that a step does not run; with `as_wanted` the session may still succeed."""
        self.done.append({'name': name, 'skipped': why, 'as_wanted': as_wanted})
        self._write()
        print(_outcome(self.done[-1]), flush=True)

    def finish(self) -> int:
        """Write and print how each step ended; return 0 if all went well, otherwise 1.

        If a signal ended the session, return 128 + its number.
        """
        well = all(step.get('as_wanted') or step.get('exit_code') == 0 for step in self.done)
        self.summary = {
            'well': well,
            'steps': [_outcome(step) for step in self.done],
        }
        self._write()
        print(f'{"all well" if well else "NOT all well"}: {"; ".join(self.summary["steps"])}')
        print(f'results: {self.out / "session.json"}, output of the steps: {self.log}', flush=True)
        return 128 + self.signal if self.signal else 0 if well else 1

    def _missing(self, name: str) -> str:
        """Return why there are no times by the step with that name; '' if there are."""
        try:
            read_times(self.work / 'network.json')
        except ValueError:
            ended = [step['exit_code'] for step in self.done if step['name'] == name]
            how = f'ended with {ended[-1]}' if ended else 'has not run'
            return f'no times of the networks (the step {name} {how})'
        return ''

    def _process(self, step: Step, record: dict[str, Any]) -> tuple[int, bool]:
        """Return the exit code of a step's process, and whether it was stopped at its limit."""
        with self.log.open('ab') as log:
            process = subprocess.Popen(
                [sys.executable, *step.command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                # Plugins of pytest that happen to be installed may need what is not.
                env={**os.environ, 'PYTHONUNBUFFERED': '1', 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'},
                start_new_session=True,
            )
            end = time.monotonic() + step.seconds
            while not self.signal and (left := end - time.monotonic()) > 0:
                try:
                    return process.wait(min(left, LOOK)), False
                except subprocess.TimeoutExpired:
                    record['unfinished'] = self._collect(step)
                    self._write()
            return self._end(process), not self.signal

    def _collect(self, step: Step) -> list[str]:
        """Take the new results of a step; return what is unfinished or failed in all of them."""
        unfinished: list[str] = []
        for source, target in step.results.items():
            file, name = self.work / source, target.removesuffix('.json')
            if not file.exists():
                continue
            changed = file.stat().st_mtime_ns
            if self._taken.get(source) != changed and not target.endswith('.json'):
                write_atomically(self.out / target, [file.read_bytes()])
            elif self._taken.get(source) != changed:
                try:
                    self.results[name] = json.loads(file.read_text(encoding='utf-8'))
                except ValueError as error:
                    unfinished.append(f'{source} cannot be read: {error}')
                    continue
            self._taken[source] = changed
            found = self.results.get(name)
            if isinstance(found, dict):
                unfinished += [*found.get('unfinished', []), *found.get('failed', {})]
        return unfinished

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> int:
        with contextlib.suppress(ProcessLookupError):
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
                **self._about,
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
    # What pytest counted, or the error.
    says = step['name'] == 'tests' or step['exit_code'] != 0
    last = f' ({step["last_line"]})' if says and step['last_line'] else ''
    return f'{step["name"]}: exit code {step["exit_code"]}{last}{stopped}{left}'


def _last_line(log: Path, start: int) -> str:
    """Return the last line that was written after that position; '' if there is none."""
    with log.open('rb') as file:
        file.seek(start)
        lines = file.read().decode(errors='replace').splitlines()
    return next((line.strip(' =')[:200] for line in reversed(lines) if line.strip()), '')


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
    if (options.out / 'session.json').exists():
        parser.error(f'{options.out} contains the results of a session: give another folder')
    # The steps run in the folder of the project.
    options.out = options.out.absolute()
    options.pack = options.pack and options.pack.absolute()
    if Path(options.start_from).is_file():
        options.start_from = str(Path(options.start_from).absolute())
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Return 0 if all steps succeeded, 1 if one failed or could not run, 2 without a GPU, 128 + signal
    if stopped by one.
    """
    options = parse(arguments)
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        sys.stderr.write('gpu_session: there is no CUDA device; --dry-run tests the steps\n')
        return 2
    end = time.monotonic() + 60 * options.minutes - RESERVE
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(options.out, Path(folder), options.dry_run)
        with signals_go_to(session.on_signal, stopping_signals()):
            _run(session, options, end)
        return session.finish()


def _run(session: Session, options: argparse.Namespace, end: float) -> None:
    """Run the wanted steps until `end`, by the monotonic clock."""
    wanted = {*options.only, *(['roofline'] if 'network' in options.only else [])}
    if 'train' in wanted and options.pack is None:
        wanted.remove('train')
        session.skip('train', '--pack is not given', as_wanted=True)
    for name, seconds in shared_out([name for name in STEPS if name in wanted], end):
        if session.signal:
            session.skip(name, f'the session was stopped by signal {session.signal}')
        elif name == 'train' and seconds < SHORTEST:
            session.skip(name, f'less than {SHORTEST} s are left: give more --minutes')
        else:
            session.run(STEPS[name](options, session.work, seconds))


if __name__ == '__main__':
    sys.exit(main())
