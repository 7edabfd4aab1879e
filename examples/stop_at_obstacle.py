# SPDX-License-Identifier: Apache-2.0
r"""A ROS 2 node that stops a robot in front of obstacles in the scan.

    ros2 launch depth_perception depth.launch.py image:=/camera/image_raw
    python3 examples/stop_at_obstacle.py --ros-args -p stop_distance:=0.8 \
        -r cmd_vel_in:=/teleop/cmd_vel

It forwards velocities from `cmd_vel_in` to `cmd_vel`, but removes the forward speed while an
obstacle of `scan` is in the robot's way; the robot may still turn and drive back. It also stops the
robot if it has no information: no scan for `timeout` seconds, or most of the way unknown (NaN).
Depth from one camera is an estimate: this is not a safety function.
"""

from __future__ import annotations

import math
import sys
import time

import rclpy
from geometry_msgs.msg import Twist
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import LaserScan

#: Frequency of the published velocities, Hz.
RATE = 20.0


class StopAtObstacle(Node):
    """Node that forwards velocities as long as the way is free.

    ROS parameters:
        stop_distance: metres from the camera; nearer obstacles stop the robot.
        robot_width: width in metres of the way that must be free.
        timeout: seconds after which a scan or a velocity is too old to use.
    """

    def __init__(self) -> None:
        super().__init__('stop_at_obstacle')
        self._stop_distance = self._positive('stop_distance', 0.8)
        self._robot_width = self._positive('robot_width', 0.5)
        self._timeout = self._positive('timeout', 0.5)
        self._reason = 'no scan yet'  # why the robot must stop; '' if it may drive
        self._said = ''
        self._scanned = self._commanded = -math.inf  # seconds, by the monotonic clock
        self._command = Twist()
        self._velocities = self.create_publisher(Twist, 'cmd_vel', 10)
        # The depth node computes a scan only while somebody subscribes to it.
        self.create_subscription(LaserScan, 'scan', self._on_scan, qos_profile_sensor_data)
        self.create_subscription(Twist, 'cmd_vel_in', self._on_command, 10)
        self.create_timer(1 / RATE, self._publish)

    def _positive(self, name: str, default: float) -> float:
        """Declare a parameter and return its value; integers are accepted too."""
        descriptor = ParameterDescriptor(dynamic_typing=True, read_only=True)
        value = self.declare_parameter(name, default, descriptor).value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ValueError(f'{name} is {value!r}: give a number above 0')
        return float(value)

    def _on_scan(self, scan: LaserScan) -> None:
        self._scanned = self._now()
        self._reason = obstruction(scan, self._stop_distance, self._robot_width)

    def _on_command(self, command: Twist) -> None:
        self._commanded = self._now()
        self._command = command

    def _publish(self) -> None:
        oldest = self._now() - self._timeout
        reason = self._reason if self._scanned >= oldest else 'no scan'
        velocity = Twist()
        if self._commanded >= oldest:
            velocity.linear.x = self._command.linear.x
            velocity.angular.z = self._command.angular.z
        if reason:
            velocity.linear.x = min(0.0, velocity.linear.x)
        if reason != self._said:
            self.get_logger().info(f'stop: {reason}' if reason else 'the way is free')
            self._said = reason
        self._velocities.publish(velocity)

    @staticmethod
    def _now() -> float:
        return time.monotonic()


def obstruction(scan: LaserScan, stop_distance: float, robot_width: float) -> str:
    """Return what is in the way, or ''.

    In the scan's ranges +Inf means free and NaN unknown. An obstacle that is too near to measure is
    at range_min in depth_perception's scans, and -Inf in others (REP-117).
    """
    ahead = unknown = 0
    for index, distance in enumerate(scan.ranges):
        angle = scan.angle_min + index * scan.angle_increment
        if abs(angle) >= math.pi / 2:
            continue
        if distance == -math.inf:
            distance = scan.range_min
        aside = abs(distance * math.sin(angle))
        if distance * math.cos(angle) <= stop_distance and aside <= robot_width / 2:
            return 'an obstacle is in the way'
        if stop_distance * abs(math.tan(angle)) <= robot_width / 2:  # the beam crosses the way
            ahead += 1
            unknown += math.isnan(distance)
    return 'most of the way is unknown' if 2 * unknown > ahead or not ahead else ''


def main() -> int:
    """Run until a signal ends the node."""
    rclpy.init()
    try:
        node = StopAtObstacle()
    except ValueError as error:
        sys.stderr.write(f'stop_at_obstacle: {error}\n')
        return 2
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # otherwise a signal ended ROS while the node waited
            raise
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
