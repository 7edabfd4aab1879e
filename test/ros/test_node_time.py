# SPDX-License-Identifier: Apache-2.0
"""Simulated time, with and without /clock, and time that jumps back."""

from __future__ import annotations

import time

from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from test.support.estimators import StandIn
from test.support.ros import TYPES, running_node, wait_until

BAG_TIME = 1_700_000_000.0


def test_sim_time_without_clock_still_serves_frames_and_reports_health(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), use_sim_time=True):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        header = camera.send(header=camera.header(BAG_TIME))
        for topic in TYPES:
            assert robot.wait_for(topic, 1)[0].header.stamp == header.stamp
        count = len(robot.diagnostics)
        wait_until(lambda: len(robot.diagnostics) >= count + 3, what='diagnostics without /clock')


def test_sim_time_with_clock_gives_ages_in_bag_time(namespace, robot):
    clock = robot.node.create_publisher(Clock, '/clock', QoSProfile(depth=1))
    with running_node(namespace, load_estimator=StandIn(), use_sim_time=True, max_age=0.5) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        message = Clock()
        message.clock.sec = int(BAG_TIME) + 10

        def clock_taken() -> bool:
            clock.publish(message)
            time.sleep(0.05)
            return node.get_clock().now().nanoseconds == message.clock.sec * 10**9

        wait_until(clock_taken)
        camera.send(header=camera.header(BAG_TIME + 5))
        wait_until(lambda: node.health.snapshot().counts['stale'] == 1)
        camera.send(header=camera.header(BAG_TIME + 9.9))
        robot.wait_for('depth/image', 1)
        latency = node.health.snapshot().latency
        wait_until(lambda: 'capture_to_publish' in node.health.snapshot().latency)
        assert abs(node.health.snapshot().latency['capture_to_publish'][0] - 0.1) < 1e-3, latency


def test_time_that_goes_back_resets_the_counters_and_loses_no_frame(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        for count in range(1, 6):
            camera.send(header=camera.header(BAG_TIME + count / 10))
            robot.wait_for('depth/image', count)
        wait_until(lambda: node.health.snapshot().counts['processed'] == 5)
        camera.send(header=camera.header(BAG_TIME))
        robot.wait_for('depth/image', 6)
        wait_until(lambda: node.health.snapshot().counts['processed'] == 1)
        assert node.health.snapshot().counts['received'] == 1


def test_a_looped_bag_keeps_flowing(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.listen('depth/image')
        camera = robot.camera()
        for count in range(1, 31):
            camera.send(header=camera.header(BAG_TIME + count % 5))
            robot.wait_for('depth/image', count)
