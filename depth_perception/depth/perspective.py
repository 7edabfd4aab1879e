# SPDX-License-Identifier: Apache-2.0
"""Draw a point cloud from any viewpoint with NumPy alone, for image files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Largest size of a painted point, pixels.
_LARGEST = 7


@dataclass(frozen=True)
class View:
    """A viewpoint in the camera's optical frame (x right, y down, z forward).

    Attributes:
        eye: position, metres.
        target: point in the middle of the picture, metres.
        fov_deg: vertical field of view, degrees.
    """

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    fov_deg: float = 50.0

    @classmethod
    def around(
        cls, target: tuple[float, float, float], distance: float, yaw_deg: float, down_deg: float
    ) -> View:
        """Return a view at a distance from the target, turned to the right and looking down."""
        yaw, down = math.radians(yaw_deg), math.radians(down_deg)
        x, y, z = target
        return cls(
            (
                x - distance * math.sin(yaw) * math.cos(down),
                y - distance * math.sin(down),
                z - distance * math.cos(yaw) * math.cos(down),
            ),
            target,
        )


def middle_view(points: NDArray[np.float32], yaw_deg: float = 14.0, down_deg: float = 10.0) -> View:
    """Return a view of a camera's points from behind, next to and above the camera."""
    depth = float(np.median(points[:, 2])) if len(points) else 1.0
    return View.around((0.0, 0.0, depth), 1.6 * depth, yaw_deg, down_deg)


def draw_points(
    points: NDArray[np.floating],
    colours: NDArray[np.uint8],
    view: View,
    width: int,
    height: int,
    spacing: float,
    background: int = 24,
) -> NDArray[np.uint8]:
    """Draw the points from a viewpoint.

    Args:
        points: (N, 3), metres; those that are not finite are left out.
        colours: uint8 (N, 3).
        view: the viewpoint.
        width: width of the picture, pixels.
        height: height of the picture, pixels.
        spacing: metres between two points at one metre from the camera: each is painted so large
            that no gaps show.
        background: grey level.

    Returns:
        uint8 (height, width, 3), channels as those of the colours.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.perspective import draw_points, middle_view
        >>> points = np.array([[0.0, 0.0, 2.0]], np.float32)
        >>> red = np.array([[255, 0, 0]], np.uint8)
        >>> picture = draw_points(points, red, middle_view(points), 64, 48, spacing=0.01)
        >>> picture.shape, bool((picture == red[0]).all(-1).any())
        ((48, 64, 3), True)
    """
    picture = np.full((height * width, 3), background, np.uint8)
    kept = np.isfinite(points).all(axis=1)
    points, colours = np.asarray(points[kept], np.float64), colours[kept]
    seen = (points - view.eye) @ _axes(view).T
    in_front = seen[:, 2] > 0.05
    seen, colours, far = seen[in_front], colours[in_front], np.abs(points[in_front, 2])
    focal = height / 2 / math.tan(math.radians(view.fov_deg) / 2)
    column = np.rint(focal * seen[:, 0] / seen[:, 2] + width / 2).astype(int)
    row = np.rint(focal * seen[:, 1] / seen[:, 2] + height / 2).astype(int)
    size = np.clip(np.ceil(1.8 * focal * spacing * far / seen[:, 2]), 1, _LARGEST).astype(int)
    order = np.argsort(-seen[:, 2])  # paint the nearest points last
    column, row, size, colours = (values[order] for values in (column, row, size, colours))
    places, owners = _painted(column, row, size, width, height)
    picture[places] = colours[owners]
    return picture.reshape(height, width, 3)


def _axes(view: View) -> NDArray[np.float64]:
    """Return the viewer's directions right, down and forward as rows."""
    forward = np.subtract(view.target, view.eye).astype(float)
    forward /= np.linalg.norm(forward) or 1.0
    right = np.cross((0.0, 1.0, 0.0), forward)
    if np.linalg.norm(right) < 1e-6:  # straight down or up: ahead is at the picture's top
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _painted(
    column: NDArray[Any], row: NDArray[Any], size: NDArray[Any], width: int, height: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels that each point covers, and the point of each, in the points' order."""
    places, owners = [], []
    for dy in range(_LARGEST):
        for dx in range(_LARGEST):
            owner = np.flatnonzero(size > max(dx, dy))
            x = column[owner] + dx - size[owner] // 2
            y = row[owner] + dy - size[owner] // 2
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            places.append((y * width + x)[inside])
            owners.append(owner[inside])
    place, owner = np.concatenate(places), np.concatenate(owners)
    order = np.argsort(owner, kind='stable')
    return place[order], owner[order]
