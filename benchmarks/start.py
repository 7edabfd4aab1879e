# SPDX-License-Identifier: Apache-2.0
"""Measure what the node costs before and beside its work: start, memory and idle processor time.

    python -m benchmarks.start                   a cold start, three warm ones and restarts, idle
    python -m benchmarks.start --starts 5 --idle-seconds 60
    python -m benchmarks.start --model small.safetensors

A camera sends 640x480 images at 30 Hz all the time, and a subscriber waits for depth, cloud and
scan. Each start is a new process, and ends with the first depth image that the subscriber receives.
At the cold start OpenVINO's compiled network is not on disk yet, though the files of the programs
are in the system's cache. A node starts some seconds after the one before has ended, except at a
restart, which follows at once. Private memory is that after a few seconds of work. Idle is the
processor time afterwards, without a subscriber, once the node does not read images any more. Then
it is woken: the seconds from a new subscriber's start, in a process that runs already, to its first
depth image; and, in turns, to the first image of the camera, which has been sending all the time.
`predict` is the command line program for one image, from start to end.

Nodes discover each other as on a robot, by multicast. With ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
Fast DDS may take three seconds longer (docs/notes/performance.md).

Writes start.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import psutil

from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from benchmarks.results import write_json
from benchmarks.started_node import STAGES
from depth_perception.demo.processes import Child, child
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN
from depth_perception.ros.node.lazy_images import LINGER

if TYPE_CHECKING:
    from benchmarks.listener import Listener

NODE = 'benchmarks.started_node'
CAMERA = 'image'
SIZE = (640, 480)
RATE = 30.0
#: Seconds to wait for a first depth image.
LONGEST = 240.0
#: Seconds of work before the memory is read, and without a subscriber before idling is measured.
WORK, SETTLE = 5.0, LINGER + 3.0
#: Seconds between the end of a node and the next start, in which a camera's Fast DDS forgets it.
APART = 6.0
#: Number of times that the node is woken.
WAKES = 3
#: Figures that are measured several times.
MEDIANS = ('warm_s', 'restart_s', 'predict_s', 'wake_s', 'wake_control_s')


def first_depth(camera: CameraProcess, model: str, idle_seconds: float = 0.0) -> dict[str, Any]:
    """Start a node; return the seconds to its first depth, and its further costs if asked for.

    Args:
        camera: sends images.
        model: weights file; '' for the bundled one.
        idle_seconds: duration without a subscriber; 0: measure the start alone.
    """
    listener = _listening(DEPTH, POINTS, SCAN)
    try:
        with _started(camera, listener, model) as (node, found):
            if idle_seconds:
                time.sleep(WORK)
                process = psutil.Process(node.pid)
                memory = process.memory_full_info()
                found |= {'private_mb': memory.uss / 1e6, 'resident_mb': memory.rss / 1e6}
                listener.close()
                time.sleep(SETTLE)
                found['idle_percent'] = _percent(process, idle_seconds)
                turns = [(_wake(DEPTH, SETTLE), _wake(CAMERA, 1.0)) for _ in range(WAKES)]
                found['wake_s'], found['wake_control_s'] = map(list, zip(*turns))
            return found
    finally:
        listener.close()


@contextlib.contextmanager
def _started(
    camera: CameraProcess, listener: Listener, model: str
) -> Iterator[tuple[Child, dict[str, Any]]]:
    """Start a node, and yield it and its figures when a subscriber has received depth."""
    parameters = {'device': 'cpu', **({'model_file': model} if model else {})}
    listener.last.clear()
    with tempfile.TemporaryDirectory() as folder:
        file, began = Path(folder, 'stages.json'), time.monotonic()
        with child(NODE, str(file), parameters=parameters) as node:
            while DEPTH not in listener.last:
                if node.ended() or time.monotonic() > began + LONGEST or not camera.alive:
                    raise SystemExit(f'start: no depth: {node.complaint() or "the node is silent"}')
                time.sleep(0.005)
            received = listener.last[DEPTH]
            while not file.exists() or not file.stat().st_size:  # written after publishing
                time.sleep(0.005)
            reached = json.loads(file.read_text(encoding='utf-8'))
            stages = {stage: reached[stage] - began for stage in STAGES}
            yield node, {'first_depth_s': received - began, 'stages_s': stages}


def _starts(camera: CameraProcess, model: str, number: int, apart: float) -> list[dict[str, Any]]:
    """Start nodes for one subscriber, each some seconds after the end of the one before."""
    listener, found = _listening(DEPTH, POINTS, SCAN), []
    try:
        for _ in range(number):
            time.sleep(apart)
            with _started(camera, listener, model) as (_node, figures):
                found.append(figures)
        return found
    finally:
        listener.close()


def _listening(*topics: str) -> Listener:
    from benchmarks.listener import Listener

    return Listener(topics=topics)


def _percent(process: psutil.Process, seconds: float) -> float:
    """Return the processor time of a process in percent of one core."""
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return 100 * used / (time.monotonic() - began)


def predict_seconds(model: str) -> float:
    """Return the seconds that `depth-perception predict` takes for one image."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, 'picture.png')
        cv2.imwrite(str(picture), np.full((SIZE[1], SIZE[0], 3), 128, np.uint8))
        command = [sys.executable, '-m', 'depth_perception.cli', 'predict', str(picture)]
        command += [
            '--out',
            str(Path(folder, 'out')),
            '--device',
            'cpu',
            '--horizontal-fov-deg',
            '60',
        ]
        began = time.monotonic()
        subprocess.run(
            [*command, *(['--model', model] if model else [])],
            check=True,
            capture_output=True,
        )
        return time.monotonic() - began


