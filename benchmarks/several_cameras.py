# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of one, two and four cameras: latency, memory, CPU time, processed frames.

Each camera is a process that sends the bundled clip over DDS at a fixed rate, and a subscriber
receives all its outputs. The cameras share one process with one network, and for comparison have a
process each. They first send at a rate that the machine should sustain, then flood it, so that some
images are replaced by newer ones. The total rate of the flood does not depend on the number of
cameras, since sending takes CPU time as well.

    python -m benchmarks.several_cameras         1, 2 and 4 cameras at 3 Hz, then 90 Hz in total
    python -m benchmarks.several_cameras --counts 1 2 --seconds 60 --shared-only

Also fits each cost as a power of the number of cameras: below 1, two cameras cost less than twice
one. Writes cameras.json and cameras.png.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.bench import BenchError
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from benchmarks.results import write_json
from depth_perception.demo.processes import Child, child
from depth_perception.ros.conversions.topics import DEPTH

if TYPE_CHECKING:
    from benchmarks.listener import Listener

NODE = 'depth_perception.ros.node.main'
#: Seconds to wait for the nodes to load their networks.
START = 240.0
#: Seconds at full rate before counting starts.
WARM_UP = 3.0
#: Duration in seconds of a trial flood, and the share of its images that must be replaced.
TRIAL = 4.0
REPLACED = 0.1
#: Factor by which a flood is raised if all of it is processed, and the largest number of raises.
RAISE, RAISES = 1.5, 4
#: Costs: figure of a run and its label. All but the last are measured at the steady rate.
COSTS = {
    'latency_p50_ms': 'latency, ms',
    'cores': 'CPU cores',
    'private_mb': 'private memory, MB',
    'round_ms': 'flooded: one frame of each, ms',
}


