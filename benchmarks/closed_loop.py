# SPDX-License-Identifier: Apache-2.0
"""Drive a simulated robot by cloud and scan with Nav2's rules, and count collisions.

    python -m benchmarks.closed_loop [--out FOLDER] [--scenario NAME ...] [--error NAME ...]

Runs every scenario with every depth error, for a low and a tall robot, stopped by the collision
monitor or by the costmap, with the network alone, with the known floor and with a ranging sensor.
Prints a table for each combination and writes closed_loop.json and closed_loop.png (drives from
above). docs/nav2.md has the definitions. Everything takes half an hour on one core; --guard and
similar options choose a part. With --seeds N, drives that have something random are repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.results import write_json
from test.support.drive import LOW, MONITOR, TALL, Outcome, drive
from test.support.drive_scenarios import ERRORS, SCENARIOS
from test.support.nav2_rules import at_heights

matplotlib.use('Agg')  # needs no display

from matplotlib import pyplot as plt

ROBOTS = {'low': LOW, 'tall': TALL}
GUARDS = ('monitor', 'costmap')
#: Aids for the network: (the sensor that corrects its depth, `floor_model`).
AIDS = {
    'network alone': ('', False),
    'floor': ('', True),
    'lidar': ('lidar', True),
    '8x8': ('zones', True),
}
#: Drives in the image: (scenario, error, aid).
PANELS = tuple(
    (scenario, error, aid)
    for scenario, error in (('box of 10 cm', 'scale 1.6'), ('doorway of 0.8 m', 'scale 0.6'))
    for aid in AIDS
)


def told(drives: list[dict[str, Any]]) -> str:
    """Format the drives of a scenario for a cell of the table."""
    hits = sum(row['collided'] for row in drives)
    if hits:
        return 'HIT' + (f' {hits} of {len(drives)}' if len(drives) > 1 else '')
    stops = sum(row['stops_for_nothing'] for row in drives)
    nothing = f', {stops} for nothing' if stops else ''
    gaps = [row['gap_m'] for row in drives if row['gap_m'] is not None]
    if gaps:
        nearest, farthest = f'{min(gaps):.2f}', f'{max(gaps):.2f}'
        return nearest + (f' to {farthest}' if farthest != nearest else '') + f' m{nothing}'
    return ('through' if all(row['arrived'] for row in drives) else 'on its way') + nothing


def _driven(
    scenario: str, robot: str, error: str, aid: str, guard: str = 'monitor', seed: int = 0
) -> Outcome:
    sensor, floor_model = AIDS[aid]
    return drive(
        SCENARIOS[scenario],
        ROBOTS[robot],
        ERRORS[error],
        sensor,
        guard,
        seed,
        floor_model=floor_model,
    )


def _seeds(error: str, aid: str, seeds: int) -> range:
    """Return the seeds of a drive; one if nothing in it is random."""
    is_random = AIDS[aid][0] or ERRORS[error].field or ERRORS[error].lost
    return range(seeds if is_random else 1)


def table(
    robot: str, guard: str, aid: str, scenarios: list[str], errors: list[str], seeds: int = 1
) -> list[dict[str, Any]]:
    """Return a robot's drives, one row per scenario, error and seed."""
    rows = []
    for scenario in scenarios:
        for error in errors:
            for seed in _seeds(error, aid, seeds):
                outcome = _driven(scenario, robot, error, aid, guard, seed)
                rows.append(
                    {
                        'robot': robot,
                        'guard': guard,
                        'aid': aid,
                        'scenario': scenario,
                        'error': error,
                        'seed': seed,
                        **row(outcome),
                    }
                )
    return rows


def row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome's figures."""
    return {
        'collided': outcome.collided,
        'arrived': outcome.arrived,
        'stops_for_nothing': outcome.stops_for_nothing,
        'gap_m': outcome.gap,
    }


def as_markdown(rows: list[dict[str, Any]], scenarios: list[str], errors: list[str]) -> str:
    """Format a table with scenarios as rows and errors as columns."""

    def cell(scenario: str, error: str) -> str:
        return told([row for row in rows if (row['scenario'], row['error']) == (scenario, error)])

    lines = [['Scenario', *errors], ['---'] * (len(errors) + 1)]
    lines += [[scenario, *(cell(scenario, error) for error in errors)] for scenario in scenarios]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def totals(rows: list[dict[str, Any]]) -> str:
    """Summarise the drives in one line."""
    hits = sum(row['collided'] for row in rows)
    stops = sum(row['stops_for_nothing'] for row in rows)
    gaps = [row['gap_m'] for row in rows if row['gap_m'] is not None]
    nearest = f', stops {min(gaps):.2f} to {max(gaps):.2f} m before things' if gaps else ''
    return f'{hits} collisions in {len(rows)} drives, {stops} stops for nothing{nearest}'


