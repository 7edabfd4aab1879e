# SPDX-License-Identifier: Apache-2.0
"""Measure the benefit of anchors: the error of depth with a lidar row, 8 x 8 zones, or the floor.

    python -m benchmarks.anchors_real [--data FOLDER] [--model FILE] [--every N] [--out FOLDER]

Uses the bundled clip and each folder in FOLDER with pairs rgb_*.jpg, sync_depth_*.png (16 bits,
millimetres) and camera.json (width, height, fx, fy, cx, cy; without it the network does not know
the camera). Anchors are made from the true depth with noise and outliers, see
`depth_perception.depth.simulated_anchors`. Prints a table, writes anchors_real.json and an image of
the clip. docs/anchors.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.clip import HEIGHT, PITCH_DEG, read_clip
from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors, anchor_depth
from depth_perception.depth.floor_anchors import floor_anchors
from depth_perception.depth.scan import CameraPose
from depth_perception.depth.simulated_anchors import SENSORS, sensed
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.image_files import read_image

matplotlib.use('Agg')  # needs no display

from matplotlib import pyplot as plt

#: Range of the truth that is evaluated, metres.
RANGE = (0.1, 10.0)
#: An image counts as worse if its error grows by more than this factor.
WORSE = 1.02
#: Methods to compare.
WAYS = ('plain', *SENSORS, 'floor')
#: Frame of the clip to draw, colour limits of depth in metres and of relative errors.
SHOWN, COLOURS, ERRORS = 24, (0.3, 5.0), (-0.5, 0.5)


@dataclass(frozen=True)
class Pair:
    """An image and its true depth.

    Attributes:
        rgb: uint8 (H, W, 3).
        truth: float32 (H, W), metres; NaN if unknown.
        camera: None if unknown.
        pose: None if unknown.
    """

    rgb: NDArray[np.uint8]
    truth: NDArray[np.float32]
    camera: CameraModel | None
    pose: CameraPose | None = None


def clip() -> Iterator[Pair]:
    """Yield the bundled clip."""
    pose = CameraPose(math.radians(PITCH_DEG), height=HEIGHT)
    return (Pair(frame.rgb, frame.truth, frame.camera, pose) for frame in read_clip())


def folder(path: Path) -> Iterator[Pair]:
    """Yield the pairs of a folder in order."""
    camera = None
    if (path / 'camera.json').exists():
        camera = CameraModel(**json.loads((path / 'camera.json').read_text()))
    for image in sorted(path.glob('rgb_*.jpg')):
        file = path / f'sync_depth_{image.stem.removeprefix("rgb_")}.png'
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if depth is None or depth.dtype != np.uint16:
            raise SystemExit(f'anchors_real: {file} is not a 16-bit depth image')
        truth = (depth / 1000).astype(np.float32)
        yield Pair(read_image(image), np.where(truth > 0, truth, np.nan), camera)


def anchors_of(pair: Pair, predicted: NDArray, seed: int) -> dict[str, Anchors]:
    """Return the anchors of each method."""
    made = sensed(pair.truth, pair.camera, seed, pair.pose.pitch if pair.pose else 0.0)
    if pair.pose is not None:
        made['floor'] = floor_anchors(predicted, pair.camera, pair.pose)
    return made


def depths(pair: Pair, predicted: NDArray, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return the depth of each method."""
    return {
        'plain': predicted,
        **{
            way: anchor_depth(predicted, anchors)[0]
            for way, anchors in anchors_of(pair, predicted, seed).items()
        },
    }


def abs_rel(depth: NDArray, truth: NDArray) -> float:
    """Return the mean of |depth - truth| / truth for truth in RANGE."""
    known = (truth >= RANGE[0]) & (truth <= RANGE[1])
    return float((abs(depth - truth)[known] / truth[known]).mean())


