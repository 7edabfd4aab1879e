# SPDX-License-Identifier: Apache-2.0
"""A camera faster than the network: the newest frame is processed, and no queue grows."""

from __future__ import annotations

import time

import numpy as np

from depth_perception.ros.conversions.stamps import seconds
from depth_perception.ros.node.diagnostics import OK, WARN
from test.support.estimators import StandIn
from test.support.ros import running_node, wait_until

PERIOD = 0.04


def stream(camera, seconds: float) -> int:
    """Publish at 1 / PERIOD for some seconds; return the number of frames."""
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        camera.send()
        count += 1
        time.sleep(max(0.0, start + count * PERIOD - time.monotonic()))
    return count


def test_slow_network_works_on_frames_younger_than_one_of_its_periods(namespace, robot):
    network = StandIn(seconds=0.2)
    with running_node(namespace, load_estimator=network) as node:
        robot.watch_diagnostics()
        robot.listen('depth/image')
        sent = stream(robot.camera(), 4.0)
        wait_until(
            lambda: (
                (s := robot.status('inference')) and s.level == WARN and 'overloaded' in s.message
            )
        )
        wait_until(
            lambda: (
                (c := node.health.snapshot().counts)['received'] == c['processed'] + c['replaced']
            ),
            what='each frame to be accounted for',
        )
    stamps = [seconds(m.header.stamp) for m in robot.received['depth/image']]
    assert stamps == sorted(stamps) and len(stamps) < sent
    # Processing starts within a period of arrival: the queue holds only the newest frame.
    wall = time.time() - time.monotonic()
    ages = [start + wall - stamp for start, stamp in zip(network.started, stamps)]
    assert np.median(ages) < 0.2


def test_max_rate_is_kept_and_not_called_overload(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, max_rate=5.0):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        stream(robot.camera(), 3.0)
        wait_until(
            lambda: (
                (s := robot.status('inference'))
                and 'replaced' in s.message
                and 'max_rate' in s.message
            )
        )
        gaps = np.diff(network.started)
    assert gaps.min() > 0.19 and 4 <= len(network.started) <= 17


def test_frames_older_than_max_age_are_dropped_and_counted(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, max_age=0.5) as node:
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        camera.send(header=camera.header(time.time() - 5))
        wait_until(lambda: node.health.snapshot().counts['stale'] == 1)
        wait_until(lambda: (s := robot.status('inference')) and 'older than max_age' in s.message)
        camera.send()
        robot.wait_for('depth/image', 1)
    assert network.calls == 1


def test_stamps_of_another_clock_are_served_and_doubted(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), max_age=0.5):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        camera.send(header=camera.header(1_700_000_000.0))
        robot.wait_for('depth/image', 1)
        wait_until(lambda: (s := robot.status('input')) and 'use_sim_time?' in s.message)


def test_a_hanging_network_does_not_block_callbacks(namespace, robot):
    network = StandIn()
    network.release.clear()
    with running_node(namespace, load_estimator=network) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        for count in range(1, 6):
            camera.send()
            wait_until(lambda count=count: node.health.snapshot().counts['received'] == count)
        assert robot.state() == 'active'
        network.release.set()
        robot.wait_for('depth/image', 2)
        counts = node.health.snapshot().counts
        assert counts['replaced'] == 3 and robot.status('input') is None


def test_all_is_ok_when_the_network_keeps_up(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image', 'scan')
        stream(robot.camera(), 2.0)
        for task in ('input', 'inference', 'depth'):
            wait_until(
                lambda task=task: (s := robot.status(task)) and s.level == OK and s.message == 'OK',
                what=task,
            )
