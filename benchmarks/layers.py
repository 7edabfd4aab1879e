# SPDX-License-Identifier: Apache-2.0
"""Profile a network on a CPU by kind of layer, with OpenVINO's own counters.

    python -m benchmarks.layers --networks default --sizes own 480x640

Uses the node's default precision. Writes layers.json.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.network import NETWORKS, OWN, build, own_size, parse_size
from benchmarks.results import write_json
from depth_perception.inference.backends.openvino import OpenVino

RUNS = 10


def kind(node_type: str, kernel: str) -> str:
    """Name the kind of a layer by OpenVINO's type and the name of its kernel."""
    if 'Convolution' in node_type:
        if 'dw' in kernel:
            return 'depthwise convolution'
        return '1x1 convolution' if '1x1' in kernel else 'convolution'
    if node_type == 'Reorder':
        return 'change of layout or precision'
    return node_type


def shares(layers: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Sum (type, kernel, seconds) to the share of the time by kind, largest first."""
    seconds: Counter[str] = Counter()
    for node_type, kernel, took in layers:
        seconds[kind(node_type, kernel)] += took
    total = sum(seconds.values())
    return {name: took / total for name, took in seconds.most_common() if took > 0}


def profile(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return a network's shares, over several runs."""
    runner = OpenVino(build(name), 'fp16')
    runner._core.set_property('CPU', {'PERF_COUNT': True})
    image = torch.randn(1, 3, *size)
    layers = []
    for run in range(RUNS + 1):
        runner.run(image)
        (request,) = runner._requests.values()
        if run:  # the first run allocates memory
            layers += [
                (layer.node_type, layer.exec_type, layer.real_time.total_seconds())
                for layer in request.get_profiling_info()
            ]
    return {
        'network': name,
        'size': f'{size[0]}x{size[1]}',
        'precision': runner.precision,
        'ms': 1000 * sum(layer[2] for layer in layers) / RUNS,
        'shares': shares(layers),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--networks', nargs='+', default=['default'], choices=list(NETWORKS))
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=parse_size,
        metavar='HEIGHTxWIDTH',
        help=f'{OWN}, the default: the input size of the bundled network',
    )
    parser.add_argument('--out', type=Path, default=Path('network_output'))
    options = parser.parse_args(arguments)
    sizes = options.sizes or [own_size()]
    rows = [profile(name, size) for name in options.networks for size in sizes]
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / 'layers.json', {'machine': machine(), 'runs': RUNS, 'rows': rows})
    for row in rows:
        print(
            row['network'],
            row['size'],
            row['precision'],
            f'{row["ms"]:.1f} ms:',
            ', '.join(f'{name} {100 * share:.0f} %' for name, share in row['shares'].items()),
        )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
