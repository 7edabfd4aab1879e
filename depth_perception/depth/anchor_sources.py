# SPDX-License-Identifier: Apache-2.0
"""Convert measurements of a robot's sensors to anchors of a camera's image, without ROS.

A transform is a 4x4 matrix from the sensor's frame to the camera's optical frame (x right, y down,
z forward), at the time of the sensor's measurement. Sensor frames follow REP-103 and the sensors'
messages: a scan lies in its x-y plane, a range is measured along x.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors, lattice, pixels

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')
#: Rows (n,), columns (n,) and metres (n,) of pixels.
KnownPixels = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

#: Largest number of points of a cloud that are used.
MOST_POINTS = 5_000
#: A point is hidden from the camera if another point in its cell of the image is nearer by more
#: than the factor HIDDEN: sensors next to the camera see behind objects. The image's longer side
#: has _CELLS cells.
_CELLS, HIDDEN = 80, 1.15
#: A range is the distance to the nearest object in its cone. That object is at this percentile of
#: the predicted distances, because a few pixels may be wrong; it includes the pixels within the
#: factor _SAME of this distance.
NEAREST_PERCENTILE, _SAME = 10, 1.1
#: Largest number of anchors from one range.
RANGE_ANCHORS = 8
#: Grid of pixels, (rows, columns), at which a cone is sampled.
_LOOKS = (48, 64)


def scan_anchors(
    ranges: NDArray[Any],
    angle_min: float,
    angle_increment: float,
    transform: NDArray[Any],
    camera: CameraModel,
    range_min: float = 0.0,
    range_max: float = math.inf,
) -> Anchors:
    """Return the beams of a laser scan (sensor_msgs/LaserScan) as anchors of the image.

    Args:
        ranges: (n,), metres; values outside [range_min, range_max] and NaN are ignored.
        angle_min: radians, of the first beam.
        angle_increment: radians between two beams.
        transform: from the scanner's frame to the camera's optical frame.
        camera: of the image.
        range_min: metres, the smallest range that the sensor measures.
        range_max: metres, the largest.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, scan_anchors
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> beside = np.array([[0, -1, 0, 0.1], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        >>> anchors = scan_anchors(np.full(360, 2.0), -np.pi, np.pi / 180, beside, camera)
        >>> len(anchors), round(float(anchors.depth.max()), 2)
        (64, 2.0)
    """
    points = scan_points(ranges, angle_min, angle_increment, range_min, range_max)
    return point_anchors(points, transform, camera)


def scan_points(
    ranges: NDArray[Any],
    angle_min: float,
    angle_increment: float,
    range_min: float = 0.0,
    range_max: float = math.inf,
) -> NDArray[np.float64]:
    """Return the measured points (n, 3) of a laser scan in its frame; see `scan_anchors`."""
    ranges = np.asarray(ranges, np.float64)
    angles = angle_min + angle_increment * np.arange(len(ranges))
    with np.errstate(invalid='ignore'):
        measured = (ranges >= range_min) & (ranges <= range_max) & np.isfinite(ranges)
    ranges, angles = ranges[measured], angles[measured]
    points = np.zeros((len(ranges), 3))
    points[:, 0], points[:, 1] = ranges * np.cos(angles), ranges * np.sin(angles)
    return points


def point_anchors(
    points: NDArray[Any], transform: NDArray[Any], camera: CameraModel, radius_deg: float = 0.0
) -> Anchors:
    """Return points as anchors of the image, except points hidden from the camera by others.

    Args:
        points: (n, 3), metres in the sensor's frame; NaN is no point.
        transform: from the sensor's frame to the camera's optical frame.
        camera: of the image.
        radius_deg: half the angle over which the sensor averages, for example 2.8 for a sensor with
            8 x 8 zones over 45 degrees.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, point_anchors
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> points = np.array([[0.5, 0.0, 2.0], [0.5, 0.0, -2.0]])
        >>> anchors = point_anchors(points, np.eye(4), camera)
        >>> anchors.u, anchors.v, anchors.depth
        (array([224.5]), array([119.5]), array([2.]))
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    points = points[:: max(1, math.ceil(len(points) / MOST_POINTS))]
    rotation, offset = _parts(transform)
    with np.errstate(all='ignore'):  # points that are unknown, or not before the camera
        x, y, depth = rotation @ points.T + offset[:, None]
        u = camera.fx * x / depth + camera.cx
        v = camera.fy * y / depth + camera.cy
        inside = (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
        inside &= (depth > 0) & (depth < np.inf)
    u, v, depth = u[inside], v[inside], depth[inside]
    shown = _shown(u, v, depth, camera)
    u, v, depth = u[shown], v[shown], depth[shown]
    radius = math.tan(math.radians(radius_deg)) * camera.fx
    return Anchors(u, v, depth, np.full(len(u), radius), np.ones(len(u)))


def depth_anchors(
    depth: NDArray[Any], depth_camera: CameraModel, transform: NDArray[Any], camera: CameraModel
) -> Anchors:
    """Return the depth image of another camera as anchors of this camera's image.

    Args:
        depth: (h, w), metres along the other camera's axis; invalid if not finite or not positive.
        depth_camera: of the depth image.
        transform: from the optical frame of the depth camera to that of this camera.
        camera: of the image.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, depth_anchors
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> narrow = CameraModel(32, 24, fx=60.0, fy=60.0, cx=15.5, cy=11.5)
        >>> len(depth_anchors(np.full((24, 32), 2.0), narrow, np.eye(4), camera))
        768
    """
    known = known_pixels(np.asarray(depth))
    return pixel_anchors(known, depth_camera, transform, camera)


def pixel_anchors(
    known: KnownPixels, depth_camera: CameraModel, transform: NDArray[Any], camera: CameraModel
) -> Anchors:
    """Return known pixels of another camera as anchors, see `depth_anchors`."""
    rows, columns, z = known
    x = z * ((columns - depth_camera.cx) / depth_camera.fx)
    y = z * ((rows - depth_camera.cy) / depth_camera.fy)
    return point_anchors(np.stack([x, y, z], -1), transform, camera)


def known_pixels(depth: NDArray[Any]) -> KnownPixels:
    """Return rows, columns and metres of about `MOST_POINTS` known pixels, on a grid if dense."""
    stride = max(1, math.ceil(math.sqrt(depth.size / MOST_POINTS)))
    grid = depth[stride // 2 :: stride, stride // 2 :: stride]
    rows, columns = (stride // 2 + stride * index for index in np.nonzero(_is_known(grid)))
    if len(rows) < MOST_POINTS // 4:  # a grid may miss all of a sparse image, such as a lidar's
        known = np.flatnonzero(_is_known(depth))
        known = known[:: max(1, math.ceil(len(known) / MOST_POINTS))]
        rows, columns = np.unravel_index(known, depth.shape)
    return rows, columns, depth[rows, columns].astype(np.float64)


def _is_known(depth: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a distance is finite and positive."""
    known: NDArray[np.bool_] = np.isfinite(depth) & (depth > 0)
    return known


def range_anchors(
    distance: float,
    field_of_view: float,
    transform: NDArray[Any],
    camera: CameraModel,
    predicted: Array,
) -> Anchors:
    """Return a range (sensor_msgs/Range) as anchors on the nearest object in its cone.

    The predicted depth tells which pixels show this object: the ones whose distance from the sensor
    is close to a low percentile of all distances in the cone. They have a common error, so their
    weights add up to 1.

    Args:
        distance: metres from the sensor; invalid if not finite or not positive.
        field_of_view: radians, the full angle of the cone about the x axis of the sensor's frame.
        transform: from the sensor's frame to the camera's optical frame.
        camera: of the image.
        predicted: depth (H, W) of the image, not corrected; a NumPy array or a tensor on any
            device.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, range_anchors
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> same_place = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
        >>> anchors = range_anchors(2.0, 0.2, same_place, camera, np.full((240, 320), 2.8))
        >>> len(anchors), [round(float(depth), 1) for depth in anchors.depth[:2]]
        (8, [2.0, 2.0])
    """
    if not (math.isfinite(distance) and distance > 0):
        return Anchors.of()
    rotation, offset = _parts(transform)
    rows, columns = lattice(camera.height, camera.width, *_LOOKS)
    depth = pixels(predicted, rows, columns)
    rays = _rays(camera, rows, columns) @ rotation  # in the sensor's frame
    places = depth[:, None] * rays - offset @ rotation
    away = np.linalg.norm(places, axis=1)
    with np.errstate(invalid='ignore'):
        inside = (
            np.isfinite(depth)
            & (depth > 0)
            & (places[:, 0] >= away * math.cos(min(field_of_view / 2, math.pi / 2)))
        )
    if not inside.any():
        return Anchors.of()
    nearest = np.percentile(away[inside], NEAREST_PERCENTILE)
    same = np.flatnonzero(inside & (away <= nearest * _SAME) & (away * _SAME >= nearest))
    same = same[np.linspace(0, len(same) - 1, min(len(same), RANGE_ANCHORS)).round().astype(int)]
    # Keep the predicted ratios between the distances of these pixels.
    true = _along(rays[same], offset @ rotation, distance * away[same] / nearest)
    return Anchors.of(columns[same], rows[same], true, weight=1 / len(same))


def _along(rays: NDArray[Any], offset: NDArray[Any], distance: NDArray[Any]) -> NDArray[np.float64]:
    """Return depths (n,) at which points on rays (n, 3) are at distances (n,) from an offset (3,).

    NaN if there is no such point.
    """
    # The farther solution z of |z ray - offset|^2 = distance^2.
    a, b = (rays * rays).sum(1), rays @ offset
    inner = b * b - a * (offset @ offset - distance * distance)
    depths: NDArray[np.float64] = (b + np.sqrt(np.where(inner >= 0, inner, np.nan))) / a
    return depths


def _rays(camera: CameraModel, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float64]:
    """Return the points (n, 3) of pixels at a depth of 1, in the optical frame."""
    return np.stack(
        [(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(len(rows))], 1
    )


def _parts(transform: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rotation (3, 3) and offset (3,) of a 4x4 matrix."""
    transform = np.asarray(transform, np.float64)
    if transform.shape != (4, 4):
        raise ValueError(f'a transform is a 4x4 matrix, got {transform.shape}')
    return transform[:3, :3], transform[:3, 3]


def _shown(
    u: NDArray[Any], v: NDArray[Any], depth: NDArray[Any], camera: CameraModel
) -> NDArray[np.bool_]:
    """Return bools (n,), False for points behind a nearer point in the same cell of the image."""
    size = max(camera.width, camera.height) / _CELLS
    width = math.ceil(camera.width / size) + 1
    cell = ((v + 0.5) / size).astype(int) * width + ((u + 0.5) / size).astype(int)
    nearest = np.full(width * (math.ceil(camera.height / size) + 1), np.inf)
    np.minimum.at(nearest, cell, depth)
    shown: NDArray[np.bool_] = depth <= HIDDEN * nearest[cell]
    return shown
