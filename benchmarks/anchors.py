# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of anchored depth: milliseconds per frame, on one core or with a GPU.

    python -m benchmarks.anchors [--size 640x480] [--anchors 128] [--device cpu] [--out FILE]

The input is a smooth scene, a depth that is wrong by a smooth factor, and anchors all over it with
3 % noise, one in ten of them wrong. docs/anchors.md has the figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.depth.anchors import Anchors, anchor_depth, fit_anchors
from depth_perception.depth.residual_field import apply_field

#: The network's range, metres.
LIMITS = (0.1, 10.0)


def scene(width: int, height: int, count: int) -> tuple[NDArray[np.float32], Anchors]:
    """Return a predicted depth, and anchors of the true one."""
    v, u = np.mgrid[:height, :width] / height
    truth = np.minimum(3 + u, 0.7 / np.maximum(v - 0.45, 0.05))
    depth = (truth * np.exp(0.3 + 0.2 * np.sin(3 * u) * np.cos(2 * v))).astype(np.float32)
    random = np.random.default_rng(0)
    rows, columns = random.integers(0, height, count), random.integers(0, width, count)
    seen = truth[rows, columns] * (1 + 0.03 * random.standard_normal(count))
    seen[::10] = random.uniform(0.3, 8.0, len(seen[::10]))
    return depth, Anchors.of(columns, rows, seen)


def milliseconds(function: Callable[[], Any], device: str, seconds: float) -> dict[str, float]:
    """Measure repeated calls: median and 95th percentile of CPU time, or of wall time with a GPU.

    CPU time does not include the time that other programs take on the same core.
    """
    function()
    clock = time.thread_time if device == 'cpu' else time.perf_counter
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = clock()
        function()
        if device != 'cpu':
            torch.cuda.synchronize()
        taken.append(1000 * (clock() - start))
    return {
        'median': round(float(np.median(taken)), 3),
        'p95': round(float(np.quantile(taken, 0.95)), 3),
    }


def run(size: tuple[int, int], count: int, device: str, seconds: float = 3.0) -> dict[str, Any]:
    """Return all figures, with one thread."""
    cv2.setNumThreads(1)
    depth, anchors = scene(*size, count)
    depth = torch.from_numpy(depth).to(device)
    field, report = fit_anchors(depth, anchors, LIMITS)
    return {
        'machine': machine(),
        'device': device,
        'size': size,
        'offered': report.offered,
        'compared': report.compared,
        'used': report.used,
        'milliseconds': {
            'fit': milliseconds(lambda: fit_anchors(depth, anchors, LIMITS), device, seconds),
            'apply': milliseconds(lambda: apply_field(depth, field), device, seconds),
            'both': milliseconds(lambda: anchor_depth(depth, anchors), device, seconds),
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', default='640x480', metavar='WIDTHxHEIGHT')
    parser.add_argument('--anchors', type=int, default=128, metavar='N')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, help='file to write as JSON')
    options = parser.parse_args(arguments)
    width, height = (int(side) for side in options.size.split('x'))
    report = run((width, height), options.anchors, options.device)
    print(
        f'{report["machine"]}; {options.device}, one thread; {width}x{height}, '
        f'{report["compared"]} of {report["offered"]} anchors compared, {report["used"]} agree'
    )
    for name, figures in report['milliseconds'].items():
        print(f'{name:6} {figures["median"]:7.2f} ms median {figures["p95"]:7.2f} ms 95 %')
    if options.out:
        write_json(options.out, report)


if __name__ == '__main__':
    main()
