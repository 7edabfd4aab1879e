# SPDX-License-Identifier: Apache-2.0
"""Ray-traced floors and boxes in front of a tilted camera, independent of the code under test."""

from __future__ import annotations

import math

import numpy as np

from depth_perception.camera.model import CameraModel
from depth_perception.depth.scan import CameraPose

INF = float('inf')


def level_rays(camera: CameraModel, pose: CameraPose) -> np.ndarray:
    """Return each pixel's ray at depth 1, (H, W, 3) float64; x forward, y left, z up."""
    v, u = np.indices((camera.height, camera.width)).astype(np.float64)
    body = np.stack(
        [np.ones_like(u), -(u - camera.cx) / camera.fx, -(v - camera.cy) / camera.fy], -1
    )
    cp, sp, cr, sr = (
        math.cos(pose.pitch),
        math.sin(pose.pitch),
        math.cos(pose.roll),
        math.sin(pose.roll),
    )
    rolled = body @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]]).T
    return rolled @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]).T


def floor(camera: CameraModel, pose: CameraPose) -> np.ndarray:
    """Return the depth of a floor `pose.height` below the camera, masked beyond 10 m."""
    with np.errstate(divide='ignore'):
        depth = pose.height / -level_rays(camera, pose)[..., 2]
    return np.where((depth > 0) & (depth < 10), depth, INF).astype(np.float32)


def with_box(
    depth: np.ndarray,
    camera: CameraModel,
    pose: CameraPose,
    low: tuple[float, ...],
    high: tuple[float, ...],
) -> np.ndarray:
    """Add an axis-aligned box of the level frame to the depth (corners in metres)."""
    rays = level_rays(camera, pose)
    with np.errstate(divide='ignore', invalid='ignore'):
        first, second = np.array(low) / rays, np.array(high) / rays
    enter = np.minimum(first, second).max(-1)
    leave = np.maximum(first, second).min(-1)
    hit = (enter < leave) & (leave > 0)
    return np.where(hit, np.minimum(depth, enter), depth).astype(np.float32)


def box_on_the_floor(
    pose: CameraPose, distance: float, height: float, half_width: float = 0.1
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the corners of a box whose front is at this distance."""
    return (
        (distance, -half_width, -pose.height),
        (distance + 0.2, half_width, height - pose.height),
    )


def ramp(
    depth: np.ndarray,
    camera: CameraModel,
    pose: CameraPose,
    begin: float,
    end: float,
    degrees: float,
) -> np.ndarray:
    """The depth with a ramp across the floor, which rises from `begin` to `end` metres ahead."""
    rays, slope = level_rays(camera, pose), math.tan(math.radians(degrees))
    with np.errstate(divide='ignore', invalid='ignore'):
        hit = (-pose.height - begin * slope) / (rays[..., 2] - slope * rays[..., 0])
    ahead = hit * rays[..., 0]
    on_ramp = (hit > 0) & (ahead >= begin) & (ahead <= end)
    return np.where(on_ramp, np.minimum(depth, hit), depth).astype(np.float32)
