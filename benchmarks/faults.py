# SPDX-License-Identifier: Apache-2.0
"""Inject faults into the node and check that it processes the next good frame.

    python -m benchmarks.faults --list
    python -m benchmarks.faults unplugged two_nodes
    python -m benchmarks.faults all            everything in full, an hour on two cores
    python -m benchmarks.faults all --short    a few repetitions of each

Each scenario runs in its own process with a time limit. A table and a JSON file report what was
done and what the node's diagnostics reported. The exit status is 1 if a scenario failed or hung.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.process import prepare_process
from benchmarks.results import write_json

#: Seconds after which a scenario counts as hung.
LIMIT = 3600


def scenarios() -> dict[str, Any]:
    """Return all scenarios by name."""
    from benchmarks.scenarios import (
        SCENARIOS,
        cameras,  # noqa: F401 - registers
        messages,  # noqa: F401
        networks,  # noqa: F401
        services,  # noqa: F401
        sizes,  # noqa: F401
        surroundings,  # noqa: F401
    )

    return SCENARIOS


def perform(name: str, count: int | None, short: bool) -> dict[str, Any]:
    """Run a scenario in this process; return its row of the table."""
    chosen = scenarios()[name]
    start = time.monotonic()
    row: dict[str, Any] = {'scenario': name, 'served_next_frame': False, 'done': '', 'said': ''}
    try:
        outcome = chosen.run(count or (chosen.short if short else chosen.full))
        row |= {**dataclasses.asdict(outcome), 'served_next_frame': True}
    except Exception as error:  # the other scenarios must run in any case
        traceback.print_exc()
        row['said'] = f'FAILED: {type(error).__name__}: {error}'
    row['seconds'] = round(time.monotonic() - start, 1)
    return row


def perform_apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run a scenario in its own process, which is killed if it hangs."""
    words = [sys.executable, '-m', 'benchmarks.faults', name, '--inside']
    words += ['--short'] * options.short
    words += ['--count', str(options.count)] if options.count else []
    start = time.monotonic()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, said = process.communicate(timeout=options.limit)
        row = json.loads(output.splitlines()[-1])
        if process.returncode or not row['served_next_frame']:
            sys.stderr.write(said[-4000:])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        row = {
            'scenario': name,
            'served_next_frame': False,
            'done': '',
            'said': f'FAILED: {error!r}',
            'seconds': round(time.monotonic() - start, 1),
        }
    finally:
        _end(process)
    return row


def _end(process: subprocess.Popen) -> None:
    """Kill the whole process group: a killed scenario may leave a node behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [
        '| scenario | what was done | next good frame | diagnostics said | seconds |',
        '|---|---|---|---|---|',
    ]
    for row in rows:
        served = 'served' if row['served_next_frame'] else 'NOT SERVED'
        lines.append(
            f'| {row["scenario"]} | {row["done"]} | {served} | {row["said"][:160]} | '
            f'{row["seconds"]:.0f} |'
        )
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if every scenario passed."""
    options = _parser().parse_args(arguments)
    prepare_process()
    known = scenarios()
    if options.list:
        for chosen in known.values():
            print(f'{chosen.name:24} x{chosen.full:<7} {chosen.run.__doc__.splitlines()[0]}')
        return 0
    names = list(known) if options.names == ['all'] else options.names
    if unknown := [name for name in names if name not in known]:
        sys.stderr.write(f'faults: no scenario {unknown[0]}: use one of {", ".join(known)}\n')
        return 2
    if options.inside:
        print(json.dumps(perform(names[0], options.count, options.short)), flush=True)
        return 0
    rows = []
    for name in names:
        rows.append(perform_apart(name, options))
        print(json.dumps(rows[-1]), flush=True)
        write_json(options.json, rows)
    print(table(rows))
    return 0 if rows and all(row['served_next_frame'] for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.faults', description=__doc__.splitlines()[0]
    )
    parser.add_argument('names', nargs='*', default=['all'], metavar='SCENARIO')
    parser.add_argument('--list', action='store_true', help='list the scenarios and exit')
    parser.add_argument('--short', action='store_true', help='a few repetitions of each')
    parser.add_argument('--count', type=int, help="repetitions, instead of the scenario's own")
    parser.add_argument(
        '--limit',
        type=float,
        default=LIMIT,
        help=f'time limit of a scenario in seconds (default {LIMIT})',
    )
    parser.add_argument('--json', type=Path, default=Path('faults.json'))
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    return parser


if __name__ == '__main__':
    sys.exit(main())
