# SPDX-License-Identifier: Apache-2.0
"""Rooms of boxes on a floor, and their true depth from a camera on a robot."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel

Corner = tuple[float, float, float]
#: Things lower than this are no obstacle for a wheel, metres.
ROLLS_OVER = 0.03


@dataclass(frozen=True)
class Box:
    """An axis-aligned box of the world.

    Attributes:
        low, high: corners, metres.
        path: (seconds) -> (dx, dy), its displacement; None = static.
    """

    low: Corner
    high: Corner
    path: Callable[[float], tuple[float, float]] | None = None

    def at(self, seconds: float) -> tuple[NDArray, NDArray]:
        """Return its corners at a time."""
        shift = np.array([*(self.path(seconds) if self.path else (0.0, 0.0)), 0.0])
        return self.low + shift, self.high + shift


@dataclass(frozen=True)
class Scene:
    """Boxes on a floor at z = 0, with an optional ramp.

    Attributes:
        boxes: all boxes.
        ramp: x where the floor begins to rise, metres; None = a level floor.
        slope: angle of the ramp in radians.
    """

    boxes: tuple[Box, ...]
    ramp: float | None = None
    slope: float = 0.0

    def ground(self, x: float) -> tuple[float, float]:
        """Return the floor's height and slope (radians) under a robot at x."""
        if self.ramp is None or x < self.ramp:
            return 0.0, 0.0
        return (x - self.ramp) * math.tan(self.slope), self.slope

    def gap(self, x: float, y: float, radius: float, height: float, seconds: float) -> float:
        """Return metres between a cylinder on the floor and the nearest box; below 0: collision."""
        return (
            min(
                (self._distance(box, x, y, height, seconds) for box in self.boxes), default=math.inf
            )
            - radius
        )

    def gap_ahead(
        self, pose: tuple[float, float, float], radius: float, height: float, seconds: float
    ) -> float:
        """Return metres that the cylinder can move straight ahead without collision, at most 5."""
        x, y, heading = pose
        for ahead in np.arange(0, 5, 0.05):
            place = x + ahead * math.cos(heading), y + ahead * math.sin(heading)
            if self.gap(*place, radius, height, seconds) <= 0:
                return float(ahead)
        return 5.0

    def _distance(self, box: Box, x: float, y: float, height: float, seconds: float) -> float:
        low, high = box.at(seconds)
        if high[2] < ROLLS_OVER or low[2] > height + self.ground(x)[0]:
            return math.inf
        return math.hypot(max(low[0] - x, 0, x - high[0]), max(low[1] - y, 0, y - high[1]))

    def cast(self, origin: NDArray, rays: NDArray, seconds: float) -> NDArray[np.float32]:
        """Return the smallest t at which origin + t * ray hits something, or +Inf."""
        first = self._floor(origin, rays)
        with np.errstate(divide='ignore'):
            inverse = [1 / rays[..., axis] for axis in range(3)]
        for box in self.boxes:
            enter, leave = -np.inf, np.inf
            for low, high, start, along in zip(*box.at(seconds), origin, inverse):
                with np.errstate(invalid='ignore'):
                    one, other = np.float32(low - start) * along, np.float32(high - start) * along
                enter = np.maximum(enter, np.minimum(one, other))
                leave = np.minimum(leave, np.maximum(one, other))
            # From inside a box its back face is visible.
            reached = np.where(enter > 0, enter, leave)
            hit = (enter < leave) & (leave > 0) & (reached < first)
            first = np.where(hit, reached, first)
        return first.astype(np.float32)

    def _floor(self, origin: NDArray, rays: NDArray) -> NDArray:
        with np.errstate(divide='ignore', invalid='ignore'):
            level = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
            if self.ramp is None:
                return level
            rise = math.tan(self.slope)
            above = origin[2] - rise * (origin[0] - self.ramp)
            ramp = above / (rise * rays[..., 0] - rays[..., 2])
            is_ramp = (ramp > 0) & (origin[0] + ramp * rays[..., 0] >= self.ramp)
            is_level = origin[0] + level * rays[..., 0] < self.ramp
        return np.minimum(np.where(is_ramp, ramp, np.inf), np.where(is_level, level, np.inf))


@dataclass(frozen=True)
class Mount:
    """Pose of a camera on a robot.

    Attributes:
        forward, height: metres from the base's origin, which is on the floor.
        pitch: downward angle in radians.
    """

    forward: float
    height: float
    pitch: float

    def to_base(self, points: NDArray) -> NDArray:
        """Transform points (n, 3) from the optical frame (z forward, y down) to the base frame."""
        return points @ self._optical_axes() + (self.forward, 0, self.height)

    def to_optical(self, points: NDArray) -> NDArray:
        """Transform points (n, 3) from the base frame to the optical frame."""
        return (points - (self.forward, 0, self.height)) @ self._optical_axes().T

    def rays(self, camera: CameraModel) -> NDArray[np.float32]:
        """Return each pixel's ray at depth 1, (H, W, 3) in the base frame."""
        return _rays(camera, self)

    def _optical_axes(self) -> NDArray:
        """Return (3, 3): the rows are the optical frame's x, y and z in the base frame."""
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        return np.array([[0, -1, 0], [-sin, 0, -cos], [cos, 0, -sin]])


@functools.lru_cache(maxsize=8)
def _rays(camera: CameraModel, mount: Mount) -> NDArray[np.float32]:
    v, u = np.indices((camera.height, camera.width)).astype(float)
    optical = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1
    )
    return (optical @ mount._optical_axes()).astype(np.float32)


def attitude(heading: float, slope: float) -> NDArray:
    """Return the rotation (3, 3) from the base frame of a robot on a slope to the world."""
    cos, sin = math.cos(heading), math.sin(heading)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    up = math.cos(slope), math.sin(slope)
    return turn @ np.array([[up[0], 0, -up[1]], [0, 1, 0], [up[1], 0, up[0]]])


def true_depth(
    scene: Scene,
    camera: CameraModel,
    mount: Mount,
    pose: tuple[float, float, float],
    seconds: float,
) -> NDArray[np.float32]:
    """Return depth (H, W) seen by a robot at a pose (x, y, heading); +Inf = nothing."""
    x, y, heading = pose
    z, slope = scene.ground(x)
    turn = attitude(heading, slope)
    origin = turn @ (mount.forward, 0, mount.height) + (x, y, z)
    return scene.cast(origin, mount.rays(camera) @ turn.T.astype(np.float32), seconds)
