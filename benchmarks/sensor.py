# SPDX-License-Identifier: Apache-2.0
"""A sensor beside the camera of the clip: clouds of true points, to correct depth with."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from benchmarks.clip import Frame, read_clip
from depth_perception.ros.conversions.messages import cloud_message


def clouds(count: int) -> list[PointCloud2]:
    """Return a cloud for each frame of the bundled clip, in the frame of its images.

    Args:
        count: number of anchors that a cloud is to give. Too near an edge, a point cannot be
            compared; so there are twice as many.
    """
    return [_cloud(frame, 2 * count) for frame in read_clip()]


def serialized_clouds(count: int) -> list[bytes]:
    """Return the clouds in CDR; none if the count is 0."""
    return [serialize_message(cloud) for cloud in clouds(count)] if count else []


def _cloud(frame: Frame, count: int) -> PointCloud2:
    """Return the points of an even grid over a frame's true depth."""
    height, width = frame.truth.shape
    columns = round((count * width / height) ** 0.5)
    rows = -(-count // columns)
    v, u = (
        ((np.arange(number) + 0.5) * side / number).astype(int)
        for number, side in ((rows, height), (columns, width))
    )
    points = np.zeros((rows, columns, 4), np.float32)
    camera, points[..., 2] = frame.camera, frame.truth[v][:, u]
    points[..., 0] = (u - camera.cx) / camera.fx * points[..., 2]
    points[..., 1] = ((v - camera.cy) / camera.fy)[:, None] * points[..., 2]
    header = Header(frame_id=frame.info.header.frame_id)
    message: PointCloud2 = cloud_message(points, header, False)
    return message
