# SPDX-License-Identifier: Apache-2.0
"""Simulate a lidar for the demo: one row of the true depth of each image as points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depth_perception.camera.model import CameraModel
from depth_perception.demo.plan import Plan
from depth_perception.depth.anchors import Anchors
from depth_perception.depth.simulated_anchors import lidar_row
from depth_perception.io.bag import Bag
from depth_perception.io.bag_writer import BagWriter
from depth_perception.ros.conversions.messages import cloud_message

TOPIC, TYPE = '/lidar/points', 'sensor_msgs/msg/PointCloud2'


class Lidar:
    """Measure the middle row of true depth images, with noise and outliers.

    Args:
        truths: true depth images (H, W), metres; 0 means unknown.
        camera: camera of the images.
    """

    def __init__(self, truths: list[NDArray[np.float32]], camera: CameraModel) -> None:
        self._truths, self._camera = truths, camera

    def anchors(self, index: int) -> Anchors:
        """Return the anchors of the image with this index; none after the last image."""
        if index >= len(self._truths):
            return Anchors.of()
        return lidar_row(self._truths[index], self._camera, np.random.default_rng(index))

    def message(self, index: int, header: Header) -> PointCloud2:
        """Return the same measurements as points in the frame of the image."""
        anchors, camera = self.anchors(index), self._camera
        x = (anchors.u - camera.cx) / camera.fx * anchors.depth
        y = (anchors.v - camera.cy) / camera.fy * anchors.depth
        points = np.stack([x, y, anchors.depth, np.zeros(len(anchors))], -1)[None]
        return cloud_message(points.astype(np.float32), header, coloured=False)


def with_lidar(plan: Plan, lidar: Lidar, folder: Path) -> Plan:
    """Copy the recording into a new folder, with the lidar's points before each image."""
    assert plan.info is not None  # because there is a lidar
    with Bag(plan.bag) as bag, BagWriter(folder) as writer:
        number = 0
        for message in bag.messages([plan.image.name, plan.info.name]):
            if message.topic == plan.image.name:
                points = lidar.message(number, _header(bag.deserialize(message)))
                writer.write(TOPIC, TYPE, message.time - 1, serialize_message(points))
                number += 1
            writer.write(message.topic, bag.topics[message.topic].type, message.time, message.data)
    return replace(plan, bag=folder, anchors=TOPIC)


def recorded_camera(plan: Plan) -> CameraModel | None:
    """Return the camera of a recording's images; None if it has no camera_info."""
    if plan.info is None:
        return None
    with Bag(plan.bag) as bag:
        info: Any = bag.deserialize(next(bag.messages([plan.info.name])))
    return CameraModel.from_matrix(info.width, info.height, info.k)


def _header(image: Any) -> Header:
    """Return the header as a ROS message."""
    stamp = image.header.stamp
    return Header(stamp=Time(sec=stamp.sec, nanosec=stamp.nanosec), frame_id=image.header.frame_id)
