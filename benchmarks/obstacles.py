# SPDX-License-Identifier: Apache-2.0
"""Obstacles within 3 m on the bundled clip: found, missed and invented, beam by beam of the scan.

    python -m benchmarks.obstacles [--model FILE] [--out FOLDER]

The network's depth and the true one go through the node's own pipeline to `scan`. Writes
obstacles.json and obstacles.png, the scene from above. docs/obstacles.md has the definitions.
"""
from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from sensor_msgs.msg import LaserScan
from torch import Tensor

from benchmarks.clip import HEIGHT, PITCH_DEG, Frame, Recorded, predictions, read_clip
from benchmarks.machine import machine
from depth_perception.depth.scan import CameraPose
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import WeightsInfo
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import SCAN, Pipeline
from depth_perception.ros.node.scan_pose import ScanPose

matplotlib.use('Agg')  # no display is needed

from matplotlib import pyplot as plt

#: Metres within which an obstacle counts.
WITHIN = 3.0
#: A range is right if it differs from the true one by at most the larger of a share and metres.
SHARE, METRES = 0.25, 0.15
#: What becomes of a beam, and its colour in the picture.
COLOURS = {'found': 'tab:green', 'missed': 'tab:red', 'hidden': 'tab:orange',
           'invented': 'tab:orange', 'unknown': 'tab:purple'}
PANELS = 4


def scans(frames: list[Frame], depths: list[Tensor], info: WeightsInfo,
          settings: Settings) -> list[LaserScan]:
    """The scan of each frame that the node's pipeline makes of these depths."""
    cameras = Calibrations()
    cameras.update(frames[0].info)
    pose = CameraPose(math.radians(PITCH_DEG), height=HEIGHT)
    pipeline = Pipeline(Recorded(depths, info), cameras, lambda *_: ScanPose(pose, 'level'))
    return [pipeline.process(frame.image, frozenset({SCAN}), settings).outputs[SCAN]
            for frame in frames]


def ranges_of(scan: LaserScan) -> NDArray[np.float64]:
    """Ranges (count,)."""
    return np.array(scan.ranges, float)


def verdicts(found: NDArray, true: NDArray) -> NDArray[np.str_]:
    """What became of each beam, from its range and the true one: names of COLOURS, or ''.

    found: there is an obstacle within WITHIN, and the range is right. missed: the range is too
    long, or free. hidden: the range is too short. unknown: NaN. invented: there is none, but a
    range within WITHIN that is too short.
    """
    tolerance = np.where(np.isinf(true), 0, np.maximum(SHARE * true, METRES))
    is_obstacle = true <= WITHIN
    too_short = found < true - tolerance
    return np.select(
        [is_obstacle & np.isnan(found), is_obstacle & too_short, is_obstacle
         & (found > true + tolerance), is_obstacle, too_short & (found <= WITHIN)],
        ['unknown', 'hidden', 'missed', 'found', 'invented'], '')


def counts(frames: list[NDArray[np.str_]]) -> dict[str, float]:
    """Beams by verdict, and shares of the true obstacles."""
    tally = Counter(name for frame in frames for name in frame.tolist() if name)
    obstacles = sum(tally[name] for name in ('found', 'missed', 'hidden', 'unknown'))
    share = {f'{name}_percent': round(100 * tally[name] / max(1, obstacles), 1)
             for name in ('found', 'missed', 'hidden', 'unknown')}
    return {'obstacles': obstacles, **{name: tally[name] for name in COLOURS}, **share}


def measure(frames: list[Frame], depths: list[Tensor], truths: list[LaserScan],
            info: WeightsInfo, depth_scale: float) -> tuple[dict[str, Any], list[LaserScan]]:
    """Counts in total and by frame, and the scans."""
    settings = Settings(depth_scale=depth_scale)
    found = scans(frames, depths, info, settings)
    by_frame = [verdicts(ranges_of(one), ranges_of(true)) for one, true in zip(found, truths)]
    beams = sum(len(frame) for frame in by_frame)
    return {'depth_scale': round(depth_scale, 3), 'beams': beams, 'total': counts(by_frame),
            'frames': [counts([frame]) for frame in by_frame]}, found


