# SPDX-License-Identifier: Apache-2.0
"""Networks that raise, return nonsense, hang or run out of memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import torch
from lifecycle_msgs.msg import Transition

from benchmarks.scenarios import Outcome, scenario
from benchmarks.scenarios.stage import says, serves, stage
from depth_perception.ros.node import worker
from test.support.estimators import StandIn
from test.support.ros import Robot, rgb_image, wait_until

BLACK = np.zeros((60, 80, 3), np.uint8)


def _on_black(error: Exception | None, value: float = np.nan) -> StandIn:
    """Create a network that fails on black images only."""

    def depth(rgb: np.ndarray, _camera: object) -> np.ndarray:
        if not rgb.any() and error is not None:
            raise error
        return np.full(rgb.shape[:2], 2.0 if rgb.any() else value, np.float32)

    return StandIn(depth)


def _faults_and_frames(times: int, network: StandIn, text: str) -> str:
    """Alternate bad and good frames; each good one is processed. Return the diagnostics."""
    with stage(network) as (node, robot, camera):
        said = ''
        for count in range(1, times + 1):
            camera.send(rgb_image(BLACK))
            wait_until(lambda count=count: node.health.snapshot().counts['failed'] == count)
            if not said:
                said = says(robot, 'inference', text)
            serves(robot, camera)
    return said


@scenario(full=1000, short=10)
def raising(times: int) -> Outcome:
    """The network raises on every other frame."""
    error = RuntimeError('CUDA error: an illegal memory access was encountered')
    said = _faults_and_frames(times, _on_black(error), 'RuntimeError: CUDA error')
    return Outcome(f'the network raised on {times} frames, each followed by a good one', said)


@scenario(full=1000, short=10)
def not_a_number(times: int) -> Outcome:
    """The network returns NaN on every other frame."""
    said = _faults_and_frames(times, _on_black(None), 'non-finite')
    return Outcome(f'the network gave NaN on {times} frames, each followed by a good one', said)


@scenario(full=50, short=2)
def out_of_memory(times: int) -> Outcome:
    """The device is out of memory; the node deactivates itself and is activated again."""
    error = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')
    with stage(_on_black(error)) as (_, robot, camera):
        for _ in range(times):
            camera.send(rgb_image(BLACK))
            said = says(robot, 'inference', 'out of memory')
            wait_until(lambda: robot.state() == 'inactive')
            _activate(robot, camera)
            serves(robot, camera)
        says(robot, 'inference', 'OK', camera.send)
    return Outcome(f'out of memory {times} times, activated again each time', said)


@scenario(full=10, short=1)
def hanging(times: int) -> Outcome:
    """The network never returns from a frame; the node is deactivated and activated again."""
    network, gates, before = StandIn(), [], worker.STOP_TIMEOUT
    worker.STOP_TIMEOUT = 0.5
    try:
        with stage(network) as (_, robot, camera):
            for _ in range(times):
                network.release.clear()
                gates.append(network.release)
                hung = camera.send()
                said = says(robot, 'inference', 'the network hangs')
                assert robot.state() == 'active', 'callbacks must continue'
                assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
                network.release = threading.Event()
                network.release.set()
                _activate(robot, camera)
                serves(robot, camera)
            for gate in gates:
                gate.set()
            time.sleep(0.5)
            serves(robot, camera)
            stamps = [message.header.stamp for message in robot.received['depth/image']]
            assert hung.stamp not in stamps, 'a frame of an abandoned thread was published'
    finally:
        worker.STOP_TIMEOUT = before
    return Outcome(f'the network hung {times} times, the node deactivated and activated', said)


def _activate(robot: Robot, camera: object) -> None:
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    wait_until(
        lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count()
    )
