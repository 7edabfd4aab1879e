# SPDX-License-Identifier: Apache-2.0
"""Count found, missed and false obstacles within 3 m: beams of the scan, and cells of a costmap.

    python -m benchmarks.obstacles [--model FILE] [--drives FOLDER ...] [--exact] [--out FOLDER]
        [--min-confidence X] [--page docs/obstacles.md]

Uses the bundled clip and five short drives through generated rooms, or the drives in FOLDERs (see
`benchmarks.drives`). The network's depth and the true depth are converted to cloud and scan like in
the node, and mark a costmap by Nav2's rules with config/nav2_costmap.yaml. Writes obstacles.json,
obstacles.png (scans from above) and costmap.png. docs/obstacles.md has the definitions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.drives import Drive, clip_drive, read_drive, room_drives
from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.demo.obstacles import METRES, SHARE, WITHIN, counts, verdicts
from depth_perception.depth.anchors import Anchors
from depth_perception.depth.products import DepthProducts, DepthScan, ProductMaker
from depth_perception.depth.settings import DepthSettings
from depth_perception.depth.simulated_anchors import lidar_row, zones
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.files import write_atomically
from test.support.nav2_rules import Cell, ObstacleLayer, observations

matplotlib.use('Agg')  # needs no display

from matplotlib import pyplot as plt

#: Verdicts on a beam, and their colours in the image.
COLOURS = {
    'found': 'tab:green',
    'missed': 'tab:red',
    'hidden': 'tab:orange',
    'invented': 'tab:orange',
    'unknown': 'tab:purple',
}
#: Ways to distinguish floor and obstacles, optionally after correcting the depth.
HEIGHT, FLOOR, ROW, ZONES = 'height alone', 'floor model', 'lidar row', '8x8 distances'
WAYS = (HEIGHT, FLOOR, ROW, ZONES)
TRUTH = 'true depth'
#: The robot's height: lower things are obstacles in scan and costmap, metres.
ROBOT = 1.0
COSTMAP = yaml.safe_load((Path(__file__).parents[1] / 'config' / 'nav2_costmap.yaml').read_text())[
    'local_costmap'
]['local_costmap']['ros__parameters']
#: What marks the costmap: the scan, as in the file, or the cloud instead.
MARKS = ('scan', 'cloud')
CLOUD = {
    'marking': True,
    'clearing': False,
    'min_obstacle_height': 0.08,
    'max_obstacle_height': ROBOT,
    'obstacle_max_range': WITHIN,
}
#: Lines of the page around the table.
BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'


@dataclass(frozen=True)
class Seen:
    """The node's outputs for one frame.

    Attributes:
        ranges, angles: ranges and angles of the scan.
        points: points of cloud and scan by the costmap's names, (n, 3) in the frame of the robot's
            base, which is on the floor below the camera.
    """

    ranges: NDArray[np.float64]
    angles: NDArray[np.float64]
    points: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Mask:
    """A mask of doubtful depth.

    Attributes:
        least: the parameter `min_confidence`.
        confidence: of each frame, (H, W).
    """

    least: float
    confidence: list[NDArray[np.float32]]


def settings_of(drive: Drive, way: str, min_confidence: float = 0.0) -> DepthSettings:
    """Return the node's parameters; all others have their defaults."""
    pose = drive.pose
    # The truth has no flying pixels, so nothing must be removed from it.
    more = {'edge_threshold': 0.0} if way == TRUTH else {}
    return DepthSettings(
        camera_height=pose.height,
        camera_pitch=math.degrees(pose.pitch),
        scan_max_height=ROBOT - pose.height,
        floor_model=way not in (HEIGHT, TRUTH),
        min_confidence=min_confidence if way != TRUTH else 0.0,
        **more,
    )


class _Exact:
    """Replaces a random generator: no noise and no outliers."""

    @staticmethod
    def standard_normal(count: int) -> NDArray[np.float64]:
        return np.zeros(count)

    @staticmethod
    def random(count: int) -> NDArray[np.float64]:
        return np.ones(count)

    @staticmethod
    def uniform(_low: float, _high: float, count: int) -> NDArray[np.float64]:
        return np.zeros(count)


