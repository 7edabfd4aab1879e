# SPDX-License-Identifier: Apache-2.0
"""What one, two and four cameras cost: memory, CPU time and frames served, over DDS.

Each camera is a process that sends the bundled clip at a fixed rate; a subscriber hears all outputs
of each. The cameras are served by one process with one network, and then, for comparison, by a
process each:

    python -m benchmarks.cameras                 1, 2 and 4 cameras at 15 Hz, 30 seconds each
    python -m benchmarks.cameras --counts 1 2 --seconds 60 --out cameras.json

Prints JSON.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.bench import BenchError
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from depth_perception.demo.processes import Child, child
from depth_perception.ros.topics import DEPTH

if TYPE_CHECKING:
    from benchmarks.listener import Listener

NODE = 'depth_perception.ros.node'
#: Seconds for the nodes to load their networks.
START = 240.0
#: Seconds at the full rate before anything is counted.
WARM_UP = 5.0


def measure(count: int, shared: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of so many cameras, served by one process or by one each."""
    from benchmarks.listener import Listener

    names = [f'camera_{number}' for number in range(1, count + 1)]
    with ExitStack() as stack:
        nodes = [stack.enter_context(node) for node in _nodes(names, shared, options.device)]
        listeners = [Listener(f'/{name}') for name in names]
        cameras = [CameraProcess(f'/{name}') for name in names]
        for entity in (*listeners, *cameras):
            stack.callback(entity.close)
        _wait_until_ready(nodes, cameras, listeners)
        for camera in cameras:
            camera.set_rate(options.rate)
        time.sleep(WARM_UP)
        figures = _watch(nodes, cameras, listeners, options.seconds)
    return {'cameras': count, 'processes': len(nodes), **figures}


def _nodes(names: list[str], shared: bool, device: str) -> list[Any]:
    # Off: on a busy machine old frames cost, and are to count, as much as new ones.
    parameters = {'device': device, 'max_age': '0.0'}
    if shared:
        return [child(NODE, '--cameras', ','.join(names), parameters=parameters)]
    return [child(NODE, remaps={'__ns': f'/{name}'}, parameters=parameters) for name in names]


def _wait_until_ready(nodes: list[Child], cameras: list[CameraProcess],
                      listeners: list[Listener]) -> None:
    deadline = time.monotonic() + START
    for camera in cameras:
        camera.set_rate(2.0)
    while not all(DEPTH in listener.last for listener in listeners):
        ended = [node for node in nodes if node.ended()]
        if ended or time.monotonic() > deadline:
            raise BenchError(f'no depth image: {(ended or nodes)[0].complaint() or "silence"}')
        time.sleep(0.1)


def _watch(nodes: list[Child], cameras: list[CameraProcess], listeners: list[Listener],
           seconds: float) -> dict[str, Any]:
    processes = [psutil.Process(node.pid) for node in nodes]
    for listener in listeners:
        listener.take()
    cpu, sent = _cpu_seconds(processes), [camera.sent for camera in cameras]
    start = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - start
    served = [listener.take().counts[DEPTH] for listener in listeners]
    cpu = _cpu_seconds(processes) - cpu
    memory = [process.memory_full_info() for process in processes]
    return {
        'sent_hz': [(camera.sent - before) / passed for camera, before in zip(cameras, sent)],
        'served_hz': [frames / passed for frames in served],
        'served_hz_in_all': sum(served) / passed,
        'cpu_ms_per_frame': 1000 * cpu / max(1, sum(served)),
        'rss_mb': sum(one.rss for one in memory) / 1e6,
        'private_mb': sum(one.uss for one in memory) / 1e6,
        'threads': sum(process.num_threads() for process in processes)}


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when measured, 1 when a node did not serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--counts', type=int, nargs='+', default=[1, 2, 4], help='of cameras')
    parser.add_argument('--rate', type=float, default=15.0, help='images a second of each camera')
    parser.add_argument('--seconds', type=float, default=30.0, help='of counting')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--out', type=Path, help='file for the JSON too')
    options = parser.parse_args(arguments)
    prepare_process()
    result: dict[str, Any] = {
        'machine': machine(), 'rate_hz': options.rate, 'seconds': options.seconds,
        'omp_num_threads': os.environ.get('OMP_NUM_THREADS', 'not set'), 'runs': []}
    try:
        for count in options.counts:
            for shared in (True, False) if count > 1 else (True,):
                result['runs'].append(measure(count, shared, options))
                sys.stderr.write(json.dumps(result['runs'][-1]) + '\n')
    except BenchError as error:
        sys.stderr.write(f'cameras: {error}\n')
        return 1
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
