# SPDX-License-Identifier: Apache-2.0
"""Measure what the node costs before and beside its work: start, memory and idle processor time.

    python -m benchmarks.start                   a cold and three warm starts, then 20 s idle
    python -m benchmarks.start --starts 5 --idle-seconds 60
    python -m benchmarks.start --model small.safetensors

A camera sends 640x480 images at 30 Hz all the time. Each start is a new process, and ends with the
first depth image that a subscriber receives. At the cold start OpenVINO's compiled network is not
on disk yet, though the files of the programs are in the system's cache. Private memory is that
after a few seconds of work for depth, cloud and scan. Idle is the processor time afterwards,
without a subscriber, once the node does not read images any more. Then it is woken: the seconds
from a new subscriber's start, in a process that runs already, to its first depth image. `predict`
is the command line program for one image, from start to end.

Writes start.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import psutil

from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from depth_perception.demo.processes import child
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN
from depth_perception.ros.node.lazy_images import LINGER

NODE = 'depth_perception.ros.node.main'
SIZE = (640, 480)
RATE = 30.0
#: Seconds to wait for a first depth image.
LONGEST = 240.0
#: Seconds of work before the memory is read, and without a subscriber before idling is measured.
WORK, SETTLE = 5.0, LINGER + 3.0
#: Number of times that the node is woken.
WAKES = 3


def first_depth(camera: CameraProcess, model: str, idle_seconds: float = 0.0) -> dict[str, Any]:
    """Start a node; return the seconds to its first depth, and its further costs if asked for.

    Args:
        camera: sends images.
        model: weights file; '' for the bundled one.
        idle_seconds: duration without a subscriber; 0: measure the start alone.
    """
    from benchmarks.listener import Listener

    parameters = {'device': 'cpu', **({'model_file': model} if model else {})}
    listener = Listener(topics=(DEPTH, POINTS, SCAN))
    began = time.monotonic()
    try:
        with child(NODE, parameters=parameters) as node:
            while DEPTH not in listener.last:
                if node.ended() or time.monotonic() > began + LONGEST or not camera.alive:
                    raise SystemExit(f'start: no depth: {node.complaint() or "the node is silent"}')
                time.sleep(0.005)
            found = {'first_depth_s': listener.last[DEPTH] - began}
            if idle_seconds:
                time.sleep(WORK)
                process = psutil.Process(node.pid)
                memory = process.memory_full_info()
                found |= {'private_mb': memory.uss / 1e6, 'resident_mb': memory.rss / 1e6}
                listener.close()
                time.sleep(SETTLE)
                found['idle_percent'] = _percent(process, idle_seconds)
                found['wake_s'] = [_wake() for _ in range(WAKES)]
            return found
    finally:
        listener.close()


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


def _wake() -> float:
    """Return the seconds from a new subscription to its first depth image; let the node rest."""
    from benchmarks.listener import Listener

    began = time.monotonic()
    listener = Listener(topics=(DEPTH,))
    try:
        while DEPTH not in listener.last:
            if time.monotonic() > began + LONGEST:
                raise SystemExit('start: the node did not wake')
            time.sleep(0.002)
        return listener.last[DEPTH] - began
    finally:
        listener.close()
        time.sleep(SETTLE)


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
            warm = [first_depth(camera, model) for _ in range(starts - 1)]
            last = first_depth(camera, model, idle_seconds)
        finally:
            camera.close()
        predict = sorted(predict_seconds(model) for _ in range(starts + 1))[:-1]
    seconds = sorted(one['first_depth_s'] for one in [*warm, last])
    return {
        'machine': machine(),
        'model': Path(model).stem,
        'cold_s': cold['first_depth_s'],
        'warm_s': seconds,
        'predict_s': predict,
        **{name: value for name, value in last.items() if name != 'first_depth_s'},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.start',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--starts', type=int, default=3, help='warm starts')
    parser.add_argument('--idle-seconds', type=float, default=20.0)
    parser.add_argument('--model', default='', help='a weights file, instead of the bundled one')
    parser.add_argument('--note', default='', help='a sentence about the run')
    parser.add_argument('--out', type=Path, default=Path('start_output'))
    options = parser.parse_args(arguments)
    import rclpy

    prepare_process()
    rclpy.init()
    found = run(options.starts, options.idle_seconds, options.model)
    found['note'] = options.note
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / 'start.json').write_text(json.dumps(found, indent=1) + '\n')
    warm, predict, wake = (median(found[name]) for name in ('warm_s', 'predict_s', 'wake_s'))
    sys.stdout.write(
        f'{found["machine"]}\n'
        f'first depth: {found["cold_s"]:.1f} s cold, {warm:.2f} s warm (median)\n'
        f'private memory: {found["private_mb"]:.0f} MB, resident {found["resident_mb"]:.0f} MB\n'
        f'idle: {found["idle_percent"]:.1f} % of a core\n'
        f'predict of one image: {predict:.2f} s\n'
        f'first depth of a new subscriber: {wake:.2f} s (median)\n'
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