def best_scale(depths: list[Tensor], truths: list[Tensor]) -> float:
    """The one depth_scale that fits the clip: the median of true / predicted depth."""
    return float(np.median([(truth / depth).nanmedian() for depth, truth in zip(depths, truths)]))


def draw(path: Path, truths: list[LaserScan], rows: list[tuple[str, list[LaserScan]]]) -> None:
    """From above, in metres: a grey line for the true scan, dots in their verdicts' colours."""
    chosen = np.linspace(0, len(truths) - 1, PANELS).round().astype(int)
    figure, axes = plt.subplots(len(rows), PANELS, squeeze=False, sharex=True, sharey=True,
                                figsize=(3.2 * PANELS, 3.6 * len(rows) + 0.6),
                                layout='constrained')
    for cells, (title, found) in zip(axes, rows):
        for cell, index in zip(cells, chosen):
            _panel(cell, truths[index], found[index])
            cell.set_title(f'frame {index}, {title}', fontsize=9)
    handles = [plt.Line2D([], [], color='0.6', lw=4, label='truth')] + [
        plt.Line2D([], [], color=COLOURS[name], marker='o', ls='', ms=4, label=label)
        for name, label in (('found', 'found'), ('missed', 'missed: too far away'),
                            ('hidden', 'invented: too near'))]
    figure.legend(handles=handles, loc='outside lower center', ncols=4, frameon=False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _panel(cell: Any, truth: LaserScan, found: LaserScan) -> None:
    true, ranges = ranges_of(truth), ranges_of(found)
    angles = truth.angle_min + truth.angle_increment * np.arange(len(true))
    names = verdicts(ranges, true)
    for radius in (1, 2, 3):
        cell.add_patch(plt.Circle((0, 0), radius, fill=False, color='0.85', lw=0.8))
    cell.plot(-true * np.sin(angles), true * np.cos(angles), color='0.6', lw=4,
              solid_capstyle='round')
    colour = [COLOURS.get(name, '0.8') for name in names]
    cell.scatter(-ranges * np.sin(angles), ranges * np.cos(angles), s=5, c=colour, zorder=3)
    cell.plot(0, 0, '^', color='black')
    cell.set_aspect('equal')
    cell.set_xlim(-1.8, 1.8)
    cell.set_ylim(-0.1, 3.4)


def run(model: str, out: Path) -> dict[str, Any]:
    """Measure as published and with the best depth_scale; the report, also as files."""
    out.mkdir(parents=True, exist_ok=True)
    frames = read_clip()
    estimator = DepthEstimator.load(model, device='auto')
    depths = predictions(estimator, frames)
    true_depths = [torch.from_numpy(frame.truth) for frame in frames]
    # The truth has no flying pixels: nothing is to be removed from it.
    truths = scans(frames, true_depths, estimator.info, Settings(edge_threshold=0.0))
    rows = []
    report: dict[str, Any] = {
        'machine': machine(), 'model': estimator.info.name, 'within_m': WITHIN,
        'tolerance': f'the larger of {SHARE:.0%} and {METRES} m',
        'camera': {'pitch_deg': PITCH_DEG, 'height_m': HEIGHT}, 'results': []}
    for title, scale in (('as published', 1.0),
                         ('best depth_scale', best_scale(depths, true_depths))):
        result, found = measure(frames, depths, truths, estimator.info, scale)
        report['results'].append(result)
        rows.append((f'{title} ({scale:.2f})' if scale != 1 else title, found))
    (out / 'obstacles.json').write_text(json.dumps(report, indent=1) + '\n')
    draw(out / 'obstacles.png', truths, rows)
    return report


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument('--out', type=Path, default=Path('obstacles_output'))
    options = parser.parse_args(arguments)
    report = run(options.model, options.out)
    print(f'{report["model"]}; {report["machine"]}')
    for result in report['results']:
        print(f'depth_scale {result["depth_scale"]}: {json.dumps(result["total"])}')
    print(f'by frame and from above: {options.out}/obstacles.json, obstacles.png')


if __name__ == '__main__':
    main()
