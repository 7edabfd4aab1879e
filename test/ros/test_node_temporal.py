# SPDX-License-Identifier: Apache-2.0
"""The node's temporal filter: enabled by parameter, reset by activation and time jumps."""

from __future__ import annotations

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter

from test.support.estimators import StandIn
from test.support.ros import image_array, picture, rgb_image, running_node
from test.support.waiting import wait_until


class Depths:
    """A wall whose depth in each frame is the next in a list, and the depth the node publishes."""

    def __init__(self, *metres: float) -> None:
        self._metres = iter(metres)
        self._count = 0

    def __call__(self, rgb: np.ndarray, _camera: object) -> np.ndarray:
        return np.full(rgb.shape[:2], next(self._metres), np.float32)

    def next(self, robot, camera, stamp: float) -> float:
        self._count += 1
        camera.send(rgb_image(picture(0)), header=camera.header(stamp))
        depth = image_array(robot.wait_for('depth/image', self._count)[-1])
        assert depth.min() == depth.max()
        return float(depth[0, 0])


def test_depth_is_drawn_towards_the_last_and_scaled_afterwards(namespace, robot):
    depths = Depths(2.0, 2.1, 2.1, 3.0)
    with running_node(
        namespace, load_estimator=StandIn(depths), max_age=0.0, depth_scale=2.0
    ) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        assert depths.next(robot, camera, 100.0) == pytest.approx(4.0)
        assert depths.next(robot, camera, 100.1) == pytest.approx(4.2), 'off by default'
        assert node.set_parameters([Parameter('temporal_smoothing', value=0.5)])[0].successful
        assert depths.next(robot, camera, 100.2) == pytest.approx(4.2), 'nothing to draw on yet'
        assert depths.next(robot, camera, 100.3) == pytest.approx(6.0), 'a real change'


def test_nothing_is_drawn_towards_a_depth_that_was_not_finite(namespace, robot):
    depths = Depths(2.0, float('nan'), 2.1)
    network = StandIn(depths)
    with running_node(namespace, load_estimator=network, max_age=0.0, temporal_smoothing=0.8):
        robot.listen('depth/image')
        camera = robot.camera()
        depths.next(robot, camera, 100.0)
        camera.send(rgb_image(picture(0)), header=camera.header(100.1))
        wait_until(lambda: network.calls == 2)
        assert depths.next(robot, camera, 100.2) == pytest.approx(2.1)


def test_time_that_goes_back_starts_anew(namespace, robot):
    depths = Depths(2.0, 2.1, 2.0)
    with running_node(
        namespace, load_estimator=StandIn(depths), max_age=0.0, temporal_smoothing=0.8
    ):
        robot.listen('depth/image')
        camera = robot.camera()
        depths.next(robot, camera, 100.0)
        assert 2.0 < depths.next(robot, camera, 100.1) < 2.09
        assert depths.next(robot, camera, 50.0) == 2.0


def test_activation_starts_anew(namespace, robot):
    depths = Depths(2.0, 2.1)
    with running_node(
        namespace, load_estimator=StandIn(depths), max_age=0.0, temporal_smoothing=0.8
    ):
        robot.listen('depth/image')
        camera = robot.camera()
        depths.next(robot, camera, 100.0)
        assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        robot.camera()  # wait until the node has subscribed again
        assert depths.next(robot, camera, 100.1) == pytest.approx(2.1)
