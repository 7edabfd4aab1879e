# SPDX-License-Identifier: Apache-2.0
"""The rules by which Nav2 reads clouds and scans, restated from its sources in a few lines.

nav2_costmap_2d/plugins/obstacle_layer.cpp, nav2_costmap_2d/src/observation_buffer.cpp,
nav2_collision_monitor/src/pointcloud.cpp and laser_geometry/src/laser_geometry.cpp, as of Jazzy to
2026. The robot stands still: its base, the odom frame and the map are one.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import LaserScan, PointCloud2

from test.support.ros import cloud_array

Cell = tuple[int, int]
#: From x forward, z up to z forward, y down (REP-103).
TO_OPTICAL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


class Mounting:
    """Where a camera is on the robot: above the base's origin, looking down by some degrees."""

    def __init__(self, pitch: float, height: float) -> None:
        self.height = height
        self._rotation = Rotation.from_euler('Y', pitch, degrees=True) * TO_OPTICAL

    def cloud_points(self, message: PointCloud2) -> np.ndarray:
        """A cloud's points (n, 3) in the base frame, NaN kept."""
        points = cloud_array(message)[..., :3].reshape(-1, 3).astype(np.float64)
        return self._rotation.apply(points) + (0, 0, self.height)

    def scan_points(self, message: LaserScan, inf_is_valid: bool) -> np.ndarray:
        """A scan's points (n, 3) in the base frame: the level frame is the base raised."""
        return project_laser(message, inf_is_valid) + (0, 0, self.height)


def project_laser(message: LaserScan, inf_is_valid: bool) -> np.ndarray:
    """ObstacleLayer::laserScanValidInfCallback, then LaserProjection::projectLaser: (n, 3)."""
    ranges = np.array(message.ranges, np.float32)
    if inf_is_valid:
        ranges[~np.isfinite(ranges) & (ranges > 0)] = message.range_max - 0.0001
    angles = message.angle_min + np.arange(len(ranges)) * message.angle_increment
    kept = (ranges >= message.range_min) & (ranges < message.range_max)
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], -1)
    return ranges[kept, None] * directions[kept]


class ObstacleLayer:
    """Cells of the obstacle layer with the parameters of a costmap's YAML file."""

    def __init__(self, costmap: dict[str, Any]) -> None:
        self._layer = costmap['obstacle_layer']
        self._resolution = costmap['resolution']
        self._half = (costmap['width'] / 2, costmap['height'] / 2)
        self.lethal: set[Cell] = set()

    def update(self, observations: dict[str, np.ndarray], origin: tuple[float, float]) -> None:
        """One cycle: first clear along the clearing observations, then mark."""
        sources = {name: self._layer[name] for name in self._layer['observation_sources'].split()}
        for name, points in observations.items():
            if sources[name]['clearing']:
                self._clear(self._in_height(points, sources[name]), sources[name], origin)
        for name, points in observations.items():
            if sources[name]['marking']:
                self._mark(self._in_height(points, sources[name]), sources[name], origin)

    def cell(self, x: float, y: float) -> Cell:
        """The cell of a position in metres."""
        return int(np.floor(x / self._resolution)), int(np.floor(y / self._resolution))

    def marked_between(self, low: float, high: float) -> set[Cell]:
        """Lethal cells by the distance ahead, in metres."""
        return {cell for cell in self.lethal if low <= cell[0] * self._resolution < high}

    @staticmethod
    def _in_height(points: np.ndarray, source: dict[str, Any]) -> np.ndarray:
        """ObservationBuffer::bufferCloud; its defaults would be 0.0 and 0.0. NaN falls out."""
        return points[(points[:, 2] <= source.get('max_obstacle_height', 0.0))
                      & (points[:, 2] >= source.get('min_obstacle_height', 0.0))]

    def _mark(self, points: np.ndarray, source: dict[str, Any],
              origin: tuple[float, float]) -> None:
        points = points[(points[:, 2] >= self._layer['min_obstacle_height'])
                        & (points[:, 2] <= self._layer['max_obstacle_height'])]
        distance = np.hypot(points[:, 0] - origin[0], points[:, 1] - origin[1])
        near = points[distance <= source.get('obstacle_max_range', 2.5)]
        near = near[(np.abs(near[:, 0]) < self._half[0]) & (np.abs(near[:, 1]) < self._half[1])]
        self.lethal |= {self.cell(x, y) for x, y, _ in near}

    def _clear(self, points: np.ndarray, source: dict[str, Any],
               origin: tuple[float, float]) -> None:
        """raytraceFreespace: every cell from the sensor to the point, its own included."""
        start, reach = source.get('raytrace_min_range', 0.0), source.get('raytrace_max_range', 3.0)
        for x, y, _ in points:
            dx, dy = x - origin[0], y - origin[1]
            length = np.hypot(dx, dy)
            steps = np.linspace(start, min(length, reach), 2 + int(length / self._resolution * 4))
            if start < length:
                self.lethal -= {self.cell(origin[0] + step / length * dx,
                                          origin[1] + step / length * dy) for step in steps}


def points_in_polygon(points: np.ndarray, source: dict[str, Any], polygon: np.ndarray) -> int:
    """collision_monitor: how many of a cloud's points (n, 3) are at its heights in a rectangle."""
    points = points[(points[:, 2] >= source['min_height'])
                    & (points[:, 2] <= source['max_height'])]
    low, high = polygon.min(0), polygon.max(0)
    return int(((points[:, :2] > low) & (points[:, :2] < high)).all(1).sum())
