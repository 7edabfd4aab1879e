# SPDX-License-Identifier: Apache-2.0
"""A relative network in the node: metres with anchors, otherwise only the preview."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from depth_perception.ros.conversions.messages import depth_message
from depth_perception.ros.conversions.topics import (
    ANCHOR_DEPTH_INFO,
    DEPTH,
    OUTPUTS,
    PREVIEW,
    PREVIEW_JPEG,
)
from depth_perception.ros.node.diagnostics import OK, WARN
from test.support.estimators import StandIn
from test.support.ros import camera_info, image_array, running_node
from test.support.waiting import wait_until

FACTOR, SHIFT = 0.004, 0.1


def truth() -> np.ndarray:
    """Return the true depth of a floor and a wall, metres, 80x60 pixels like the pictures."""
    rows = np.mgrid[:60, :80][0]
    return np.minimum(50 / np.maximum(rows - 15, 1e-3), 5.0).astype(np.float32)


def disparity(rgb: np.ndarray, _camera: Any) -> np.ndarray:
    return (1 / truth() - SHIFT) / FACTOR


def estimator() -> StandIn:
    """Return a stand-in for a network whose output is the distorted true depth."""
    made = StandIn(disparity)
    made.info = replace(made.info, output='relative_disparity', max_depth=100.0)
    return made


def test_without_anchors_the_preview_alone_is_published(namespace, robot):
    with running_node(namespace, load_estimator=estimator(), max_age=0.0, camera_height=0.5):
        robot.listen(*OUTPUTS)
        robot.watch_diagnostics()
        said: list[str] = []
        robot.node.create_subscription(_log_type(), '/rosout', lambda m: said.append(m.msg), 20)
        camera = robot.camera()
        wait_until(
            lambda: (
                camera.send()
                and (status := robot.status('depth'))
                and 'no metric output' in status.message
            )
        )
        wait_until(lambda: any('no metric output' in text for text in said))
        status = robot.status('depth')
        assert status.level == WARN and 'needs anchors (parameter anchors)' in status.message
        assert not [pair.key for pair in status.values if pair.key == 'p50_m']
        shown = image_array(robot.wait_for(PREVIEW, 1)[-1])
        assert robot.wait_for(PREVIEW_JPEG, 1)
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 20  # more than one colour
        made = {topic for topic in OUTPUTS if robot.received[topic]}
        assert made == {PREVIEW, PREVIEW_JPEG, 'depth/camera_info'}


def test_with_anchors_of_the_truth_depth_is_metric(namespace, robot):
    with running_node(
        namespace, load_estimator=estimator(), max_age=0.0, anchors='depth', depth_scale=1.5
    ) as node:
        robot.listen(DEPTH)
        robot.watch_diagnostics()
        camera = robot.camera()
        images = robot.node.create_publisher(Image, 'anchors/depth', QoSProfile(depth=5))
        infos = robot.node.create_publisher(
            type(camera_info()), ANCHOR_DEPTH_INFO, QoSProfile(depth=5)
        )
        measured = truth()
        measured[:, :20] = np.nan  # outside the view of the sensor
        header = camera.header(100.0)

        def measure() -> bool:
            info = camera_info()
            info.header = header
            infos.publish(info)
            images.publish(depth_message(measured, header, '32FC1'))
            inputs = node._parts.anchors
            return inputs._depth_info is not None and bool(inputs._messages['depth'])

        wait_until(measure)
        camera.send(header=header)
        depth = image_array(robot.wait_for(DEPTH, 1)[-1])
        np.testing.assert_allclose(depth, truth(), rtol=0.02)
        wait_until(lambda: (status := robot.status('depth')) and status.level == OK)


def _log_type() -> Any:
    from rcl_interfaces.msg import Log

    return Log
