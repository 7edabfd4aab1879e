# SPDX-License-Identifier: Apache-2.0
"""Run all speed benchmarks of docs/performance.md: about 27 minutes on two cores.

    python -m benchmarks.all                          writes docs/performance/ and updates the page
    python -m benchmarks.all --resume                 goes on after an interruption or a failure
    python -m benchmarks.all --only node cameras      repeats some of them
    python -m benchmarks.all --out my_robot           writes elsewhere and leaves the page unchanged
    python -m benchmarks.all --quick --out trial      tries everything in five minutes, too short
                                                      for figures that mean anything

Run it on an otherwise idle machine, since other work distorts the figures. Each benchmark may use
all cores: OMP_NUM_THREADS is unset. The figures of a benchmark are replaced when it has finished;
about.json says when and on which machine each was measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import say
from benchmarks.machine import machine
from benchmarks.results import write_json

ROOT = Path(__file__).parents[1]
PAGE_FOLDER = ROOT / 'docs' / 'performance'
NETWORKS = '--networks default efficientnet_sff resnet_unet_hybrid --sizes own 480x640'
ONE_NETWORK = '--networks default --sizes own'


@dataclass(frozen=True)
class Step:
    """A benchmark.

    Attributes:
        command: module and arguments; OUT is its own folder, DONE that of all finished steps.
        quick: arguments that make it short; they override those of the command.
        needs: a step whose figures it reads.
    """

    command: str
    quick: str
    needs: str = ''


STEPS = {
    'network': Step(
        f'benchmarks.network {NETWORKS} --seconds 20 --out OUT', f'{ONE_NETWORK} --rounds 3'
    ),
    'growth': Step(
        'benchmarks.network --growth --seconds 15 --out OUT',
        '--rounds 3 --sizes 96x128 128x192 own',
    ),
    'roofline': Step(
        'benchmarks.roofline --times DONE/network.json --out OUT', '', needs='network'
    ),
    'layers': Step(f'benchmarks.layers {NETWORKS} --out OUT', ONE_NETWORK),
    'trace': Step('benchmarks.trace --out OUT', '--rates 15 --seconds 2 --turns 1'),
    'anchors': Step(
        'benchmarks.trace --anchors 128 --share 0 --out OUT', '--rates 15 --seconds 2 --turns 1'
    ),
    'node': Step('benchmarks.node --turns 1 --seconds 10 --out OUT', '--seconds 2'),
    'start': Step('benchmarks.start --out OUT', '--starts 1 --idle-seconds 2'),
    'cameras': Step(
        'benchmarks.several_cameras --rate 5 --seconds 10 --out OUT', '--counts 1 2 --seconds 2'
    ),
    'training': Step(
        'benchmarks.training_speed --recipes paper_000 paper_003 --precisions fp32 --batch 2 '
        '--steps 4 --plain --out OUT/training.json',
        '--recipes paper_003 --steps 1',
    ),
}


def command(name: str, out: Path, done: Path, quick: bool = False) -> list[str]:
    """Return the command of one step, which writes into `out`."""
    step = STEPS[name]
    text = f'{step.command} {step.quick if quick else ""}'
    return [
        sys.executable,
        '-m',
        *(word.replace('OUT', str(out)).replace('DONE', str(done)) for word in text.split()),
    ]


def measure(name: str, out: Path, quick: bool) -> str:
    """Run one step and keep its files; return '' or why there are none."""
    environment = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    environment['PYTHONPATH'] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    with tempfile.TemporaryDirectory(prefix='.measuring_', dir=out) as folder:
        code = subprocess.run(
            command(name, Path(folder), out, quick), env=environment, check=False
        ).returncode
        if code:
            return f'exit code {code}'
        found = [path for path in Path(folder).iterdir() if path.suffix in ('.json', '.png')]
        if Path(folder, f'{name}.json') not in found:
            return f'it wrote no {name}.json'
        for path in found:
            path.replace(out / path.name)
    return ''


class About:
    """The file about.json of a folder: machine and time of each step.

    Args:
        folder: folder of the figures.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / 'about.json'
        self._content: dict[str, Any] = {'run': '', 'note': '', 'steps': {}}
        if self._path.exists():
            self._content |= json.loads(self._path.read_text(encoding='utf-8'))

    def machine(self, name: str) -> str:
        """Return the machine of a step; '' if it was not measured."""
        return self._content['steps'].get(name, {}).get('machine', '')

    def is_done(self, name: str, here: str) -> bool:
        """Return whether a step was measured on this machine since the last run began."""
        known = self._content['steps'].get(name, {})
        return self.machine(name) == here and known.get('finished', '') >= self._content['run']

    def begin(self) -> None:
        """Begin a run of all steps."""
        self._content['run'] = _now()
        self._write()

    def note(self, text: str) -> None:
        """Record a sentence about the run."""
        self._content['note'] = text
        self._write()

    def add(self, name: str, here: str, seconds: float) -> None:
        """Record a finished step."""
        self._content['steps'][name] = {
            'machine': here,
            'finished': _now(),
            'seconds': round(seconds),
        }
        self._write()

    def _write(self) -> None:
        write_json(self._path, self._content)


def _now() -> str:
    return datetime.datetime.now().isoformat(timespec='milliseconds')


def run(options: argparse.Namespace, out: Path) -> dict[str, str]:
    """Run steps; return those without figures, and why."""
    out.mkdir(parents=True, exist_ok=True)
    about, here = About(out), machine()
    if set(options.only) == set(STEPS) and not options.resume:
        about.begin()
    if options.note is not None:
        about.note(options.note)
    failed: dict[str, str] = {}
    for name in options.only:
        if options.resume and about.is_done(name, here):
            say(f'== {name}: measured already')
            continue
        say(f'== {name}')
        start = time.monotonic()
        needed = STEPS[name].needs
        if needed and (needed in failed or about.machine(needed) != here):
            why = f'needs new figures of {needed}'
        else:
            why = measure(name, out, options.quick)
        seconds = time.monotonic() - start
        say(f'== {name}: {seconds:.0f} s' + (f', {why}' if why else ''))
        if why:
            failed[name] = why
        else:
            about.add(name, here, seconds)
    return failed


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.all',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', nargs='+', choices=list(STEPS), default=list(STEPS))
    parser.add_argument('--out', type=Path, default=PAGE_FOLDER)
    parser.add_argument(
        '--resume',
        action='store_true',
        help='skip what was measured on this machine since the last run of all began',
    )
    parser.add_argument(
        '--quick', action='store_true', help='a short trial of everything; needs --out'
    )
    parser.add_argument('--note', help='a sentence about the run, for the page')
    options = parser.parse_args(arguments)
    if options.quick and options.out.resolve() == PAGE_FOLDER:
        parser.error('--quick needs --out FOLDER: its figures are too coarse for the page')
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if everything was measured."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the step, remove its folder
    out = options.out.resolve()
    failed = run(options, out)
    if out == PAGE_FOLDER:
        subprocess.run([sys.executable, str(ROOT / 'scripts' / 'performance_page.py')], check=True)
    if failed:
        reasons = '; '.join(f'{name} ({why})' for name, why in failed.items())
        sys.stderr.write(
            f'all: not measured: {reasons}. Older figures were kept; the same command with '
            '--resume measures only what is missing\n'
        )
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
