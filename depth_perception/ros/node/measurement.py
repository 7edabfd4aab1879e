# SPDX-License-Identifier: Apache-2.0
"""Measurements of other sensors, and what several images share of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchor_sources import MOST_POINTS, known_pixels, scan_points
from depth_perception.depth.anchors import PreparedAnchors
from depth_perception.ros.conversions.sensor_messages import cloud_points, depth_array
from depth_perception.ros.conversions.stamps import seconds


@dataclass(frozen=True)
class CameraView:
    """What an image has in common with the next images of its camera.

    Attributes:
        frame_id: the frame of the camera.
        camera: the camera.
        limits: depths between which anchors are used, metres.
    """

    frame_id: str
    camera: CameraModel
    limits: tuple[float, float]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.camera.height, self.camera.width


class Measurement:
    """A message of a sensor.

    Args:
        source: the name of its source in the parameter `anchors`.
        message: the message.

    Attributes:
        seconds: its stamp.
        ready: its anchors and the view for which they were prepared; None if they were not.
    """

    def __init__(self, source: str, message: Any) -> None:
        self.source, self.message, self.header = source, message, message.header
        self.seconds = seconds(message.header.stamp)
        self.ready: tuple[CameraView, PreparedAnchors] | None = None

    @cached_property
    def content(self) -> Any:
        """What was measured, as the functions of `depth.anchor_sources` take it.

        Points (n, 3) of a scan or a cloud; the known pixels of a depth image, with its height and
        width; a range, metres, NaN if it is none.

        Raises:
            SensorError: the message cannot be used.
        """
        message = self.message
        if self.source == 'scan':
            return scan_points(
                np.asarray(message.ranges, np.float32),
                message.angle_min,
                message.angle_increment,
                message.range_min,
                message.range_max,
            )
        if self.source == 'points':
            return cloud_points(message, MOST_POINTS)
        if self.source == 'depth':
            depth = depth_array(message)
            return known_pixels(depth), depth.shape
        return message.range if message.min_range <= message.range <= message.max_range else np.nan

    @property
    def has_measured(self) -> bool:
        """Whether the message contains any distance."""
        message = self.message
        if self.source == 'scan':
            return bool(np.isfinite(np.asarray(message.ranges, np.float32)).any())
        if self.source == 'range':
            return bool(np.isfinite(self.content))
        return len(message.data) > 0