def anchors_of(drive: Drive, truth: NDArray, way: str, seed: int | None) -> Anchors | None:
    """Simulate the robot's ranging sensor; None without one. Without a seed it is exact."""
    random: Any = _Exact() if seed is None else np.random.default_rng(seed)
    if way == ROW:
        return lidar_row(truth, drive.camera, random, drive.pose.pitch)
    return zones(truth, drive.camera, random) if way == ZONES else None


def look(
    drive: Drive,
    depths: list[NDArray[np.float32]],
    way: str,
    most: float,
    exact: bool = False,
    mask: Mask | None = None,
) -> list[Seen]:
    """Return the node's outputs for a drive's depths, up to `most` metres."""
    make, settings = ProductMaker(most), settings_of(drive, way, mask.least if mask else 0.0)
    seen = []
    for number, (depth, truth, time) in enumerate(zip(depths, drive.truths, drive.times.tolist())):
        sure = mask.confidence[number] if mask else None
        products = make(None, drive.camera, depth, settings, time=time, confidence=sure)
        anchors = anchors_of(drive, truth, way, None if exact else number)
        if anchors is not None:
            products, _ = make.anchored(products, anchors, time)
        products.pose = drive.pose
        seen.append(_seen(products, products.scan()))
    return seen


def _seen(products: DepthProducts, scan: DepthScan) -> Seen:
    pose, points = scan.pose, products.points.reshape(-1, 3).astype(float)
    points = points[np.isfinite(points[:, 2])] @ pose.rotation().T
    up = (0, 0, pose.height)
    return Seen(
        np.array(scan.ranges, float),
        scan.angles,
        {'depth_points': points + up, **observations(scan, up)},
    )


def cells(drive: Drive, seen: list[Seen], marks: str) -> Iterator[set[Cell]]:
    """Yield the lethal cells of the costmap after each frame.

    Args:
        drive: the drive of the frames.
        seen: outputs for each frame.
        marks: one of MARKS.
    """
    layer = COSTMAP['obstacle_layer']
    if marks == 'cloud':
        layer = {**layer, 'observation_sources': 'depth_points depth_scan', 'depth_points': CLOUD}
    costmap = ObstacleLayer({**COSTMAP, 'obstacle_layer': layer})
    for (x, y, heading), frame in zip(drive.places, seen):
        cos, sin = math.cos(heading), math.sin(heading)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        costmap.update(
            {name: points @ turn + (x, y, 0) for name, points in frame.points.items()}, (x, y)
        )
        costmap.roll((x, y), 0.0)
        yield set(costmap.lethal)


def compared(found: list[set[Cell]], true: list[set[Cell]]) -> dict[str, float]:
    """Return mean numbers of lethal cells over a drive: true, missing and false ones.

    A true cell is missing if neither it nor a neighbour is lethal.
    """

    def around(cells: set[Cell]) -> set[Cell]:
        return {(x + i, y + j) for x, y in cells for i in (-1, 0, 1) for j in (-1, 0, 1)}

    rows = [
        (len(real), len(real - around(seen)), len(seen - real), len(seen - around(real)))
        for seen, real in zip(found, true)
    ]
    names = ('true', 'missing', 'false', 'false_beyond_a_cell')
    return dict(zip(names, (round(float(mean), 1) for mean in np.mean(rows, 0))))


def measure(
    drive: Drive,
    depths: list[NDArray[np.float32]],
    most: float,
    ways: tuple[str, ...] = WAYS,
    exact: bool = False,
    mask: Mask | None = None,
) -> tuple[dict[str, Any], dict[str, list[Seen]]]:
    """Return all figures of a drive by way, and the outputs, also for the true depth."""
    seen = {
        TRUTH: look(drive, drive.truths, TRUTH, most),
        **{way: look(drive, depths, way, most, exact, mask) for way in ways},
    }
    true = {marks: list(cells(drive, seen[TRUTH], marks)) for marks in MARKS}
    figures = {}
    for way in ways:
        by_frame = [verdicts(one.ranges, real.ranges) for one, real in zip(seen[way], seen[TRUTH])]
        figures[way] = {
            'beams': sum(map(len, by_frame)),
            'total': counts(by_frame),
            'cells': {
                marks: compared(list(cells(drive, seen[way], marks)), true[marks])
                for marks in MARKS
            },
            'frames': [counts([frame]) for frame in by_frame],
        }
    return figures, seen


