# SPDX-License-Identifier: Apache-2.0
"""Nav2's rules for clouds and scans, restated from its sources in a few lines; no ROS is needed.

nav2_costmap_2d/plugins/obstacle_layer.cpp, nav2_costmap_2d/src/observation_buffer.cpp,
nav2_collision_monitor/src (collision_monitor_node, polygon, velocity_polygon, source, pointcloud)
and laser_geometry/src/laser_geometry.cpp, as of Jazzy to 2026.
"""

from __future__ import annotations

import ast
import math
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.products import DepthScan

Cell = tuple[int, int]
Points = NDArray[np.float64]


class Velocity(NamedTuple):
    """Metres and radians per second."""

    x: float
    turn: float

    def times(self, factor: float) -> Velocity:
        return Velocity(self.x * factor, self.turn * factor)

    def is_below(self, other: Velocity) -> bool:
        """Velocity::operator<, which adds metres to radians."""
        return math.hypot(*self) < math.hypot(*other)


class Scan(Protocol):
    """The fields of sensor_msgs/LaserScan that are used."""

    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: Any


def project_laser(message: Scan, inf_is_valid: bool) -> Points:
    """ObstacleLayer::laserScanValidInfCallback, then LaserProjection::projectLaser: (n, 3)."""
    ranges = np.array(message.ranges, np.float32)
    if inf_is_valid:
        ranges[~np.isfinite(ranges) & (ranges > 0)] = message.range_max - 0.0001
    angles = message.angle_min + np.arange(len(ranges)) * message.angle_increment
    # The limits are float32 in the message, too.
    kept = (ranges >= np.float32(message.range_min)) & (ranges < np.float32(message.range_max))
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], -1)
    return ranges[kept, None] * directions[kept]


def observations(scan: DepthScan, origin: tuple[float, float, float]) -> dict[str, Points]:
    """The points of a scan that marks and of one that clears, as the costmap's sources name them.

    Args:
        scan: of the products of a depth image.
        origin: of the camera in the frame of the points.
    """
    message = SimpleNamespace(
        angle_min=scan.layout.angle_min,
        angle_increment=scan.layout.angle_increment,
        range_min=scan.range_min,
        range_max=scan.layout.range_max,
        ranges=scan.ranges,
    )
    return {
        'depth_obstacles': project_laser(message, inf_is_valid=False) + origin,
        'depth_scan': project_laser(message, inf_is_valid=True) + origin,
    }


