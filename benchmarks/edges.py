# SPDX-License-Identifier: Apache-2.0
"""Measure what `edge_threshold` removes on the bundled clip: flying pixels, and good pixels.

    python -m benchmarks.edges [--model FILE] [--out FOLDER]

Filters two depths: the network's, and the true depth reduced to half the network's input, the size
of its last features, and enlarged again: the sharpest edges possible with such features.
docs/filters.md has the definitions. Writes edges.json and edges.png (a cloud from above).
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.clip import HEIGHT, PITCH_DEG, Frame, predictions, read_clip
from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.depth import geometry
from depth_perception.depth.scan import CameraPose
from depth_perception.inference.estimator import DepthEstimator

matplotlib.use('Agg')  # needs no display

from matplotlib import pyplot as plt

Depth = NDArray[np.float32]

THRESHOLDS = (0.02, 0.03, 0.05, 0.1, 0.2)
#: Relative jump between neighbours that counts as an edge, and its reach in pixels.
JUMP, REACH = 0.1, 3
#: Largest relative difference at which two depths belong to the same surface.
SAME = 0.05
#: Frame and threshold of the image.
SHOWN, SHOWN_THRESHOLD = 13, 0.05


def flying(depth: Depth, truth: Depth) -> NDArray[np.bool_]:
    """Return the mask (H, W) of pixels at an edge whose depth is between the two surfaces."""
    window = np.ones((2 * REACH + 1,) * 2, np.uint8)
    log = np.log(truth)
    jump = np.zeros(truth.shape, np.uint8)
    jump[:, 1:] |= np.abs(np.diff(log, axis=1)) > JUMP
    jump[1:] |= np.abs(np.diff(log, axis=0)) > JUMP
    around = np.lib.stride_tricks.sliding_window_view(np.pad(log, REACH, mode='edge'), window.shape)
    off_surface = np.abs(around - np.log(depth)[..., None, None]).min((-2, -1)) > np.log1p(SAME)
    between = (depth > cv2.erode(truth, window)) & (depth < cv2.dilate(truth, window))
    return (cv2.dilate(jump, window) > 0) & off_surface & between


def good(depth: Depth, truth: Depth) -> NDArray[np.bool_]:
    """Return the mask (H, W) of pixels with the correct depth."""
    return np.abs(np.log(depth / truth)) < np.log1p(SAME)


def reduced(truth: Depth, size: tuple[int, int]) -> Depth:
    """Reduce the truth to a (height, width) and enlarge it again."""
    small = cv2.resize(truth, size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(small, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)


def steepest(depths: list[Depth]) -> float:
    """Return the 99.9th percentile of the depth change between neighbours in a row, in percent."""
    steps = np.concatenate([np.abs(np.diff(np.log(depth), axis=1)).ravel() for depth in depths])
    return float(100 * np.expm1(np.quantile(steps, 0.999)))


def table(depths: list[Depth], truths: list[Depth]) -> dict[str, Any]:
    """Return percentages of flying and good pixels, of those removed, and the steepest step."""
    tally: Counter[Any] = Counter()
    for depth, truth in zip(depths, truths):
        # Remove the scale error of the frame, which does not concern edges.
        depth = depth * np.float32(np.nanmedian(truth / depth))
        masks = {'flying': flying(depth, truth), 'good': good(depth, truth)}
        tally['pixels'] += depth.size
        for name, mask in masks.items():
            tally[name] += mask.sum()
            for threshold in THRESHOLDS:
                tally[name, threshold] += (mask & geometry.flying_pixels(depth, threshold)).sum()
    return {
        **{f'{name}_percent': 100 * tally[name] / tally['pixels'] for name in ('flying', 'good')},
        'steepest_percent': steepest(depths),
        'removed_percent': {
            str(threshold): {
                name: 100 * tally[name, threshold] / max(1, tally[name])
                for name in ('flying', 'good')
            }
            for threshold in THRESHOLDS
        },
    }


def draw(path: Path, frame: Frame, depth: Depth) -> None:
    """Draw the cloud above the floor from above, before and after filtering."""
    removed = geometry.flying_pixels(depth, SHOWN_THRESHOLD)
    level = CameraPose(math.radians(PITCH_DEG)).rotation()
    points = geometry.back_project(depth, frame.camera) @ level.T
    slab = (points[..., 2] > 0.1 - HEIGHT) & (points[..., 2] < 0.3)
    is_flying = flying(depth, frame.truth)
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 5.2), sharex=True, sharey=True, layout='constrained'
    )
    for cell, mask, title in (
        (axes[0], slab, 'edge_threshold 0'),
        (axes[1], slab & ~removed, f'edge_threshold {SHOWN_THRESHOLD}'),
    ):
        for part, colour, size in ((~is_flying, '0.35', 0.5), (is_flying, 'tab:red', 3)):
            shown = points[mask & part]
            cell.scatter(-shown[:, 1], shown[:, 0], s=size, color=colour, lw=0)
        cell.set_title(f'{title}; red: flying')
        cell.set_aspect('equal')
        cell.set_xlabel('metres')
    figure.savefig(path, dpi=80)
    plt.close(figure)


def run(model: str, out: Path) -> dict[str, Any]:
    """Return both tables; also write them to the folder, with the image."""
    out.mkdir(parents=True, exist_ok=True)
    frames = read_clip()
    truths = [frame.truth for frame in frames]
    estimator = DepthEstimator.load(model, device='auto')
    rows, columns = estimator.network_size(*truths[0].shape, frames[0].camera)
    blurred = [reduced(truth, (rows // 2, columns // 2)) for truth in truths]
    report = {
        'machine': machine(),
        'model': estimator.info.name,
        'sharp_network': table(blurred, truths),
        'network': table([d.numpy() for d in predictions(estimator, frames)], truths),
    }
    write_json(out / 'edges.json', report)
    draw(out / 'edges.png', frames[SHOWN], blurred[SHOWN])
    return report


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument('--out', type=Path, default=Path('edges_output'))
    options = parser.parse_args(arguments)
    report = run(options.model, options.out)
    print(f'{report["model"]}; {report["machine"]}')
    for name in ('sharp_network', 'network'):
        print(f'{name}: {json.dumps(report[name], indent=1)}')


if __name__ == '__main__':
    main()
