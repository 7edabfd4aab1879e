# SPDX-License-Identifier: Apache-2.0
"""Run tests, benchmarks and training on a GPU that is available for a short time only.

`scripts/gpu_session` calls this. Each step is a process with a time limit; if one fails, the next
still runs:

* `tests`: every test that needs CUDA (`pytest -m cuda`);
* `frame`: `benchmarks.gpu_frame`, a frame from bytes to cloud, by precision, with and without
  graphs;
* `network`: `benchmarks.network` and `benchmarks.roofline`;
* `train`: `depth_training.train.packed` for the remaining time.

OUT gets four files: `session.json` (steps, exit codes, seconds, and the JSON of each step;
rewritten after each step), `session.log`, `network.png` and `weights.safetensors`. There are few
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

from benchmarks.machine import machine
from depth_perception.io.files import write_atomically

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


@dataclass
class Step:
    """A process with a time limit.

    Attributes:
        name: name of the step.
        command: arguments of the Python interpreter.
        seconds: time limit.
        results: files that it writes to the work folder, and their names in OUT; a JSON file is
            inserted into `session.json` under its name.
    """

    name: str
    command: list[str]
    seconds: float
    results: dict[str, str] = field(default_factory=dict)


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
        ['--networks', NETWORKS[0], '--sizes', '64x96', '--rounds', '2']
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
        self.done: list[dict[str, object]] = []
        self.results: dict[str, object] = {}
        self.log = out / 'session.log'
        self.log.write_text('')

    def run(self, step: Step) -> bool:
        """Run a step; return True if it succeeded within its time."""
        start, timed_out = time.monotonic(), False
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
                process.wait(step.seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
                self._end(process)
        taken = time.monotonic() - start
        for source, target in step.results.items():
            if not (self.work / source).exists():
                continue
            if target.endswith('.json'):
                text = (self.work / source).read_text(encoding='utf-8')
                self.results[target.removesuffix('.json')] = json.loads(text)
            else:
                shutil.copyfile(self.work / source, self.out / target)
        self.done.append(
            {
                **asdict(step),
                'exit_code': process.returncode,
                'timed_out': timed_out,
                'taken_seconds': round(taken, 1),
            }
        )
        self._write()
        print(
            f'{step.name}: exit code {process.returncode}'
            f'{", stopped at its limit" if timed_out else ""}, {taken:.0f} s',
            flush=True,
        )
        return process.returncode == 0

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _write(self) -> None:
        write_atomically(
            self.out / 'session.json',
            [
                json.dumps(
                    {'machine': machine(), 'steps': self.done, **self.results}, indent=1
                ).encode()
            ],
        )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('out', type=Path, help='folder of the results')
    parser.add_argument('--pack', type=Path, help='file by scripts/pack_rooms, to train on')
    parser.add_argument('--start-from', default='default', help='weights to train from')
    parser.add_argument('--minutes', type=float, default=9.0, help='total duration')
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
    if options.minutes <= 1:
        parser.error(f'--minutes is {options.minutes:g}: give more than 1')
    if options.pack is not None and not options.pack.is_file():
        parser.error(f'--pack {options.pack} is not a file: create it with scripts/pack_rooms')
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if all steps succeeded, 1 if one failed, 2 without a GPU."""
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
        well = [
            session.run(step)
            for step in steps(options, work, end - time.monotonic())
            if step.name in wanted
        ]
        if 'train' in wanted and options.pack is None:
            print('train: skipped, as --pack is not given', flush=True)
        elif 'train' in wanted and end - time.monotonic() < SHORTEST and not options.dry_run:
            print(f'train: skipped, as less than {SHORTEST} s are left', flush=True)
        elif 'train' in wanted:
            well.append(session.run(training(options, work, end - time.monotonic())))
    return 0 if all(well) else 1


if __name__ == '__main__':
    sys.exit(main())