def summary(report: list[dict[str, Any]], errors: list[str]) -> str:
    """Format collisions and stops for nothing of all drives, errors by aids, as Markdown."""
    kinds = list(dict.fromkeys((row['guard'], row['aid']) for row in report))
    lines = [['Error of the depth', *(f'{guard}, {aid}' for guard, aid in kinds)]]
    lines.append(['---'] * len(lines[0]))
    for error in errors:
        cells = []
        for kind in kinds:
            rows = [row for row in report if row['error'] == error]
            rows = [row for row in rows if (row['guard'], row['aid']) == kind]
            hits, stops = (
                sum(row[name] for row in rows) for name in ('collided', 'stops_for_nothing')
            )
            cells.append(f'{hits} / {stops} in {len(rows)}')
        lines.append([error, *cells])
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def draw(path: Path) -> None:
    """Draw drives from above in metres: true boxes, the points of the last cloud, the path."""
    figure, axes = plt.subplots(
        2, len(AIDS), figsize=(18, 6), layout='constrained', sharex=True, sharey=True
    )
    for cell, (scenario, error, aid) in zip(axes.flat, PANELS):
        outcome = _driven(scenario, 'low', error, aid)
        _panel(cell, scenario, outcome)
        cell.set_title(
            f'{scenario}, {error}, {aid}:\n{told([row(outcome)])}',
            fontsize=11,
            color='tab:red' if outcome.collided else 'black',
        )
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _panel(cell: plt.Axes, scenario: str, outcome: Outcome) -> None:
    seconds, x, y, heading, _ = outcome.track[-1]
    for box in SCENARIOS[scenario].scene.boxes:
        low, high = box.at(seconds)
        cell.add_patch(plt.Rectangle(low[:2], *(high - low)[:2], color='0.75'))
    cloud = outcome.seen['depth_points']
    obstacles = at_heights(cloud, {**MONITOR['depth_points'], 'max_height': LOW.height})
    cell.plot(*cloud[:, :2].T, ',', color='#c8ddf0', zorder=0)
    cell.plot(*obstacles[:, :2].T, '.', color='tab:orange', ms=2)
    track = np.array(outcome.track)
    cell.plot(track[:, 1], track[:, 2], color='tab:blue', lw=1)
    cell.add_patch(
        plt.Circle(
            (x, y),
            LOW.radius,
            fill=False,
            lw=1.5,
            color='tab:red' if outcome.collided else 'tab:blue',
        )
    )
    cell.plot(
        [x, x + LOW.radius * np.cos(heading)],
        [y, y + LOW.radius * np.sin(heading)],
        color='tab:blue',
    )
    cell.set_aspect('equal')
    cell.set_xlim(-0.4, 5.4)
    cell.set_ylim(-1.5, 1.5)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('closed_loop_output'))
    parser.add_argument('--scenario', nargs='+', choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument('--error', nargs='+', choices=ERRORS, default=list(ERRORS))
    parser.add_argument('--robot', nargs='+', choices=ROBOTS, default=list(ROBOTS))
    parser.add_argument('--guard', nargs='+', choices=GUARDS, default=list(GUARDS))
    parser.add_argument('--aid', nargs='+', choices=AIDS, default=list(AIDS))
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='repetitions')
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    report = []
    for robot in options.robot:
        for guard in options.guard:
            for aid in options.aid:
                rows = table(robot, guard, aid, options.scenario, options.error, options.seeds)
                report += rows
                print(f'\n{robot} robot, {guard}, {aid}: {totals(rows)}\n', flush=True)
                print(as_markdown(rows, options.scenario, options.error), flush=True)
    write_json(options.out / 'closed_loop.json', report)
    print(f'\ncollisions / stops for nothing\n\n{summary(report, options.error)}')
    draw(options.out / 'closed_loop.png')
    print(f'\n{options.out}/closed_loop.json, closed_loop.png')


if __name__ == '__main__':
    main()