def draw(path: Path, shown: list[tuple[str, dict[str, list[Seen]]]], ways: tuple[str, ...]) -> None:
    """Draw the middle frame of drives from above in metres: one row per drive, a column per way."""
    figure, axes = plt.subplots(
        len(shown),
        len(ways),
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(3 * len(ways), 2.9 * len(shown) + 0.6),
        layout='constrained',
    )
    for row, (name, seen) in zip(axes, shown):
        index = len(seen[TRUTH]) // 2
        for cell, way in zip(row, ways):
            _panel(cell, seen[TRUTH][index], seen[way][index])
            cell.set_title(f'{name}, {way}', fontsize=9)
    handles = [plt.Line2D([], [], color='0.6', lw=4, label='truth')] + [
        plt.Line2D([], [], color=COLOURS[name], marker='o', ls='', ms=4, label=label)
        for name, label in (
            ('found', 'found'),
            ('missed', 'missed: too far away'),
            ('hidden', 'invented: too near'),
        )
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=4, frameon=False)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def _panel(cell: Any, truth: Seen, found: Seen) -> None:
    true, ranges, angles = truth.ranges, found.ranges, truth.angles
    for radius in (1, 2, 3):
        cell.add_patch(plt.Circle((0, 0), radius, fill=False, color='0.85', lw=0.8))
    cell.plot(
        -true * np.sin(angles), true * np.cos(angles), color='0.6', lw=4, solid_capstyle='round'
    )
    colour = [COLOURS.get(name, '0.8') for name in verdicts(ranges, true)]
    cell.scatter(-ranges * np.sin(angles), ranges * np.cos(angles), s=5, c=colour, zorder=3)
    cell.plot(0, 0, '^', color='black')
    cell.set_aspect('equal')
    cell.set_xlim(-1.9, 1.9)
    cell.set_ylim(-0.1, 3.4)


