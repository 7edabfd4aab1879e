# SPDX-License-Identifier: Apache-2.0
"""Run all speed benchmarks of docs/performance.md: about 25 minutes on two cores.

    python -m benchmarks.all                          writes docs/performance/ and updates the page
    python -m benchmarks.all --only node cameras      repeats some of them
    python -m benchmarks.all --out my_robot           writes elsewhere and leaves the page unchanged

Run it on an otherwise idle machine, since other work distorts the figures. Each benchmark may use
all cores: OMP_NUM_THREADS is unset.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bench import say
from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
PAGE_FOLDER = ROOT / 'docs' / 'performance'
#: Module and arguments by name; OUT is replaced by the folder.
STEPS: dict[str, list[str]] = {
    'network': [
        'benchmarks.network',
        '--networks',
        'default',
        'efficientnet_sff',
        'resnet_unet_hybrid',
        '--sizes',
        '240x320',
        '480x640',
        '--seconds',
        '20',
        '--out',
        'OUT',
    ],
    'growth': ['benchmarks.network', '--growth', '--seconds', '15', '--out', 'OUT'],
    'roofline': ['benchmarks.roofline', '--times', 'OUT/network.json', '--out', 'OUT'],
    'layers': [
        'benchmarks.layers',
        '--networks',
        'default',
        'efficientnet_sff',
        'resnet_unet_hybrid',
        '--sizes',
        '240x320',
        '480x640',
        '--out',
        'OUT',
    ],
    'trace': ['benchmarks.trace', '--out', 'OUT'],
    'node': ['benchmarks.node', '--turns', '1', '--seconds', '10', '--out', 'OUT'],
    'cameras': ['benchmarks.several_cameras', '--rate', '5', '--seconds', '10', '--out', 'OUT'],
    'training': [
        'benchmarks.training_speed',
        '--recipes',
        'paper_000',
        'paper_003',
        '--precisions',
        'fp32',
        '--batch',
        '2',
        '--steps',
        '4',
        '--plain',
        '--out',
        'OUT/training.json',
    ],
}


def command(name: str, out: Path) -> list[str]:
    """Return the command of one step."""
    module, *arguments = [word.replace('OUT', str(out)) for word in STEPS[name]]
    return [sys.executable, '-m', module, *arguments]


def run(names: list[str], out: Path, note: str) -> list[str]:
    """Run steps; return the names of those that failed."""
    out.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    environment['PYTHONPATH'] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    failed = []
    for name in names:
        say(f'== {name}')
        start = time.monotonic()
        for ending in ('json', 'png'):  # a failed step must not leave old figures
            (out / f'{name}.{ending}').unlink(missing_ok=True)
        code = subprocess.run(command(name, out), env=environment, check=False).returncode
        say(f'== {name}: {time.monotonic() - start:.0f} s' + (f', exit {code}' if code else ''))
        if code:
            failed.append(name)
    about = out / 'about.json'
    if set(names) == set(STEPS) or note or not about.exists():  # otherwise it describes other steps
        about.write_text(
            json.dumps(
                {'machine': machine(), 'date': datetime.date.today().isoformat(), 'note': note},
                indent=1,
            )
            + '\n'
        )
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if everything was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', nargs='+', choices=list(STEPS), default=list(STEPS))
    parser.add_argument('--out', type=Path, default=PAGE_FOLDER)
    parser.add_argument('--note', default='', help='a sentence about the run, for the page')
    options = parser.parse_args(arguments)
    failed = run(options.only, options.out.resolve(), options.note)
    if failed:
        sys.stderr.write(f'all: not measured: {", ".join(failed)}\n')
    if options.out.resolve() == PAGE_FOLDER:
        subprocess.run([sys.executable, str(ROOT / 'scripts' / 'performance_page.py')], check=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
