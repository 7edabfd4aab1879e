# SPDX-License-Identifier: Apache-2.0
"""Compare the node with the usual Python pattern over DDS: peak rate, latency, overload.

    python -m benchmarks.node                  640x480 raw images of the bundled clip, both nodes

One camera process feeds the two nodes alternately; one listener receives depth, cloud (every second
pixel) and scan. As in ros2_benchmark, it finds for each node the highest rate at which less than
5 % of the images get no depth. At 5, 10, 15 and 30 Hz, if sustained, it measures percentiles from
stamp to arrival of depth and cloud, the node's own stages and CPU use. With the camera twice as
fast as the network it measures the age of depth on arrival, early and late. Writes node.json and
node.png.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from benchmarks.bench import Bench, BenchError, say
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.network import plain_logarithms
from benchmarks.process import prepare_process
from benchmarks.resources import resources
from benchmarks.results import write_json
from depth_perception.demo.processes import child
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN

if TYPE_CHECKING:
    from benchmarks.listener import Listener

RATES = (5.0, 10.0, 15.0, 30.0)
#: Name, to module and arguments as parameters.
NODES = {
    'depth_node': 'depth_perception.ros.node.main',
    'usual pattern': 'benchmarks.usual_node',
}
_MEDIAN = re.compile(r'p50 ([\d.]+)')


def judge(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures of one node."""
    bench.wait_until_ready()
    peak = bench.highest_rate(options.ceiling)
    say(f'  peak {peak:.1f} Hz')
    at = {
        f'{rate:g}': row
        for rate in RATES
        if rate <= peak
        for row in [_at_rate(bench, rate, options.seconds)]
    }
    if not at:
        at = {f'{peak:.1f}': _at_rate(bench, peak, options.seconds)}
    return {'peak_hz': peak, 'at_hz': at, 'overload': _overload(bench, options.seconds)}


def _at_rate(bench: Bench, rate: float, seconds: float) -> dict[str, Any]:
    """Measure latencies, stages and CPU use at a steady rate."""
    bench.pause()
    _forget(bench.listener)
    bench.camera.set_rate(rate)
    time.sleep(2.0)
    bench.listener.take()
    sent, before, start = bench.camera.sent, resources(bench.process), time.monotonic()
    time.sleep(seconds)
    elapsed, after = time.monotonic() - start, resources(bench.process)
    heard, sent = bench.listener.take(), bench.camera.sent - sent
    bench.camera.set_rate(0.0)
    row = {
        'sent': sent,
        'received': dict(heard.counts),
        'cores': (after['cpu_s'] - before['cpu_s']) / elapsed,
        'rss_mb': after['rss_mb'],
        'stages_ms': stages(bench.listener.values),
        **{f'{topic} ms': percentiles(heard.latencies_of[topic]) for topic in (DEPTH, POINTS)},
    }
    row['split_ms'] = split(row['stages_ms'], row[f'{DEPTH} ms'])
    say(
        f'  {rate:5.1f} Hz: depth {row[f"{DEPTH} ms"]}, cores {row["cores"]:.2f}, '
        f'beside the network {beside_network(row["stages_ms"])} ms'
    )
    return row


def _forget(listener: Listener) -> None:
    """Reset the statistics of `depth_node`; the usual node resets them after each pause."""
    client = listener.node.create_client(ChangeState, 'depth_node/change_state')
    try:
        if not client.wait_for_service(1.0):
            return
        for step in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
            answered = threading.Event()
            future = client.call_async(ChangeState.Request(transition=Transition(id=step)))
            future.add_done_callback(lambda _, answered=answered: answered.set())
            if not answered.wait(30):
                raise BenchError('depth_node does not answer to change_state')
    finally:
        listener.node.destroy_client(client)