class ObstacleLayer:
    """Cells of the obstacle layer with the parameters of a costmap's YAML file."""

    def __init__(self, costmap: dict[str, Any]) -> None:
        self._layer = costmap['obstacle_layer']
        self._resolution = costmap['resolution']
        self._half = (costmap['width'] / 2, costmap['height'] / 2)
        self.lethal: set[Cell] = set()

    def update(self, observations: dict[str, Points], origin: tuple[float, float]) -> None:
        """Run one cycle: first clear along the clearing observations, then mark.

        Args:
            observations: points (n, 3) by source, in the costmap's frame; what the costmap has no
                source for is left out.
            origin: position of the sensor in that frame.
        """
        sources = {name: self._layer[name] for name in self._layer['observation_sources'].split()}
        observations = {name: observations[name] for name in sources if name in observations}
        for name, points in observations.items():
            if sources[name]['clearing']:
                self._clear(self._in_height(points, sources[name]), sources[name], origin)
        for name, points in observations.items():
            if sources[name]['marking']:
                self._mark(self._in_height(points, sources[name]), sources[name], origin)

    def roll(self, robot: tuple[float, float], radius: float) -> None:
        """Clear cells outside the rolling window or under the robot (footprint clearing)."""
        x, y = robot
        self.lethal = {
            cell
            for cell, (cx, cy) in zip(self.lethal, self.centres())
            if abs(cx - x) < self._half[0]
            and abs(cy - y) < self._half[1]
            and math.hypot(cx - x, cy - y) > radius
        }

    def centres(self) -> NDArray[np.float64]:
        """Return the centres (n, 2) of the lethal cells in metres, in the order of `lethal`."""
        return (np.array(list(self.lethal), float).reshape(-1, 2) + 0.5) * self._resolution

    def cell(self, x: float, y: float) -> Cell:
        """Return the cell of a position in metres."""
        return int(np.floor(x / self._resolution)), int(np.floor(y / self._resolution))

    def marked_between(self, low: float, high: float) -> set[Cell]:
        """Return lethal cells in a range of distances ahead, in metres."""
        return {cell for cell in self.lethal if low <= cell[0] * self._resolution < high}

    def _cells(self, points: Points) -> set[Cell]:
        """Return the cells of positions (..., 2)."""
        cells = np.floor(points.reshape(-1, 2) / self._resolution).astype(np.int64)
        return {
            (int(key >> 32), int((key & 0xFFFFFFFF) - (1 << 31)))
            for key in np.unique((cells[:, 0] << 32) + cells[:, 1] + (1 << 31))
        }

    @staticmethod
    def _in_height(points: Points, source: dict[str, Any]) -> Points:
        """ObservationBuffer::bufferCloud; its defaults would be 0.0 and 0.0. NaN falls out."""
        return points[
            (points[:, 2] <= source.get('max_obstacle_height', 0.0))
            & (points[:, 2] >= source.get('min_obstacle_height', 0.0))
        ]

    def _mark(self, points: Points, source: dict[str, Any], origin: tuple[float, float]) -> None:
        points = points[
            (points[:, 2] >= self._layer['min_obstacle_height'])
            & (points[:, 2] <= self._layer['max_obstacle_height'])
        ]
        distance = np.hypot(points[:, 0] - origin[0], points[:, 1] - origin[1])
        near = points[
            (distance <= source.get('obstacle_max_range', 2.5))
            & (distance >= source.get('obstacle_min_range', 0.0))
        ][:, :2]
        self.lethal |= self._cells(near[(np.abs(near - origin) < self._half).all(1)])

    def _clear(self, points: Points, source: dict[str, Any], origin: tuple[float, float]) -> None:
        """raytraceFreespace: every cell from the sensor to the point, its own included."""
        start, reach = source.get('raytrace_min_range', 0.0), source.get('raytrace_max_range', 3.0)
        ahead = points[:, :2] - origin
        length = np.hypot(*ahead.T)
        ahead, length = ahead[length > start], length[length > start]
        if not len(length):
            return
        steps = np.linspace(0, 1, 2 + int(reach / self._resolution * 4))
        along = start + (np.minimum(length, reach) - start)[:, None] * steps
        self.lethal -= self._cells(origin + along[..., None] * (ahead / length[:, None])[:, None])


def inside(points: Points, polygon: Points) -> NDArray[np.bool_]:
    """Return which points (n, 2 or more) are in a polygon (m, 2): Polygon::isPointInside."""
    x, y = points[:, 0], points[:, 1]
    found = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(np.roll(polygon, 1, 0), polygon):
        if y0 != y1:
            crosses = (y <= y0) == (y > y1)
            found ^= crosses & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x)
    return found


def at_heights(points: Points, source: dict[str, Any]) -> Points:
    """Return the points (n, 3) in the base frame that a source of type pointcloud keeps."""
    return points[(points[:, 2] >= source['min_height']) & (points[:, 2] <= source['max_height'])]


def points_in_polygon(points: Points, source: dict[str, Any], polygon: Points) -> int:
    """Count a cloud's points (n, 3) at a source's heights in a polygon."""
    return int(inside(at_heights(points, source), polygon).sum())


