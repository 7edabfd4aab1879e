# SPDX-License-Identifier: Apache-2.0
"""Compare inference backends with the limits of the machine (roofline).

    python -m benchmarks.network --sizes own 480x640     first, for the times
    python -m benchmarks.roofline --times network_output/network.json

Counts operations and necessary memory traffic of each network and size (benchmarks/work.py) and
measures the limits of the machine (benchmarks/limits.py). No backend can be faster than the larger
of operations / best rate and bytes / best rate. The fraction is that bound / the measured median.
Writes roofline.json and roofline.png.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.limits import Limits, measure_limits
from benchmarks.machine import machine, torch_device
from benchmarks.network import build, plain_logarithms
from benchmarks.results import has_matplotlib, read_times, write_json
from benchmarks.work import Work, work

#: Bytes per value.
ITEMSIZE = {'fp32': 4, 'bf16': 2, 'fp16': 2, 'int8': 1}


@dataclass
class Point:
    """One backend with one network and size.

    Attributes:
        intensity: operations per byte.
        gflops: 10^9 operations per second reached.
        bound_ms: lower bound of the time on this machine.
        bound_by: `compute` or `memory`.
        fraction: bound_ms / measured median; 1 would be the machine's limit.
    """

    network: str
    size: str
    way: str
    precision: str
    median_ms: float
    intensity: float
    gflops: float
    bound_ms: float
    bound_by: str
    fraction: float


def point(row: dict[str, Any], done: Work, limits: Limits) -> Point | None:
    """Return the point of a row of network.json; None if its precision's limit is unknown."""
    precision = row['way'].split()[-1]
    if precision not in limits.gflops:
        return None
    moved = done.bytes(ITEMSIZE[precision])
    compute = done.flops / limits.gflops[precision] / 1e6
    memory = moved / limits.gbytes / 1e6
    bound = max(compute, memory)
    return Point(
        row['network'],
        row['size'],
        row['way'],
        precision,
        row['median_ms'],
        done.flops / moved,
        done.flops / row['median_ms'] / 1e6,
        bound,
        'compute' if compute >= memory else 'memory',
        bound / row['median_ms'],
    )


def plot(path: Path, points: list[Point], limits: Limits, title: str) -> None:
    """Draw the roofs and the backends below them."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7.5, 4.6), layout='constrained')
    x = np.geomspace(
        min(p.intensity for p in points) / 2,
        2 * max(max(limits.gflops.values()) / limits.gbytes, *(p.intensity for p in points)),
        200,
    )
    for (precision, roof), style in zip(limits.gflops.items(), ('-', '--', ':')):
        axis.loglog(
            x,
            np.minimum(x * limits.gbytes, roof),
            style,
            color='black',
            lw=1.2,
            label=f'limit {precision}: {roof:.0f} GFLOP/s, {limits.gbytes:.0f} GB/s',
        )
    ways = list(dict.fromkeys(p.way for p in points))
    marks = dict(zip(dict.fromkeys((p.network, p.size) for p in points), 'os^vD*<>pPXh'))
    for p in points:
        axis.plot(
            p.intensity,
            p.gflops,
            marks[p.network, p.size],
            ms=6,
            alpha=0.85,
            color=f'C{ways.index(p.way)}',
        )
    for way in ways:
        axis.plot([], [], lw=5, color=f'C{ways.index(way)}', label=way)
    for (network, size), mark in marks.items():
        axis.plot([], [], mark, color='0.5', label=f'{network}, {size}')
    axis.set(xlabel='operations a byte (see benchmarks/work.py)', ylabel='GFLOP/s')
    plain_logarithms(axis.xaxis)
    plain_logarithms(axis.yaxis)
    axis.set_title(textwrap.fill(title, 70), fontsize=8)
    axis.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    axis.grid(alpha=0.3, which='both')
    figure.savefig(path, dpi=100)
    plt.close(figure)


def run(times: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Compute everything from the content of a network.json."""
    limits = measure_limits(device)
    counted = {
        (row['network'], row['size']): work(
            build(row['network']), tuple(map(int, row['size'].split('x')))
        )
        for row in {(row['network'], row['size']): row for row in times['rows']}.values()
    }
    points = [point(row, counted[row['network'], row['size']], limits) for row in times['rows']]
    return {
        'machine': machine(),
        'default_way': times['default_way'],
        'unfinished': times.get('unfinished', []),
        'limits': asdict(limits),
        'work': [
            {'network': name, 'size': size, **asdict(done)}
            for (name, size), done in counted.items()
        ],
        'points': [asdict(p) for p in points if p is not None],
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--times', type=Path, required=True, help='a network.json')
    parser.add_argument('--device', type=torch_device, default='auto')
    parser.add_argument('--out', type=Path, default=Path('network_output'))
    options = parser.parse_args(arguments)
    try:
        times = read_times(options.times)
    except ValueError as error:
        sys.stderr.write(f'roofline: {error}\n')
        return 1
    result = run(times, options.device)
    write_json(options.out / 'roofline.json', result)
    points = [Point(**p) for p in result['points']]
    picture = options.out / 'roofline.png'
    if points and has_matplotlib(picture):
        plot(picture, points, Limits(**result['limits']), result['machine'])
    for p in points:
        print(
            f'{p.network:<20}{p.size:<10}{p.way:<18}{p.median_ms:9.1f} ms, bound '
            f'{p.bound_ms:7.1f} ms by {p.bound_by}: {100 * p.fraction:.0f} %'
        )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