def measure(pairs: Iterator[Pair], estimator: DepthEstimator, every: int) -> dict[str, Any]:
    """Return mean AbsRel by method, and the share of images that anchors make worse."""
    errors: dict[str, list[float]] = {}
    for number, pair in enumerate(pairs):
        if number % every or not np.isfinite(pair.truth).any():
            continue
        predicted = estimator.infer(pair.rgb, pair.camera)
        for way, depth in depths(pair, predicted, number).items():
            errors.setdefault(way, []).append(abs_rel(depth, pair.truth))
    plain = np.array(errors['plain'])
    return {
        'pictures': len(plain),
        'AbsRel': {way: round(float(np.mean(found)), 3) for way, found in errors.items()},
        'worse': {
            way: round(float(np.mean(np.array(found) > WORSE * plain)), 2)
            for way, found in errors.items()
            if way != 'plain'
        },
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Format the results as Markdown."""
    lines = ['| | Pictures | ' + ' | '.join(WAYS) + ' |', '|' + '---|' * (len(WAYS) + 2)]
    for name, result in results.items():
        cells = [
            f'{result["AbsRel"][way]:.3f}'
            + (f' ({result["worse"][way]:.0%})' if way in result['worse'] else '')
            if way in result['AbsRel']
            else ''
            for way in WAYS
        ]
        lines.append(f'| {name} | {result["pictures"]} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def draw(path: Path, estimator: DepthEstimator) -> None:
    """Draw a frame of the clip with its anchors, and depth and errors of each method."""
    pair = list(clip())[SHOWN]
    predicted = estimator.infer(pair.rgb, pair.camera)
    anchors = {'plain': None, **anchors_of(pair, predicted, SHOWN)}
    made = depths(pair, predicted, SHOWN)
    figure, axes = plt.subplots(3, len(WAYS), figsize=(3 * len(WAYS), 7), layout='constrained')
    for way, (image, colours, errors) in zip(WAYS, axes.T):
        image.imshow(pair.rgb)
        if anchors[way] is not None:
            image.scatter(anchors[way].u, anchors[way].v, s=6, c='red')
        image.set_title(
            {
                'plain': 'the network alone',
                'one row': 'one row of a lidar',
                '8x8': '8 x 8 distances',
                'floor': 'the floor',
            }[way],
            fontsize=11,
        )
        seen = colours.imshow(made[way], cmap='turbo_r', vmin=COLOURS[0], vmax=COLOURS[1])
        colours.set_title(f'mean error {abs_rel(made[way], pair.truth):.0%}', fontsize=10)
        off = errors.imshow(made[way] / pair.truth - 1, cmap='RdBu', vmin=ERRORS[0], vmax=ERRORS[1])
    figure.colorbar(seen, ax=axes[1], label='depth, m', shrink=0.8)
    figure.colorbar(
        off,
        ax=axes[2],
        label='too near, too far',
        shrink=0.8,
        format=matplotlib.ticker.PercentFormatter(1),
    )
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def run(data: Path | None, model: str, every: int) -> dict[str, Any]:
    """Return all figures."""
    estimator = DepthEstimator.load(model)
    paths = sorted(path for path in data.iterdir() if any(path.glob('rgb_*.jpg'))) if data else []
    results = {path.name: measure(folder(path), estimator, every) for path in paths}
    results['bundled clip'] = measure(clip(), estimator, every)
    return {'machine': machine(), 'model': estimator.info.name, 'every': every, 'results': results}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if anchors made a folder worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, help='folder of folders with pairs')
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='every N-th picture')
    parser.add_argument('--out', type=Path, default=Path('anchors_output'))
    options = parser.parse_args(arguments)
    if options.data and not options.data.is_dir():
        parser.error(f'--data {options.data} is not a folder')
    report = run(options.data, options.model, options.every)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / 'anchors_real.json', report)
    draw(options.out / 'anchors.jpg', DepthEstimator.load(options.model))
    print(f'{report["model"]}; {report["machine"]}')
    print('AbsRel (share of pictures that became worse)')
    print(table(report['results']))
    worse = [
        f'{name}, {way}'
        for name, result in report['results'].items()
        for way, error in result['AbsRel'].items()
        if error > result['AbsRel']['plain']
    ]
    if worse:
        sys.stderr.write(f'anchors_real: worse than the network alone: {"; ".join(worse)}\n')
    return 1 if worse else 0


if __name__ == '__main__':
    sys.exit(main())
