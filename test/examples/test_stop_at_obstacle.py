# SPDX-License-Identifier: Apache-2.0
"""The example node over real DDS: it lets a robot drive, and stops it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from geometry_msgs.msg import Twist
from sensor_msgs.msg import LaserScan

from test.support.ros import Robot
from test.support.waiting import PATIENCE, wait_until

NODE = Path(__file__).parents[2] / 'examples' / 'stop_at_obstacle.py'
FREE, NEAR, UNKNOWN = math.inf, -math.inf, math.nan


class Drive:
    """A robot that sends a velocity and scans, and receives the forwarded velocity."""

    def __init__(self, robot: Robot) -> None:
        self._wishes = robot.node.create_publisher(Twist, 'cmd_vel_in', 10)
        self._scans = robot.node.create_publisher(LaserScan, 'scan', 10)
        self._velocities: list[Twist] = []
        robot.node.create_subscription(Twist, 'cmd_vel', self._velocities.append, 10)

    def allowed(self, ranges: list[float] | None, forward: float, turn: float) -> bool:
        """Return whether the node publishes these velocities while it receives this scan."""

        def tried() -> bool:
            wish = Twist()
            wish.linear.x, wish.angular.z = 0.4, 0.2
            self._wishes.publish(wish)
            if ranges is not None:
                self._scans.publish(scan(ranges))
            newest = self._velocities[-1:]
            return [(item.linear.x, item.angular.z) for item in newest] == [(forward, turn)]

        wait_until(tried, 3 * PATIENCE, f'{forward} m/s, {turn} rad/s')
        return True


def scan(ranges: list[float]) -> LaserScan:
    """Beams from 40 degrees to the right to 40 degrees to the left."""
    increment = math.radians(80) / (len(ranges) - 1)
    return LaserScan(
        angle_min=-math.radians(40),
        angle_max=math.radians(40),
        angle_increment=increment,
        range_min=0.3,
        range_max=5.0,
        ranges=ranges,
    )


@pytest.fixture(scope='module')
def drive() -> Iterator[Drive]:
    robot = Robot('/stopping')
    node = subprocess.Popen(
        [
            sys.executable,
            NODE,
            '--ros-args',
            '-r',
            '__ns:=/stopping',
            '-p',
            'stop_distance:=1',
            '-p',
            'robot_width:=0.5',
            '-p',
            'timeout:=2.0',
        ],
        env=os.environ.copy(),
    )
    try:
        yield Drive(robot)
        assert node.poll() is None
        node.terminate()
        assert node.wait(PATIENCE) == 0
    finally:
        node.kill()
        robot.close()


def test_velocities_are_forwarded_if_the_way_is_free(drive):
    assert drive.allowed([FREE] * 81, 0.4, 0.2)
    assert drive.allowed([3.0] * 81, 0.4, 0.2)


@pytest.mark.parametrize(
    'beams, ranges',
    [(slice(40, 41), 0.9), (slice(40, 41), NEAR), (slice(26, 56), UNKNOWN), (slice(53, 54), 1.0)],
    ids=['near', 'too near to measure', 'unknown', 'at the edge'],
)
def test_an_obstacle_in_the_way_stops_the_robot_which_may_still_turn(drive, beams, ranges):
    shown = [FREE] * 81
    assert drive.allowed(shown, 0.4, 0.2)
    shown[beams] = [ranges] * len(shown[beams])
    assert drive.allowed(shown, 0.0, 0.2)


def test_an_obstacle_next_to_the_way_does_not_stop_the_robot(drive):
    assert drive.allowed([0.9] + [FREE] * 79 + [0.9], 0.4, 0.2)


def test_without_a_scan_the_robot_stops(drive):
    assert drive.allowed([FREE] * 81, 0.4, 0.2)
    assert drive.allowed(None, 0.0, 0.2)


@pytest.mark.parametrize('value', ['-1.0', 'far'])
def test_a_wrong_parameter_is_one_sentence(value):
    result = subprocess.run(
        [sys.executable, NODE, '--ros-args', '-p', f'stop_distance:={value}'],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith('stop_at_obstacle: stop_distance is')
    assert result.stderr.count('\n') == 1