def _wake(topic: str, afterwards: float) -> float:
    """Return the seconds from a new subscription to its first message; then wait."""
    began = time.monotonic()
    listener = _listening(topic)
    try:
        while topic not in listener.last:
            if time.monotonic() > began + LONGEST:
                raise SystemExit(f'start: nothing comes on {topic}')
            time.sleep(0.002)
        return listener.last[topic] - began
    finally:
        listener.close()
        time.sleep(afterwards)


def run(starts: int, idle_seconds: float, model: str) -> dict[str, Any]:
    """Measure one cold start and some warm ones."""
    camera = CameraProcess(size=SIZE)
    camera.set_rate(RATE)
    with tempfile.TemporaryDirectory() as cache:
        os.environ['XDG_CACHE_HOME'] = cache
        while not camera.sent and camera.alive:
            time.sleep(0.05)
        try:
            cold = first_depth(camera, model)
            warm = _starts(camera, model, starts, APART)
            again = _starts(camera, model, starts + 1, 0.0)[1:]
            time.sleep(APART)
            last = first_depth(camera, model, idle_seconds)
        finally:
            camera.close()
        predict = sorted(predict_seconds(model) for _ in range(starts + 1))[:-1]
    return {
        'machine': machine(),
        'model': Path(model).stem,
        'cold_s': cold['first_depth_s'],
        'warm_s': sorted(one['first_depth_s'] for one in warm),
        'restart_s': sorted(one['first_depth_s'] for one in again),
        'stages': stages([one['stages_s'] for one in warm]),
        'predict_s': predict,
        **{name: last[name] for name in last if name not in ('first_depth_s', 'stages_s')},
    }


def stages(starts: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Return the median seconds of each stage, and until its end since the start of the process.

    Args:
        starts: seconds since the start of the process by stage, of each start.
    """
    before: list[float] = [0.0] * len(starts)
    rows = []
    for stage, what in STAGES.items():
        until = [one[stage] for one in starts]
        taken = median(late - early for early, late in zip(before, until))
        rows.append({'stage': stage, 'what': what, 's': taken, 'since_s': median(until)})
        before = until
    return rows


def text(found: dict[str, Any]) -> str:
    """Format the figures for a terminal."""
    middle = {name: median(row) for name, row in found.items() if name in MEDIANS}
    steps = ''.join(
        f'{row["s"]:7.2f}{row["since_s"]:7.2f}  {row["what"]}\n' for row in found['stages']
    )
    return (
        f'{found["machine"]}\n'
        f'first depth (medians): {found["cold_s"]:.1f} s cold, {middle["warm_s"]:.2f} s warm, '
        f'{middle["restart_s"]:.2f} s restarted at once\n{steps}'
        f'private memory: {found["private_mb"]:.0f} MB, resident {found["resident_mb"]:.0f} MB\n'
        f'idle: {found["idle_percent"]:.1f} % of a core\n'
        f'predict of one image: {middle["predict_s"]:.2f} s\n'
        f'first depth of a new subscriber: {middle["wake_s"]:.2f} s; of the camera that has been '
        f'sending: {middle["wake_control_s"]:.2f} s (medians)\n'
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.start',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--starts', type=int, default=3, help='warm starts, and restarts')
    parser.add_argument('--idle-seconds', type=float, default=20.0)
    parser.add_argument('--model', default='', help='a weights file, instead of the bundled one')
    parser.add_argument('--note', default='', help='a sentence about the run')
    parser.add_argument('--out', type=Path, default=Path('start_output'))
    options = parser.parse_args(arguments)
    import rclpy

    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    prepare_process()
    rclpy.init()
    found = run(options.starts, options.idle_seconds, options.model)
    found['note'] = options.note
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / 'start.json', found)
    sys.stdout.write(text(found))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
