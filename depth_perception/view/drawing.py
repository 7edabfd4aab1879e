# SPDX-License-Identifier: Apache-2.0
"""Convert a frame's arrays to what a browser draws, small enough to send many times a second."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.perspective import View, draw_points, middle_view
from depth_perception.depth.visualise import ROUND_DISTANCES, colourise, with_legend
from depth_perception.view.frame import Cloud, Frame, Scan

#: Two hits of the scan are joined by a line if their ranges differ by less than this fraction.
SAME_SURFACE = 0.15
#: Grey level of points without colours.
GREY = 150


def shrunk(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Shrink an image (H, W, 3) to at most this width; the aspect ratio is kept."""
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small


def thinned(cloud: Cloud, most: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return at most `most` known points (N, 3) of a cloud and their colours (N, 3).

    An organized cloud is thinned equally along rows and columns.
    """
    points, colours = cloud.points, cloud.colours
    if colours is None:
        colours = np.full(points.shape, GREY, np.uint8)
    rows, columns = _strides(points.shape[:-1], most)

    def thin(values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(-1, values.shape[-2], 3)[::rows, ::columns].reshape(-1, 3)

    points, colours = thin(points), thin(colours)
    known = np.isfinite(points).all(axis=1)
    return points[known], colours[known]


def _strides(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """Return the smallest nearly equal steps over rows and columns that leave at most `most`."""
    rows, columns = (1, *shape)[-2:]
    for step in itertools.count(1):
        for strides in ((step, step), (step, step + 1)):
            if math.ceil(rows / strides[0]) * math.ceil(columns / strides[1]) <= most:
                return strides
    raise AssertionError('unreachable')


def by_distance(points: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Return the colours (N, 3) RGB of points (N, 3) by their depth, as in the depth picture."""
    return colourise(points[:, 2:3], near, far)[:, 0, ::-1]


def point_on_ray(
    points: NDArray[np.float32],
    origin: NDArray[np.floating],
    direction: NDArray[np.floating],
    tolerance: float = 0.012,
) -> NDArray[np.float32] | None:
    """Return the nearest of the points (N, 3) within an angle (radians) of a ray, or None."""
    away = points - np.asarray(origin, np.float32)
    distance = np.linalg.norm(away, axis=1)
    with np.errstate(invalid='ignore', divide='ignore'):
        cosine = away @ np.asarray(direction, np.float32) / np.linalg.norm(direction) / distance
        met = cosine > math.cos(tolerance)
    if not met.any():
        return None
    nearest: NDArray[np.float32] = points[np.argmin(np.where(met, distance, np.inf))]
    return nearest


def still(frame: Frame, view: View | None, most: int) -> NDArray[np.uint8] | None:
    """Draw camera, depth with legend, and cloud as one picture (H, W, 3) RGB, or None.

    Args:
        frame: the frame to draw.
        view: viewpoint for the cloud; None for one next to the camera.
        most: largest number of points of the cloud.
    """
    pictures = [part for part in (frame.image, frame.depth) if part is not None]
    if not pictures:
        return None
    height, width = pictures[0].shape[:2]
    parts = [cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in pictures]
    if frame.cloud is not None and frame.camera is not None:
        points, colours = thinned(frame.cloud, most)
        gap = (
            math.sqrt(
                frame.cloud.points[..., 0].size / max(1, min(most, frame.cloud.points[..., 0].size))
            )
            / frame.camera.fx
        )
        parts.append(draw_points(points, colours, view or middle_view(points), width, height, gap))
    row = np.concatenate(parts, axis=1)
    if frame.depth_range is None or frame.depth is None:
        return row
    return with_legend(row[..., ::-1], *frame.depth_range)[..., ::-1]


def scan_points(scan: Scan) -> NDArray[np.float32]:
    """Return the hits of the scan (N, 3): x forward, y left, z up from the camera."""
    return _points(scan)[_hits(scan)]


def scan_lines(scan: Scan) -> NDArray[np.float32]:
    """Return line segments (N, 2, 3) between neighbouring hits on one surface."""
    points, ranges = _points(scan), scan.ranges
    with np.errstate(invalid='ignore'):
        gap = np.abs(np.diff(ranges))
        joined = _hits(scan)[:-1] & _hits(scan)[1:] & (gap < SAME_SURFACE * ranges[:-1])
    return np.stack([points[:-1], points[1:]], axis=1)[joined]


def _hits(scan: Scan) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = np.isfinite(scan.ranges)
    return hits


def _points(scan: Scan) -> NDArray[np.float32]:
    distance = np.where(_hits(scan), scan.ranges, 0)
    x, y = distance * np.cos(scan.angles), distance * np.sin(scan.angles)
    return np.stack([x, y, np.zeros_like(x)], axis=1).astype(np.float32)


def distance_marks(camera: CameraModel, far: float) -> tuple[list[float], NDArray[np.float32]]:
    """Return arcs at round distances across the camera's view, in the level plane.

    Returns:
        The distances in metres, and the line segments (N, 2, 3) of their arcs.
    """
    distances = [distance for distance in ROUND_DISTANCES if 1 <= distance <= far]
    left, right = math.atan2(camera.cx, camera.fx), -math.atan2(camera.width - camera.cx, camera.fx)
    angles = np.linspace(left, right, 33)
    unit = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    arc = np.stack([unit[:-1], unit[1:]], axis=1)
    lines = np.concatenate([distance * arc for distance in distances] or [arc[:0]])
    return distances, lines.astype(np.float32)