def draw_costmaps(
    path: Path, drive: Drive, seen: dict[str, list[Seen]], ways: tuple[str, ...], frame: int
) -> None:
    """Draw the costmap after a frame of a drive, north up; one row for each of MARKS."""
    figure, axes = plt.subplots(
        len(MARKS),
        len(ways),
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(3 * len(ways), 3 * len(MARKS) + 0.5),
        layout='constrained',
    )
    for row, marks in zip(axes, MARKS):
        true = list(cells(drive, seen[TRUTH][: frame + 1], marks))[-1]
        for cell, way in zip(row, ways):
            found = list(cells(drive, seen[way][: frame + 1], marks))[-1]
            for group, colour in (
                (true - found, '0.75'),
                (found - true, 'tab:orange'),
                (found & true, 'tab:green'),
            ):
                places = (np.array(list(group), float).reshape(-1, 2) + 0.5) * COSTMAP['resolution']
                cell.scatter(*places.T, s=5, marker='s', c=colour, linewidths=0)
            x, y, heading = drive.places[frame]
            cell.quiver(x, y, math.cos(heading), math.sin(heading), scale=12, width=0.012)
            cell.set_title(f'{way}: {len(found - true)} false of {len(found)}', fontsize=9)
            cell.set_aspect('equal')
        row[0].set_ylabel(f'the {marks} marks')
    handles = [
        plt.Line2D([], [], color=colour, marker='s', ls='', ms=5, label=label)
        for colour, label in (
            ('tab:green', 'right'),
            ('tab:orange', 'false'),
            ('0.75', 'not marked'),
        )
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=3, frameon=False)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def run(
    model: str, drives: list[Drive], out: Path, exact: bool = False, min_confidence: float = 0.0
) -> dict[str, Any]:
    """Return all figures; also write them to files."""
    out.mkdir(parents=True, exist_ok=True)
    estimator = DepthEstimator.load(model, device='auto')
    report: dict[str, Any] = {
        'machine': machine(),
        'model': estimator.info.name,
        'within_m': WITHIN,
        'tolerance': f'the larger of {SHARE:.0%} and {METRES} m',
        'exact_sensors': exact,
        'min_confidence': min_confidence,
        'drives': {},
    }
    shown = []
    for drive in drives:
        if min_confidence > 0:
            found = [estimator.infer_with_confidence(rgb, drive.camera) for rgb in drive.images]
            depths, mask = (
                [one for one, _ in found],
                Mask(min_confidence, [one for _, one in found]),
            )
        else:
            depths, mask = [estimator.infer(image, drive.camera) for image in drive.images], None
        figures, seen = measure(drive, depths, estimator.info.max_depth, exact=exact, mask=mask)
        report['drives'][drive.name] = {
            'frames': len(depths),
            'pitch_deg': round(math.degrees(drive.pose.pitch), 2),
            'height_m': drive.pose.height,
            'ways': figures,
        }
        shown.append((drive.name, seen))
    write_json(out / 'obstacles.json', report)
    draw(out / 'obstacles.png', shown, WAYS)
    draw_costmaps(out / 'costmap.png', drives[0], shown[0][1], WAYS, len(drives[0].truths) // 2)
    return report


def tables(report: dict[str, Any]) -> str:
    """Format shares of the obstacles and cells of the costmap as Markdown."""
    lines = [
        '| Drive | Floor and sensor | Detected | Missed | False nearer obstacle | Unknown | '
        'False alarms | False cells (true ones) | The same, if the cloud marks |',
        '|' + '---|' * 9,
    ]
    for name, drive in report['drives'].items():
        for way, figures in drive['ways'].items():
            total = figures['total']
            shares = [
                f'{total[f"{share}_percent"]} %'
                for share in ('found', 'missed', 'hidden', 'unknown')
            ]
            cells = [
                f'{count["false"]:.0f} ({count["true"]:.0f})' for count in figures['cells'].values()
            ]
            row = (name, way, *shares, str(total['invented']), *cells)
            lines.append('| ' + ' | '.join(row) + ' |')
    return '\n'.join(lines)


def means(report: dict[str, Any]) -> str:
    """Format the mean shares over all drives, one line per way."""
    ways = [drive['ways'] for drive in report['drives'].values()]

    def mean(way: str, share: str) -> str:
        values = [figures[way]['total'][f'{share}_percent'] for figures in ways]
        return f'{np.mean(values):.1f} % {share}'

    return '\n'.join(
        f'{way}, mean over {len(ways)} drives: '
        + ', '.join(mean(way, share) for share in ('found', 'missed', 'hidden'))
        for way in ways[0]
    )


def write_tables(page: Path, text: str) -> None:
    """Replace what is between the marks of a page.

    Raises:
        SystemExit: the page has no marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f'{page} has no lines {BEGIN} and {END}')
    write_atomically(page, [f'{before}{begin}\n\n{text}\n\n{end}{after}'.encode()])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument(
        '--drives',
        type=Path,
        nargs='+',
        metavar='FOLDER',
        help='drives instead of the clip and the drives of the repository',
    )
    parser.add_argument(
        '--exact', action='store_true', help='ranging sensors without noise and outliers'
    )
    parser.add_argument(
        '--min-confidence', type=float, default=0.0, help="the node's parameter of this name"
    )
    parser.add_argument('--out', type=Path, default=Path('obstacles_output'))
    parser.add_argument('--page', type=Path, help='also write the table into docs/obstacles.md')
    options = parser.parse_args(arguments)
    drives = (
        [read_drive(path) for path in options.drives]
        if options.drives
        else [clip_drive(), *room_drives()]
    )
    report = run(options.model, drives, options.out, options.exact, options.min_confidence)
    print(f'{report["model"]}; {report["machine"]}')
    print(tables(report))
    print(means(report))
    if options.page:
        write_tables(options.page, tables(report))
    print(f'by frame and from above: {options.out}/obstacles.json, obstacles.png, costmap.png')


if __name__ == '__main__':
    main()