def measure(count: int, shared: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Measure this many cameras, with one shared process or one process each."""
    from benchmarks.listener import Listener

    names = [f'camera_{number}' for number in range(1, count + 1)]
    with ExitStack() as stack:
        nodes = [stack.enter_context(node) for node in _nodes(names, shared, options.device)]
        listeners = [Listener(f'/{name}') for name in names]
        cameras = [CameraProcess(f'/{name}') for name in names]
        for entity in (*listeners, *cameras):
            stack.callback(entity.close)
        _wait_until_ready(nodes, cameras, listeners)
        steady = _watch(nodes, cameras, listeners, options.rate, options.seconds)
        rate = flood_rate(
            lambda rate: _watch(nodes, cameras, listeners, rate, TRIAL), options.flood / count
        )
        flood = {'rate_hz': rate, **_watch(nodes, cameras, listeners, rate, options.seconds)}
    in_all = flood['served_hz_in_all']
    return {
        'cameras': count,
        'processes': len(nodes),
        **steady,
        'flood': flood,
        'round_ms': 1000 * count / in_all if in_all else float('nan'),
    }


def _nodes(names: list[str], shared: bool, device: str) -> list[Any]:
    # Off, since old frames on a busy machine cost as much as new ones, and must be counted.
    parameters = {'device': device, 'max_age': '0.0'}
    if shared:
        return [child(NODE, '--cameras', ','.join(names), parameters=parameters)]
    return [child(NODE, remaps={'__ns': f'/{name}'}, parameters=parameters) for name in names]


def _wait_until_ready(
    nodes: list[Child], cameras: list[CameraProcess], listeners: list[Listener]
) -> None:
    deadline = time.monotonic() + START
    for camera in cameras:
        camera.set_rate(2.0)
    while not all(DEPTH in listener.last for listener in listeners):
        ended = [node for node in nodes if node.ended()]
        if ended or time.monotonic() > deadline:
            raise BenchError(f'no depth image: {(ended or nodes)[0].complaint() or "silence"}')
        time.sleep(0.1)


def _watch(
    nodes: list[Child],
    cameras: list[CameraProcess],
    listeners: list[Listener],
    rate: float,
    seconds: float,
) -> dict[str, Any]:
    """Measure the cost of processing this rate of each camera."""
    processes = [psutil.Process(node.pid) for node in nodes]
    for camera in cameras:
        camera.set_rate(rate)
    time.sleep(WARM_UP)
    for listener in listeners:
        listener.take()
    cpu, sent = _cpu_seconds(processes), [camera.sent for camera in cameras]
    start = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - start
    heard = [listener.take() for listener in listeners]
    served = [one.counts[DEPTH] for one in heard]
    latencies = [1000 * latency for one in heard for latency in one.latencies] or [float('nan')]
    cpu = _cpu_seconds(processes) - cpu
    memory = [process.memory_full_info() for process in processes]
    return {
        'sent_hz': [(camera.sent - before) / passed for camera, before in zip(cameras, sent)],
        'served_hz': [frames / passed for frames in served],
        'served_hz_in_all': sum(served) / passed,
        'latency_p50_ms': float(np.percentile(latencies, 50)),
        'latency_p95_ms': float(np.percentile(latencies, 95)),
        'cores': cpu / passed,
        'cpu_ms_per_frame': 1000 * cpu / max(1, sum(served)),
        'rss_mb': sum(one.rss for one in memory) / 1e6,
        'private_mb': sum(one.uss for one in memory) / 1e6,
        'threads': sum(process.num_threads() for process in processes),
    }


def flood_rate(watch: Callable[[float], dict[str, Any]], rate: float) -> float:
    """Return the first rate, from `rate` up, at which images are replaced; Hz per camera.

    Args:
        watch: measures what was sent and processed at a rate.
        rate: rate to start with.
    """
    for _ in range(RAISES):
        seen = watch(rate)
        if seen['served_hz_in_all'] < (1 - REPLACED) * sum(seen['sent_hz']):
            break
        rate *= RAISE
    return rate


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def growth(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by cost, with a shared process: the fitted exponent, and two cameras over one."""
    shared = {run['cameras']: run for run in runs if run['processes'] == 1}
    result = {}
    for cost in COSTS:
        values = {count: run[cost] for count, run in shared.items() if run[cost] > 0}  # no NaN
        figures = {}
        if len(values) > 1:
            figures['exponent'] = float(
                np.polyfit(np.log(list(values)), np.log(list(values.values())), 1)[0]
            )
        if {1, 2} <= values.keys():
            figures['two_over_one'] = values[2] / values[1]
        result[cost] = figures
    return result


def plot(path: Path, result: dict[str, Any]) -> None:
    """Draw each cost over the number of cameras, with a shared process and with one each."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(COSTS), figsize=(13, 3.4), layout='constrained')
    for axis, (cost, words) in zip(axes, COSTS.items()):
        shared = {run['cameras']: run[cost] for run in result['runs'] if run['processes'] == 1}
        apart = {
            run['cameras']: run[cost]
            for run in result['runs']
            if run['processes'] == run['cameras']
        }
        axis.plot(list(shared), list(shared.values()), 'o-', label='one process for all')
        if len(apart) > 1:
            axis.plot(list(apart), list(apart.values()), 's--', label='a process each')
        if 1 in shared:
            axis.plot(
                list(shared),
                [count * shared[1] for count in shared],
                ':',
                color='0.6',
                label='as many times one camera',
            )
        axis.set(xlabel='cameras', title=words, xticks=list(shared))
        axis.set_ylim(0)
        axis.title.set_fontsize(10)
        axis.grid(alpha=0.3)
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=8, ncols=3, loc='outside lower center'
    )
    figure.suptitle(f'{result["machine"]}, {result["rate_hz"]:g} Hz each', fontsize=9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if a node did not process frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--counts', type=int, nargs='+', default=[1, 2, 4], help='numbers of cameras'
    )
    parser.add_argument('--rate', type=float, default=3.0, help='images per second and camera')
    parser.add_argument(
        '--flood',
        type=float,
        default=90.0,
        help='images per second of all cameras together, raised until some are replaced',
    )
    parser.add_argument('--seconds', type=float, default=30.0, help='duration at each rate')
    parser.add_argument('--shared-only', action='store_true', help='omit one process per camera')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--out', type=Path, default=Path('cameras_output'))
    options = parser.parse_args(arguments)
    prepare_process()
    result: dict[str, Any] = {
        'machine': machine(),
        'rate_hz': options.rate,
        'flood_hz_in_all': options.flood,
        'seconds': options.seconds,
        'omp_num_threads': os.environ.get('OMP_NUM_THREADS', 'not set'),
        'runs': [],
    }
    try:
        for count in options.counts:
            for shared in (True, False) if count > 1 and not options.shared_only else (True,):
                result['runs'].append(measure(count, shared, options))
                sys.stderr.write(json.dumps(result['runs'][-1]) + '\n')
    except BenchError as error:
        sys.stderr.write(f'cameras: {error}\n')
        return 1
    result['growth'] = growth(result['runs'])
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / 'cameras.json', result)
    plot(options.out / 'cameras.png', result)
    print(json.dumps(result['growth'], indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