def _overload(bench: Bench, seconds: float) -> dict[str, Any]:
    """Measure the age of depth on arrival with a camera twice as fast as the network."""
    measured = stages(bench.listener.values)
    # On a GPU the network has no stage of its own, since the host does not wait for it.
    network = measured.get('network') or measured.get('inference') or 50.0
    rate = 2000 / network
    bench.pause()
    bench.camera.set_rate(rate)
    time.sleep(1.0)
    bench.listener.take()
    time.sleep(seconds)
    ages = 1000 * np.array(bench.listener.take().latencies)
    bench.pause()
    row = {
        'camera_hz': rate,
        'network_ms': network,
        'seconds': seconds,
        **age_trend(ages),
        'ages_ms': [round(float(age), 1) for age in ages[:: max(1, len(ages) // 100)]],
    }
    say(
        f'  camera at {rate:.1f} Hz, network {network:.0f} ms: age '
        f'{row["age_ms_first_half"]} -> {row["age_ms_second_half"]} ms (medians of both halves)'
    )
    return row


def age_trend(ages: np.ndarray) -> dict[str, Any]:
    """Return medians of the first and the second half, and the maximum; None without frames."""
    half = len(ages) // 2
    return {
        'frames': len(ages),
        'age_ms_first_half': float(np.median(ages[:half])) if half else None,
        'age_ms_second_half': float(np.median(ages[half:])) if half else None,
        'age_ms_largest': float(ages.max()) if half else None,
    }


def split(stage: dict[str, float], latency: dict[str, float]) -> dict[str, float]:
    """Split the median milliseconds from stamp to arrival of depth, in order of time.

    `transport` is outside the node: to it, and from it to the listener. Cloud and scan are
    published after depth, so it is underestimated if they take long, but never below 0.
    """
    if not {'arrival_to_publish', 'network'} <= stage.keys() or not latency:
        return {}
    inside = stage['arrival_to_publish']
    parts = {'transport': max(0.0, latency['p50'] - inside)}
    if 'inference' not in stage:
        return {
            **parts,
            'network': stage['network'],
            'beside the network': inside - stage['network'],
        }
    known = [stage.get(key, 0.0) for key in ('decode', 'inference', 'postprocess', 'publish')]
    return {
        **parts,
        'waiting': max(0.0, inside - sum(known)),
        'decode': known[0],
        'resize, normalise': known[1] - stage['network'],
        'network': stage['network'],
        'masks, cloud, scan': known[2],
        'publish': known[3],
    }


def stages(values: dict[str, str]) -> dict[str, float]:
    """Return median milliseconds by stage, from a node's diagnostics."""
    found = {
        key.removesuffix('_ms'): _MEDIAN.search(value)
        for key, value in values.items()
        if key.endswith('_ms')
    }
    return {key: float(match[1]) for key, match in found.items() if match}


def beside_network(stage: dict[str, float]) -> float | None:
    """Return median milliseconds from arrival to publication without the network's own."""
    if 'beside_network' in stage:
        return stage['beside_network']
    if not {'arrival_to_publish', 'network'} <= stage.keys():
        return None
    return round(stage['arrival_to_publish'] - stage['network'], 2)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    if not seconds:
        return {}
    return {f'p{q}': round(1000 * float(np.percentile(seconds, q)), 1) for q in (50, 95, 99)}


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return medians over the turns and the ratio of the usual pattern to ours."""
    lines: dict[str, Any] = {}
    common = set.intersection(*(set(turn['at_hz']) for turns in results.values() for turn in turns))
    for name, turns in results.items():
        beside = [
            beside_network(row['stages_ms'])
            for turn in turns
            for rate, row in turn['at_hz'].items()
            if rate in common
        ]
        beside = [value for value in beside if value is not None]
        lines[name] = {
            'peak_hz': float(np.median([turn['peak_hz'] for turn in turns])),
            'beside_network_ms': float(np.median(beside)) if beside else None,
            'overload_age_ms': [turn['overload']['age_ms_second_half'] for turn in turns],
            'overload_age_in_network_periods': [
                turn['overload']['age_ms_second_half'] / turn['overload']['network_ms']
                for turn in turns
                if turn['overload']['age_ms_second_half'] is not None
            ],
            # The period at the peak rate: all work of a frame, not only the network.
            'overload_age_in_node_periods': [
                turn['overload']['age_ms_second_half'] * turn['peak_hz'] / 1000
                for turn in turns
                if turn['overload']['age_ms_second_half'] is not None
            ],
        }
    ours, usual = (lines[name]['beside_network_ms'] for name in NODES)
    ratio = usual / ours if ours and usual else None
    return {**lines, 'usual_to_ours_beside_network': ratio}


def plot(path: Path, results: dict[str, list[dict[str, Any]]], title: str) -> None:
    """Draw latency by rate, its parts, and the age of depth if the camera is too fast."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout='constrained')
    _plot_latency(axes[0], results)
    _plot_split(axes[1], results)
    _plot_overload(axes[2], results)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.title.set_fontsize(10)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _plot_latency(axis: Any, results: dict[str, list[dict[str, Any]]]) -> None:
    for name, turns in results.items():
        rates = list(dict.fromkeys(rate for turn in turns for rate in turn['at_hz']))
        lines = {
            q: [
                np.median(
                    [
                        turn['at_hz'][rate][f'{DEPTH} ms'].get(q, np.nan)
                        for turn in turns
                        if rate in turn['at_hz']
                    ]
                )
                for rate in rates
            ]
            for q in ('p50', 'p95')
        }
        x = [float(rate) for rate in rates]
        (line,) = axis.plot(x, lines['p50'], 'o-', label=f'{name}, median')
        axis.plot(x, lines['p95'], 'o:', color=line.get_color(), label=f'{name}, 95 %')
    axis.set(xlabel='camera, Hz', ylabel='stamp to arrival of depth, ms', title='latency')
    axis.set_ylim(0)
    axis.legend(fontsize=8)


def _plot_split(axis: Any, results: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the parts of each node's latency at the lowest rate."""
    bars = {
        name: next(iter(turns[0]['at_hz'].values()))['split_ms'] for name, turns in results.items()
    }
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    for index, part in enumerate(parts):
        widths = [bar.get(part, 0.0) for bar in bars.values()]
        starts = [sum(bar.get(before, 0.0) for before in parts[:index]) for bar in bars.values()]
        axis.barh(list(bars), widths, left=starts, label=part, color=f'C{index}')
    axis.invert_yaxis()
    axis.set(xlabel='ms, medians', title='parts of the latency at the lowest rate')
    axis.legend(fontsize=8, ncols=2, loc='lower right')
    axis.set_ylim(len(bars) + 0.3, -0.6)


def _plot_overload(axis: Any, results: dict[str, list[dict[str, Any]]]) -> None:
    for name, turns in results.items():
        row = turns[0]['overload']
        ages = np.array(row['ages_ms'])
        axis.semilogy(np.linspace(0, row['seconds'], len(ages)), ages, label=name)
    axis.set(
        xlabel='seconds',
        ylabel='age of depth at arrival, ms',
        title='camera twice as fast as the network',
    )
    plain_logarithms(axis.yaxis)
    axis.legend(fontsize=8)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure both nodes alternately."""
    from benchmarks.listener import Listener

    results: dict[str, list[dict[str, Any]]] = {name: [] for name in NODES}
    camera = CameraProcess(size=options.size)
    try:
        for _ in range(options.turns):
            for name, module in NODES.items():
                say(name)
                listener = Listener(topics=(DEPTH, POINTS, SCAN))
                try:
                    sizes = {'image_sizes': '{}x{}'.format(*options.size)}
                    with child(module, parameters=sizes) as node:
                        results[name].append(judge(Bench(node, camera, listener), options))
                finally:
                    listener.close()
    finally:
        camera.close()
    return {
        'machine': machine(),
        'size': options.size,
        'summary': summary(results),
        'results': results,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--size', type=int, nargs=2, default=(640, 480), metavar=('WIDTH', 'HEIGHT')
    )
    parser.add_argument('--seconds', type=float, default=20.0, help='duration of each measurement')
    parser.add_argument('--turns', type=int, default=2, help='measurements of each node')
    parser.add_argument('--ceiling', type=float, default=60.0, help='highest rate to try, Hz')
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
    write_json(options.out / 'node.json', found)
    plot(
        options.out / 'node.png',
        found['results'],
        f'{found["machine"]}, {options.size[0]}x{options.size[1]}',
    )
    say(json.dumps(found['summary'], indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