class CollisionMonitor:
    """The collision monitor: limits a velocity.

    Args:
        parameters: parameters of the YAML file; sources are of type pointcloud.
        footprint: corners (m, 2) in the base frame, as local_costmap/published_footprint has it.
    """

    def __init__(self, parameters: dict[str, Any], footprint: Points) -> None:
        self._parameters = parameters
        self._footprint = footprint
        self._shapes: dict[str, Points | None] = {}

    def __call__(
        self, wanted: Velocity, observations: dict[str, tuple[float, Points]]
    ) -> tuple[Velocity, str]:
        """Return the velocity to drive, and the responsible polygon ('' for none).

        Args:
            wanted: the requested velocity.
            observations: by source the age in seconds and all points (n, 3) of the newest message,
                in the present base frame (base_shift_correction).
        """
        points = []
        for name in self._parameters['observation_sources']:
            source = self._parameters[name]
            age, cloud = observations.get(name, (math.inf, np.empty((0, 3))))
            timeout = source.get('source_timeout', self._parameters['source_timeout'])
            if source['enabled'] and timeout and age > timeout:
                return Velocity(0, 0), 'invalid source'
            points.append(at_heights(cloud, source))
        return self._worst(wanted, np.concatenate(points))

    def _worst(self, wanted: Velocity, points: Points) -> tuple[Velocity, str]:
        safe, responsible = wanted, ''
        for name in self._parameters['polygons']:
            polygon = self._parameters[name]
            shape = self._shape(name, wanted)
            if not polygon['enabled'] or shape is None:
                continue
            allowed = self._allowed(polygon, shape, wanted, points)
            if allowed is None:
                continue
            if polygon['action_type'] == 'stop':
                return allowed, name
            if allowed.is_below(safe):
                safe, responsible = allowed, name
        return safe, responsible

    def _shape(self, name: str, wanted: Velocity) -> Points | None:
        """Polygon::updatePolygon: a velocity polygon keeps its shape at uncovered velocities."""
        polygon = self._parameters[name]
        if 'footprint_topic' in polygon:
            return self._footprint
        if polygon['type'] == 'polygon':
            return np.array(ast.literal_eval(polygon['points']))
        for part in (polygon[key] for key in polygon['velocity_polygons']):
            if (
                part['linear_min'] <= wanted.x <= part['linear_max']
                and part['theta_min'] <= wanted.turn <= part['theta_max']
            ):
                self._shapes[name] = np.array(ast.literal_eval(part['points']))
                break
        return self._shapes.get(name)

    def _allowed(
        self, polygon: dict[str, Any], shape: Points, wanted: Velocity, points: Points
    ) -> Velocity | None:
        """Return the velocity that one polygon allows; None if it does not limit it."""
        if polygon['action_type'] == 'approach':
            seconds = self._collision_time(polygon, shape, wanted, points)
            return (
                None
                if seconds is None
                else wanted.times(seconds / polygon['time_before_collision'])
            )
        if inside(points, shape).sum() < polygon['min_points']:
            return None
        if polygon['action_type'] == 'stop':
            return Velocity(0, 0)
        if polygon['action_type'] == 'slowdown':
            return wanted.times(polygon['slowdown_ratio'])
        ratio = min(
            [1.0]
            + [
                polygon[limit] / abs(speed)
                for limit, speed in (('linear_limit', wanted.x), ('angular_limit', wanted.turn))
                if speed
            ]
        )
        return wanted.times(ratio)

    @staticmethod
    def _collision_time(
        polygon: dict[str, Any], shape: Points, wanted: Velocity, points: Points
    ) -> float | None:
        """Polygon::getCollisionTime: seconds before the moved shape holds enough points."""
        if inside(points, shape).sum() >= polygon['min_points']:
            return 0.0
        step = polygon['simulation_time_step']
        reach = (polygon['time_before_collision'] + step) * abs(wanted.x) + np.hypot(*shape.T).max()
        points = points[np.hypot(points[:, 0], points[:, 1]) <= reach]
        x = y = heading = seconds = 0.0
        while seconds <= polygon['time_before_collision']:
            x += wanted.x * math.cos(heading) * step
            y += wanted.x * math.sin(heading) * step
            heading += wanted.turn * step
            turn = np.array(
                [[math.cos(heading), -math.sin(heading)], [math.sin(heading), math.cos(heading)]]
            )
            if inside((points[:, :2] - (x, y)) @ turn, shape).sum() >= polygon['min_points']:
                return seconds
            seconds += step
        return None
