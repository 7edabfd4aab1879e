# SPDX-License-Identifier: Apache-2.0
"""The launched node follows the lifecycle services, as `ros2 lifecycle set` calls them.

Run by launch_testing, which comes with a ROS 2 installation; skipped where that is missing.
"""

from __future__ import annotations

import unittest
from typing import Any

import pytest

for _name in ('launch_ros', 'launch_testing'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )

import launch_testing
import launch_testing.actions
import launch_testing.asserts
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState

from test.support.launch import PATIENCE, ROOT, offer_package, parameters_file
from test.support.ros import Robot, wait_until

NAMESPACE = 'lifecycle'


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    """A node that waits for its manager."""
    offer_package()
    parameters = parameters_file('autostart: false, max_age: 0.0, point_stride: 4')
    launch_file = PythonLaunchDescriptionSource(str(ROOT / 'launch' / 'depth.launch.py'))
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                launch_file,
                launch_arguments={
                    'namespace': NAMESPACE,
                    'image': 'image',
                    'device': 'cpu',
                    'params_file': str(parameters),
                }.items(),
            ),
            launch_testing.actions.ReadyToTest(),
        ]
    )


class TestLifecycle(unittest.TestCase):
    """Two rounds from unconfigured to active and back."""

    def setUp(self) -> None:
        self.robot = Robot(f'/{NAMESPACE}')

    def tearDown(self) -> None:
        self.robot.close()

    def test_depth_arrives_only_while_the_node_is_active(self) -> None:
        self._wait_for_node()
        for _ in range(2):
            self._step(Transition.TRANSITION_CONFIGURE, 'inactive')
            self._step(Transition.TRANSITION_ACTIVATE, 'active')
            self._depth_comes()
            self._step(Transition.TRANSITION_DEACTIVATE, 'inactive')
            self._step(Transition.TRANSITION_CLEANUP, 'unconfigured')
            self.assertEqual(self.robot.node.count_subscribers(f'/{NAMESPACE}/image'), 0)

    def _wait_for_node(self) -> None:
        """Its process imports torch first."""
        answer = self.robot.call(GetState, 'depth_node/get_state', GetState.Request(), PATIENCE)
        self.assertEqual(answer.current_state.label, 'unconfigured')

    def _step(self, transition: int, state: str) -> None:
        self.assertTrue(self.robot.change_state(transition, PATIENCE))
        self.assertEqual(self.robot.state(), state)

    def _depth_comes(self) -> None:
        camera = self.robot.camera()
        self.robot.listen('depth/image')
        self.robot.received.clear()
        header = camera.send()
        ((depth, *_),) = [self.robot.wait_for('depth/image', 1, PATIENCE)]
        self.assertEqual(depth.header, header)
        self.robot.ignore('depth/image')
        self.robot.node.destroy_publisher(camera.images)
        self.robot.node.destroy_publisher(camera.infos)
        wait_until(lambda: self.robot.node.count_publishers(f'/{NAMESPACE}/image') == 0)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After the launch was interrupted."""

    def test_processes_ended_with_0(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
