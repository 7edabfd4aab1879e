# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the scenarios: a node with its robot, good frames, expected diagnostics."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from depth_perception.demo.processes import Child, child
from depth_perception.ros.node.depth_node import DepthNode
from test.support.estimators import StandIn
from test.support.ros import PATIENCE, Camera, Robot, running_node, wait_until

DEPTH = 'depth/image'
_numbers = itertools.count()


@contextmanager
def a_robot() -> Iterator[Robot]:
    """Create a robot in its own namespace that receives diagnostics."""
    robot = Robot(f'/fault_{os.getpid()}_{next(_numbers)}')
    robot.watch_diagnostics()
    try:
        yield robot
    finally:
        robot.close()


@contextmanager
def stage(
    load_estimator: Callable | None = None, **parameters: Any
) -> Iterator[tuple[DepthNode, Robot, Camera]]:
    """Create a node in this process with a cheap network, a connected camera and a listener.

    By default no frame is too old, since good frames may be late on a busy machine.
    """
    with (
        a_robot() as robot,
        running_node(
            robot.node.get_namespace(),
            load_estimator=load_estimator or StandIn(),
            **{'device': 'cpu', 'max_age': 0.0, **parameters},
        ) as node,
    ):
        robot.listen(DEPTH)
        yield node, robot, robot.camera()


@contextmanager
def node_process(robot: Robot, **parameters: Any) -> Iterator[Child]:
    """Start the real `depth_node` process in the robot's namespace."""
    given = {name: str(value) for name, value in {'device': 'cpu', **parameters}.items()}
    with child(
        'depth_perception.ros.node.main',
        parameters=given,
        remaps={'__ns': robot.node.get_namespace()},
    ) as process:
        wait_until(lambda: robot.node.count_publishers(DEPTH) or process.ended(), 120)
        if process.ended():
            raise AssertionError(f'depth_node ended: {process.complaint()}')
        yield process


def is_served(robot: Robot, header: Any, patience: float = PATIENCE) -> float:
    """Wait for the depth of the image with that header; return seconds."""
    start = time.monotonic()

    def found() -> bool:
        return any(
            message.header.stamp == header.stamp for message in list(robot.received[DEPTH])[-50:]
        )

    wait_until(found, patience, 'the depth of a good frame')
    return time.monotonic() - start


def serves(robot: Robot, camera: Camera, **frame: Any) -> float:
    """Send one good frame and wait for its depth; return seconds."""
    return is_served(robot, camera.send(**frame))


def says(robot: Robot, task: str, text: str, send: Callable[[], Any] | None = None) -> str:
    """Wait until diagnostics contain the text, sending frames meanwhile; return the message."""

    def found() -> str:
        if send is not None:
            send()
            time.sleep(0.1)
        status = robot.status(task)
        return status.message if status is not None and text in status.message else ''

    return wait_until(found, PATIENCE, f'{task} to say {text!r}')
