# SPDX-License-Identifier: Apache-2.0
"""A relative network in the node: metres with anchors, otherwise only the preview."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image

from depth_perception.demo.arguments import CLIP_BAG
from depth_perception.demo.scores import read_truth
from depth_perception.io.bag import Bag
from depth_perception.io.image_messages import decode
from depth_perception.ros.conversions.messages import depth_message
from depth_perception.ros.conversions.topics import (
    ALWAYS,
    ANCHOR_DEPTH_INFO,
    DEPTH,
    PREVIEW,
    PREVIEW_JPEG,
)
from depth_perception.ros.node.diagnostics import OK, WARN
from test.support.estimators import StandIn
from test.support.ros import image_array, rgb_image, running_node
from test.support.waiting import wait_until

FACTOR, SHIFT = 0.004, 0.1


def truth() -> np.ndarray:
    """Return the true depth of a floor and a wall, metres, 80x60 pixels like the pictures."""
    rows = np.mgrid[:60, :80][0]
    return np.minimum(50 / np.maximum(rows - 15, 1e-3), 5.0).astype(np.float32)


def disparity(rgb: np.ndarray, _camera: Any) -> np.ndarray:
    return (1 / truth() - SHIFT) / FACTOR


def estimator(output: Callable[..., np.ndarray] = disparity) -> StandIn:
    """Return a stand-in for a network whose output is the distorted true depth."""
    made = StandIn(output)
    made.info = replace(made.info, output='relative_disparity', max_depth=100.0)
    return made


def test_without_anchors_the_preview_alone_is_published(namespace, robot):
    with running_node(namespace, load_estimator=estimator(), max_age=0.0, camera_height=0.5):
        robot.listen(*ALWAYS)
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
        made = {topic for topic in ALWAYS if robot.received[topic]}
        assert made == {PREVIEW, PREVIEW_JPEG, 'depth/camera_info'}


class Recorded(NamedTuple):
    """One frame of the bundled recording; truth in metres, 0 = unknown."""

    rgb: np.ndarray
    info: CameraInfo
    truth: np.ndarray


@pytest.fixture(scope='module')
def recorded() -> Recorded:
    with Bag(CLIP_BAG) as bag:
        image = bag.image_topic()
        calibration = bag.camera_info_topic(image)
        rgb = decode(bag.deserialize(next(bag.messages([image.name]))))
        data = next(bag.messages([calibration.name])).data
    return Recorded(rgb, deserialize_message(data, CameraInfo), read_truth(CLIP_BAG / 'truth')[0])


def test_anchors_of_a_recording_s_truth_give_metres(namespace, robot, recorded):
    """The network's output is the recording's truth, distorted; anchors are its middle third."""
    rgb, info, truth = recorded
    known = truth > 0
    assert known.mean() > 0.5 and truth[known].max() > 2 * truth[known].min()
    output = (1 / np.where(known, truth, 5) - SHIFT) / FACTOR
    settings = {'anchors': 'depth', 'depth_scale': 1.5, 'edge_threshold': 0.0, 'max_age': 0.0}
    loaded = estimator(lambda _rgb, _camera: output)
    with running_node(namespace, load_estimator=loaded, **settings) as node:
        robot.listen(DEPTH)
        robot.watch_diagnostics()
        camera = robot.camera()
        images = robot.node.create_publisher(Image, 'anchors/depth', QoSProfile(depth=5))
        infos = robot.node.create_publisher(CameraInfo, ANCHOR_DEPTH_INFO, QoSProfile(depth=5))
        measured = np.full_like(truth, np.nan)
        middle = slice(len(truth) // 3, 2 * len(truth) // 3)
        measured[middle] = np.where(known, truth, np.nan)[middle]
        info.header = header = camera.header(100.0)

        def measure() -> bool:
            infos.publish(info)
            images.publish(depth_message(measured, header, '32FC1'))
            inputs = node._parts.anchors
            return inputs._depth_info is not None and bool(inputs._messages['depth'])

        wait_until(measure)
        camera.send(rgb_image(rgb), info, header=header)
        depth = image_array(robot.wait_for(DEPTH, 1)[-1])
        np.testing.assert_allclose(depth[known], truth[known], rtol=0.02)
        wait_until(lambda: (status := robot.status('depth')) and status.level == OK)


def _log_type() -> Any:
    from rcl_interfaces.msg import Log

    return Log
