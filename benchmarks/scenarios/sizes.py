# SPDX-License-Identifier: Apache-2.0
"""Cameras with image shapes for which the network was not compiled."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.scenarios import Outcome, scenario
from benchmarks.scenarios.stage import DEPTH, a_robot
from depth_perception.demo.processes import child
from test.support.ros import Camera, Robot, picture, rgb_image, wait_until

#: (width, height): the shape that the bundled network was trained with, and another one.
USUAL, WIDE = (640, 480), (1280, 720)
#: Seconds between two images, and seconds for which only the first camera sends.
PERIOD, ALONE = 0.2, 8.0
#: Seconds to wait for a process to load or compile.
START = 300.0


class Stream:
    """A camera's images and the arrival times of their depth."""

    def __init__(self, robot: Robot, size: tuple[int, int]) -> None:
        self._robot = robot
        robot.listen(DEPTH)
        self._camera: Camera = robot.camera()
        self._image = picture(0, *size)
        self._sent: dict[tuple[int, int], float] = {}

    def send(self) -> None:
        """Send one image."""
        header = self._camera.send(rgb_image(self._image))
        self._sent[header.stamp.sec, header.stamp.nanosec] = time.monotonic()

    def seconds(self) -> list[float]:
        """Return seconds from image to depth, for images with depth."""
        messages = zip(self._robot.received[DEPTH], self._robot.arrivals[DEPTH])
        return [at - self._sent[m.header.stamp.sec, m.header.stamp.nanosec] for m, at in messages]

    def first(self) -> float:
        """Return seconds from the first image to the first depth; 0 without depth."""
        arrivals = self._robot.arrivals[DEPTH]
        return arrivals[0] - next(iter(self._sent.values())) if arrivals else 0.0


@scenario(full=3, short=1)
def new_image_size(times: int) -> Outcome:
    """A 16:9 camera joins a 4:3 camera with an empty cache; then alone; then with the cache."""
    figures: dict[str, Any] = {}
    for _ in range(times):
        with empty_cache():
            _join(figures)
            figures.setdefault('alone_from_disk_first_s', []).append(_alone())
        with empty_cache():
            figures.setdefault('alone_first_s', []).append(_alone())
    return Outcome(
        f'a 16:9 camera with a network compiled for 4:3, {times} times',
        '',
        {name: [round(value, 3) for value in values] for name, values in figures.items()},
    )


@contextmanager
def empty_cache() -> Iterator[None]:
    """Use an empty cache folder for the child processes."""
    before = os.environ.get('XDG_CACHE_HOME')
    with tempfile.TemporaryDirectory() as folder:
        os.environ['XDG_CACHE_HOME'] = folder
        try:
            yield
        finally:
            os.environ.pop('XDG_CACHE_HOME')
            if before is not None:
                os.environ['XDG_CACHE_HOME'] = before


def _join(figures: dict[str, Any]) -> None:
    """Add the second camera to the first."""
    with a_robot() as base:
        space = base.node.get_namespace()
        robots = [Robot(f'{space}/{name}') for name in ('front', 'rear')]
        try:
            with child(
                'depth_perception.ros.node.main',
                '--cameras',
                'front,rear',
                remaps={'__ns': space},
                parameters={'device': 'cpu', 'max_age': '0.0'},
            ):
                _follow(robots, figures)
        finally:
            for robot in robots:
                robot.close()


def _follow(robots: list[Robot], figures: dict[str, Any]) -> None:
    for robot in robots:
        wait_until(lambda robot=robot: robot.node.count_publishers(DEPTH), START)
        robot.watch_diagnostics()
    front, rear = Stream(robots[0], USUAL), Stream(robots[1], WIDE)
    _for(ALONE, front.send)
    alone = front.seconds()
    start, told = time.monotonic(), False
    while time.monotonic() < start + START:
        _for(PERIOD, front.send, rear.send)
        status = robots[1].status('inference')
        compiling = status is not None and 'compiling for 1280x720' in status.message
        told = told or compiling
        if told and not compiling:
            break
    during = front.seconds()[len(alone) :]
    network = next(v.value for v in robots[0].status('inference').values if v.key == 'network_ms')
    for name, value in (
        ('network_s', float(network.split()[1]) / 1000),
        ('front_alone_p50_s', float(np.median(alone))),
        ('front_alone_max_s', max(alone)),
        ('front_joined_p50_s', float(np.median(during))),
        ('front_joined_p95_s', float(np.quantile(during, 0.95))),
        ('front_joined_max_s', max(during)),
        ('front_joined_max_at', during.index(max(during)) / len(during)),
        ('rear_first_s', rear.first()),
        ('compiled_after_s', time.monotonic() - start),
    ):
        figures.setdefault(name, []).append(value)


def _alone() -> float:
    """Return seconds from the first 16:9 image to its depth."""
    with (
        a_robot() as robot,
        child(
            'depth_perception.ros.node.main',
            remaps={'__ns': robot.node.get_namespace()},
            parameters={'device': 'cpu', 'max_age': '0.0'},
        ),
    ):
        wait_until(lambda: robot.node.count_publishers(DEPTH), START)
        stream = Stream(robot, WIDE)
        stream.send()
        wait_until(stream.first, START, 'the first depth')
        return stream.first()


def _for(seconds: float, *sends: Any) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for send in sends:
            send()
        time.sleep(PERIOD)
