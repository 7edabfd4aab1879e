# SPDX-License-Identifier: Apache-2.0
"""launch/depth.launch.py: images and a bag give depth and a scan, and everything ends with 0.

Run by launch_testing, which comes with a ROS 2 installation; skipped where that is missing.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable
from typing import Any

import pytest

for _name in ('launch_ros', 'launch_testing'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import rclpy
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from test.support.launch import PATIENCE, ROOT, offer_package, parameters_file
from test.support.ros import camera_info, picture, rgb_image

BAG = ROOT / 'data' / 'clip_bag'
SIZES = {'camera': (80, 60), 'bag': (480, 360), 'cameras': (80, 60)}
#: Namespaces of the nodes.
PLACES = {'camera': ['/camera'], 'bag': ['/bag'], 'cameras': ['/cameras/front', '/cameras/rear']}
ARGUMENTS = {
    'camera': {'image': 'camera/image_raw'},
    'cameras': {'image': 'camera/image_raw', 'cameras': 'front,rear'},
    'bag': {'image': '/camera/image_raw/compressed', 'bag': str(BAG)},
}


@pytest.mark.launch_test
@launch_testing.parametrize('source', ['camera', 'bag', 'cameras'])
def generate_test_description(source: str) -> LaunchDescription:
    """The launch file as a user starts it, on slow machines too."""
    offer_package()
    parameters = parameters_file('max_age: 0.0, point_stride: 4')
    arguments = {
        'namespace': source,
        'scan': 'obstacles',
        'device': 'cpu',
        'params_file': str(parameters),
        **ARGUMENTS[source],
    }
    launch_file = PythonLaunchDescriptionSource(str(ROOT / 'launch' / 'depth.launch.py'))
    return LaunchDescription(
        [
            IncludeLaunchDescription(launch_file, launch_arguments=arguments.items()),
            launch_testing.actions.ReadyToTest(),
        ]
    )


class TestOutputs(unittest.TestCase):
    """What arrives while everything runs."""

    def setUp(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('listener')
        self.received: dict[str, Any] = {}

    def tearDown(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown()

    def test_depth_arrives(self, source: str) -> None:
        for place in PLACES[source]:
            self._listen(Image, f'{place}/depth/image')
            self._listen(LaserScan, f'{place}/obstacles')
        cameras = [self._camera(place) for place in PLACES[source] if source != 'bag']
        self._spin_until(lambda: len(self.received) == 2 * len(PLACES[source]), cameras)
        for place in PLACES[source]:
            depth = self.received[f'{place}/depth/image']
            scan = self.received[f'{place}/obstacles']
            self.assertEqual(depth.encoding, '32FC1')
            self.assertEqual((depth.width, depth.height), SIZES[source])
            self.assertEqual(depth.header.frame_id, 'camera_optical_frame')
            self.assertEqual(scan.header.frame_id, 'camera_frame')

    def _listen(self, kind: type, topic: str) -> None:
        self.node.create_subscription(
            kind, topic, lambda message: self.received.setdefault(topic, message), 1
        )

    def _camera(self, place: str) -> Callable[[], None]:
        """Publishes an image and its calibration at each call."""
        images = self.node.create_publisher(Image, f'{place}/camera/image_raw', 1)
        infos = self.node.create_publisher(CameraInfo, f'{place}/camera/camera_info', 1)

        def publish() -> None:
            image, info = rgb_image(picture()), camera_info()
            image.header.frame_id = info.header.frame_id = 'camera_optical_frame'
            image.header.stamp = info.header.stamp = self.node.get_clock().now().to_msg()
            infos.publish(info)
            images.publish(image)

        return publish

    def _spin_until(self, condition: Callable[[], bool], acts: list[Callable[[], None]]) -> None:
        deadline, next_act = time.monotonic() + PATIENCE, 0.0
        while not condition():
            self.assertLess(time.monotonic(), deadline, f'got only {list(self.received)}')
            if time.monotonic() > next_act:
                for act in acts:
                    act()
                next_act = time.monotonic() + 0.5
            rclpy.spin_once(self.node, timeout_sec=0.1)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After the launch was interrupted."""

    def test_processes_ended_with_0(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
