# SPDX-License-Identifier: Apache-2.0
"""Convert messages to points like Nav2; its rules are in nav2_rules.

The robot does not move: its base, the odom frame and the map are identical.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import LaserScan, PointCloud2

from test.support.nav2_rules import project_laser
from test.support.ros import cloud_array

#: From x forward, z up to z forward, y down (REP-103).
TO_OPTICAL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


class Mounting:
    """Pose of a camera on the robot: above the base's origin, looking down."""

    def __init__(self, pitch: float, height: float) -> None:
        self.height = height
        self._rotation = Rotation.from_euler('Y', pitch, degrees=True) * TO_OPTICAL

    def cloud_points(self, message: PointCloud2) -> np.ndarray:
        """Return a cloud's points (n, 3) in the base frame, including NaN."""
        points = cloud_array(message)[..., :3].reshape(-1, 3).astype(np.float64)
        return self._rotation.apply(points) + (0, 0, self.height)

    def scan_points(self, message: LaserScan, inf_is_valid: bool) -> np.ndarray:
        """Return a scan's points (n, 3) in the base frame; the level frame is above the base."""
        return project_laser(message, inf_is_valid) + (0, 0, self.height)
