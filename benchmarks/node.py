# SPDX-License-Identifier: Apache-2.0
"""The node beside the usual Python pattern, over DDS: peak rate, latency, overload.

    python -m benchmarks.node                  640x480 raw images of the bundled clip, both nodes

One camera process, one listener to depth, cloud (every second pixel) and scan; the two nodes take
turns. For each, as ros2_benchmark does: the highest rate at which less than 5 % of the images stay
without a depth image; at 5, 10, 15 and 30 Hz as far as that is held, stamp-to-arrival percentiles
of depth and cloud, the node's own stages and its share of the processor; and, with the camera twice
as fast as the network, how old the depth is when it arrives, early and late. Writes node.json and
node.png.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Bench, BenchError, say
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from benchmarks.resources import resources
from depth_perception.demo.processes import child
from depth_perception.ros.topics import DEPTH, POINTS, SCAN

RATES = (5.0, 10.0, 15.0, 30.0)
#: What takes part: module, arguments as parameters.
NODES = {
    'depth_node': 'depth_perception.ros.node',
    'usual pattern': 'benchmarks.usual_node',
}
_MEDIAN = re.compile(r'p50 ([\d.]+)')


def judge(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one node."""
    bench.wait_until_ready()
    peak = bench.highest_rate(options.ceiling)
    say(f'  peak {peak:.1f} Hz')
    at = {f'{rate:g}': row for rate in RATES if rate <= peak
          for row in [_at_rate(bench, rate, options.seconds)]}
    if not at:
        at = {f'{peak:.1f}': _at_rate(bench, peak, options.seconds)}
    return {'peak_hz': peak, 'at_hz': at, 'overload': _overload(bench, options.seconds)}


def _at_rate(bench: Bench, rate: float, seconds: float) -> dict[str, Any]:
    """Latencies, stages and processor share at a steady rate."""
    bench.pause()
    bench.camera.set_rate(rate)
    time.sleep(2.0)
    bench.listener.take()
    sent, before, start = bench.camera.sent, resources(bench.process), time.monotonic()
    time.sleep(seconds)
    elapsed, after = time.monotonic() - start, resources(bench.process)
    heard, sent = bench.listener.take(), bench.camera.sent - sent
    bench.camera.set_rate(0.0)
    row = {'sent': sent, 'received': dict(heard.counts),
           'cores': (after['cpu_s'] - before['cpu_s']) / elapsed,
           'rss_mb': after['rss_mb'], 'stages_ms': stages(bench.listener.values),
           **{f'{topic} ms': percentiles(heard.latencies_of[topic])
              for topic in (DEPTH, POINTS)}}
    say(f'  {rate:5.1f} Hz: depth {row[f"{DEPTH} ms"]}, cores {row["cores"]:.2f}, '
        f'beside the network {beside_network(row["stages_ms"])} ms')
    return row


def _overload(bench: Bench, seconds: float) -> dict[str, Any]:
    """Age of depth at arrival with a camera twice as fast as the network."""
    network = stages(bench.listener.values).get('network', 50.0)
    rate = 2000 / network
    bench.pause()
    bench.camera.set_rate(rate)
    time.sleep(1.0)
    bench.listener.take()
    time.sleep(seconds)
    ages = np.array(bench.listener.take().latencies)
    bench.pause()
    half = len(ages) // 2
    row = {'camera_hz': rate, 'network_ms': network, 'frames': len(ages),
           'age_ms_first_half': float(1000 * np.median(ages[:half])) if half else None,
           'age_ms_second_half': float(1000 * np.median(ages[half:])) if half else None,
           'age_ms_largest': float(1000 * ages.max()) if half else None}
    say(f'  camera at {rate:.1f} Hz, network {network:.0f} ms: age '
        f'{row["age_ms_first_half"]} -> {row["age_ms_second_half"]} ms (medians of both halves)')
    return row


def stages(values: dict[str, str]) -> dict[str, float]:
    """Median milliseconds by stage, from a node's diagnostics."""
    found = {key.removesuffix('_ms'): _MEDIAN.search(value) for key, value in values.items()
             if key.endswith('_ms')}
    return {key: float(match[1]) for key, match in found.items() if match}


def beside_network(stage: dict[str, float]) -> float | None:
    """Milliseconds from arrival to publish without the network's own."""
    if not {'arrival_to_publish', 'network'} <= stage.keys():
        return None
    return round(stage['arrival_to_publish'] - stage['network'], 2)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    if not seconds:
        return {}
    return {f'p{q}': round(1000 * float(np.percentile(seconds, q)), 1) for q in (50, 95, 99)}


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the turns and the ratio of the usual pattern to ours."""
    lines = {}
    for name, turns in results.items():
        beside = [beside_network(row['stages_ms']) for turn in turns
                  for row in turn['at_hz'].values()]
        beside = [value for value in beside if value is not None]
        lines[name] = {
            'peak_hz': float(np.median([turn['peak_hz'] for turn in turns])),
            'beside_network_ms': float(np.median(beside)) if beside else None,
            'overload_age_ms': [turn['overload']['age_ms_second_half'] for turn in turns]}
    ours, usual = (lines[name]['beside_network_ms'] for name in NODES)
    ratio = usual / ours if ours and usual else None
    return {**lines, 'usual_to_ours_beside_network': ratio}


def plot(path: Path, results: dict[str, list[dict[str, Any]]], title: str) -> None:
    """Latency of depth by rate: median and 95th percentile of each node."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.6), layout='constrained')
    for name, turns in results.items():
        rates = list(dict.fromkeys(rate for turn in turns for rate in turn['at_hz']))
        lines = {q: [np.median([turn['at_hz'][rate][f'{DEPTH} ms'][q] for turn in turns
                                if rate in turn['at_hz']]) for rate in rates]
                 for q in ('p50', 'p95')}
        x = [float(rate) for rate in rates]
        line, = axis.plot(x, lines['p50'], 'o-', label=f'{name}, median')
        axis.plot(x, lines['p95'], 'o:', color=line.get_color(), label=f'{name}, 95 %')
    axis.set(xlabel='camera, Hz', ylabel='stamp to arrival of depth, ms', title=title)
    axis.set_ylim(0)
    axis.title.set_fontsize(8)
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both nodes in turns."""
    from benchmarks.listener import Listener

    results: dict[str, list[dict[str, Any]]] = {name: [] for name in NODES}
    camera = CameraProcess(size=options.size)
    try:
        for _ in range(options.turns):
            for name, module in NODES.items():
                say(name)
                listener = Listener(topics=(DEPTH, POINTS, SCAN))
                try:
                    with child(module) as node:
                        results[name].append(judge(Bench(node, camera, listener), options))
                finally:
                    listener.close()
    finally:
        camera.close()
    return {'machine': machine(), 'size': options.size, 'summary': summary(results),
            'results': results}


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480),
                        metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--turns', type=int, default=2, help='of each node')
    parser.add_argument('--ceiling', type=float, default=60.0, help='Hz, where the search begins')
    parser.add_argument('--out', type=Path, default=Path('node_output'))
    options = parser.parse_args(arguments)
    options.size = tuple(options.size)
    prepare_process()
    try:
        found = run(options)
    except BenchError as error:
        sys.stderr.write(f'node: {error}\n')
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / 'node.json').write_text(json.dumps(found, indent=1) + '\n')
    plot(options.out / 'node.png', found['results'],
         f'{found["machine"]}, {options.size[0]}x{options.size[1]}')
    say(json.dumps(found['summary'], indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
