# SPDX-License-Identifier: Apache-2.0
"""Compute an obstacle scan on the ground plane from a depth image, at any camera tilt.

The scan lies in the camera's level frame: origin at the camera, z up against gravity, x the
horizontal viewing direction of the camera, y left (REP-103). A beam is an azimuth there. It
contains all pixels whose ray has this azimuth; for a tilted camera these are not a column.

A pixel's ray is fixed, and so are the depths at which a point on it is above the floor, below the
upper limit and in range. `scan_layout` computes these once, `scan_ranges` compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.arrays import is_tensor, on_device
from depth_perception.depth.by_numpy import bands, by_numpy, fill

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Growth of the floor's tolerance in metres per metre of distance: a pitch error of 0.9 degrees
#: raises the floor by this much. With the default tolerance of 0.05 m, obstacles of 0.1 m are
#: detected up to 3 m away.
FLOOR_GROWTH = 0.015
#: A camera that looks closer to straight down or up than this (radians) has no forward direction.
STEEPEST = math.radians(80)
#: A beam is free if the camera sees along it up to this fraction of the scan's range.
_WHOLE = 0.999


class PoseError(ValueError):
    """No scan is possible with a camera pose; the message says why."""


@dataclass(frozen=True)
class CameraPose:
    """Orientation of a camera relative to level, and its height.

    Attributes:
        pitch: radians, positive looks down (REP-103: about the y axis, which points left).
        roll: radians about the viewing direction, positive raises the left side.
        height: metres above the floor; None if unknown.

    Examples:
        >>> import math
        >>> from depth_perception import CameraPose
        >>> pose = CameraPose(pitch=math.radians(15), height=0.4)  # 0.4 m above the floor
        >>> pose.is_level
        False
    """

    pitch: float = 0.0
    roll: float = 0.0
    height: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.pitch) and abs(self.pitch) <= STEEPEST):
            raise PoseError(
                f'the camera looks {math.degrees(self.pitch):.0f} degrees down; a scan needs '
                f'{-math.degrees(STEEPEST):.0f} to {math.degrees(STEEPEST):.0f}'
            )

    @classmethod
    def from_up(cls, up: Sequence[float], height: float | None = None) -> CameraPose:
        """Create a pose from the up direction, a unit vector in the camera's optical frame.

        Raises:
            PoseError: the camera looks straight down or up.

        Examples:
            >>> from depth_perception import CameraPose
            >>> CameraPose.from_up((0.0, -1.0, 0.0)).is_level  # y points down in the image
            True
        """
        x, y, z = up
        return cls(math.asin(max(-1.0, min(1.0, -z))), math.atan2(-x, -y), height)

    @property
    def is_level(self) -> bool:
        """Whether the camera is level."""
        return self.pitch == 0 and self.roll == 0

    def is_close(self, other: CameraPose) -> bool:
        """Return whether two poses differ by less than 0.06 degrees and 5 millimetres."""
        return (
            abs(self.pitch - other.pitch) < 1e-3
            and abs(self.roll - other.roll) < 1e-3
            and (self.height is None) == (other.height is None)
            and abs((self.height or 0) - (other.height or 0)) < 0.005
        )

    def level_frame_rotation(self) -> tuple[float, float, float, float]:
        """Return the level frame's rotation in the optical frame as a quaternion (x, y, z, w)."""
        cp, sp = math.cos(self.pitch / 2), math.sin(self.pitch / 2)
        cr, sr = math.cos(self.roll / 2), math.sin(self.roll / 2)
        # pitch * roll, then times (0.5, -0.5, 0.5, -0.5), which exchanges the axes; conjugated.
        x, y, z, w = cp * sr, sp * cr, -sp * sr, cp * cr
        return ((w - x + y + z) / 2, (z - w - x - y) / 2, (w - x - y - z) / 2, (w + x - y + z) / 2)

    def rotation(self) -> NDArray[np.float64]:
        """Return the (3, 3) rotation from the optical (z forward, y down) to the level frame."""
        cp, sp, cr, sr = (
            function(angle)
            for angle in (self.pitch, self.roll)
            for function in (math.cos, math.sin)
        )
        pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        body = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)
        rotation: NDArray[np.float64] = pitch @ roll @ body
        return rotation


LEVEL = CameraPose()


@dataclass(frozen=True)
class ObstacleBand:
    """The heights that count as obstacles.

    If the camera's height is known, everything above the floor is an obstacle, and `min_height` is
    not used. `max_height` is always relative to the camera.

    Attributes:
        min_height: lower limit, metres above the camera (down is negative).
        max_height: upper limit, metres above the camera.
        floor_tolerance: metres above the floor that still count as floor, at the camera; grows by
            FLOOR_GROWTH per metre of distance.

    Examples:
        >>> from depth_perception import ObstacleBand
        >>> ObstacleBand(max_height=0.5)  # the robot drives under higher objects
        ObstacleBand(min_height=-0.2, max_height=0.5, floor_tolerance=0.05)
    """

    min_height: float = -0.2
    max_height: float = 0.3
    floor_tolerance: float = 0.05


# Compared by identity: a tensor has no hash.
@dataclass(frozen=True, eq=False)
class ScanLayout:
    """The beams of a camera, and the depths at which its pixels show an obstacle.

    The arrays are NumPy arrays, or tensors on the device of the depth images.

    Attributes:
        angle_min: radians, positive to the left, of the first beam, the rightmost.
        angle_max: radians, of the last beam.
        angle_increment: radians between two beams.
        count: number of beams.
        range_max: metres; at most the distance up to which the camera sees the middle beam.
        least_distance: the smallest of `distance`.
        beam: int64 (H * W,), the beam of each pixel.
        by_beam: int64, the pixels (H * W,) sorted by beam; if every row has the same beams, as
            with a level camera, the columns (W,).
        begins: int64 (count + 1,), the index in by_beam at which each beam begins, and the end of
            the last one.
        distance: float32 (H, W), metres on the ground plane per metre of depth.
        nearest: float32 (H, W), the smallest depth at which a point is an obstacle.
        farthest: float32 (H, W), the largest depth at which a point is an obstacle.
        certain: depths between which a point of any pixel is an obstacle.
        in_range: float32 (W,), the depth at which a point of each column is range_max away, if
            every row has the same beams: `farthest` then excludes this limit. Otherwise None.
        sees_far: bool (count,), whether the camera sees along the beam as far as range_max.
    """

    angle_min: float
    angle_max: float
    angle_increment: float
    count: int
    range_max: float
    least_distance: float
    beam: Any
    by_beam: Any
    begins: Any
    distance: Any
    nearest: Any
    farthest: Any
    certain: tuple[float, float]
    in_range: Any
    sees_far: Any

    def range_min(self, min_depth: float) -> float:
        """Return the smallest range in metres of a point at min_depth along the optical axis."""
        return min_depth * self.least_distance


def scan_layout(
    camera: CameraModel,
    range_max: float,
    band: ObstacleBand = ObstacleBand(),
    pose: CameraPose = LEVEL,
    device: torch.device | str = 'cpu',
) -> ScanLayout:
    """Return the layout of a camera's scan; takes some ten milliseconds, so keep it.

    Args:
        camera: of the depth image.
        range_max: metres; farther points count as free.
        band: which heights are obstacles.
        pose: of the camera.
        device: where the depth images will be; for a CPU, the layout consists of NumPy arrays.

    Examples:
        >>> import math
        >>> from depth_perception import CameraModel, scan_layout
        >>> camera = CameraModel.from_field_of_view(64, 48, 60.0)
        >>> layout = scan_layout(camera, range_max=5.0)
        >>> layout.count, round(math.degrees(layout.angle_min)), layout.range_max
        (58, -30, 5.0)
    """
    device = 'numpy' if str(device) == 'cpu' else device
    forward, left, up = level_rays(camera, pose)
    angles = np.arctan2(left, forward)
    distance = np.hypot(forward, left)
    increment = _increment(angles, camera)
    angle_min = float(angles.min())
    beam = ((angles - angle_min) / increment + 0.5).astype(np.int64).reshape(-1)
    count = int(beam.max()) + 1
    nearest, farthest = _obstacle_depths(up, distance, band, pose.height)
    reach = _reach(nearest, farthest, distance, beam, count)
    if reach[count // 2] > 0:
        range_max = min(range_max, float(reach[count // 2]))
    by_beam, begins = _by_beam(beam.reshape(angles.shape), count)
    in_range = range_max / distance
    is_level = len(by_beam) < len(beam)
    if not is_level:
        farthest = np.minimum(farthest, in_range)
    return ScanLayout(
        angle_min,
        angle_min + (count - 1) * increment,
        increment,
        count,
        range_max,
        float(distance.min()),
        on_device(beam, device),
        on_device(by_beam, device),
        on_device(begins, device),
        distance=_thin(distance, device),
        nearest=_thin(nearest, device),
        farthest=_thin(farthest, device),
        certain=(float(nearest.max()), float(farthest.min())),
        in_range=on_device(in_range[0].astype(np.float32), device) if is_level else None,
        sees_far=on_device(reach >= range_max * _WHOLE, device),
    )


@by_numpy
def scan_ranges(depth: Array, layout: ScanLayout, min_depth: float) -> Array:
    """Return the ranges (count,) of the nearest obstacle in each beam.

    Args:
        depth: (H, W), an array, or a tensor on the layout's device: NaN unknown, +Inf too far.
            Depth below min_depth is used unchanged; -Inf (`geometry.mask_range`) counts as
            min_depth.
        layout: of the camera.
        min_depth: metres.

    Returns:
        Metres on the ground plane, at least `ScanLayout.range_min`: nearer obstacles get this
        range, because most programs do not treat REP-117's -Inf as an obstacle. +Inf if the beam is
        free. NaN if it is unknown: it has no obstacle, and either none of its pixels is known or
        they do not see as far as range_max.

    Raises:
        ValueError: the depth is not of the camera's size.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, mask_range, scan_layout, scan_ranges
        >>> camera = CameraModel.from_field_of_view(64, 48, 60.0)
        >>> layout = scan_layout(camera, range_max=5.0)
        >>> depth = np.full((48, 64), 2.0, np.float32)  # a wall, 2 m ahead
        >>> ranges = scan_ranges(mask_range(depth, 0.3, 10.0), layout, min_depth=0.3)
        >>> round(float(ranges[layout.count // 2]), 2)  # straight ahead
        2.0
        >>> round(float(ranges[0]), 2)  # at the right end of the image
        2.3
    """
    if tuple(depth.shape) != tuple(layout.distance.shape):
        height, width = layout.distance.shape
        raise ValueError(
            f'the depth is {tuple(depth.shape)}, the camera {height} rows x {width} columns'
        )
    if is_tensor(depth):
        ranges = _nearest_on_gpu(depth, layout, min_depth)
        unknown = (ranges == math.inf) & ~layout.sees_far
        # clamp keeps NaN.
        ranges = ranges.clamp(min=layout.range_min(min_depth))
        return ranges.masked_fill(unknown, math.nan)
    ranges = _nearest_on_cpu(depth, layout, min_depth)
    ranges[np.isposinf(ranges) & ~layout.sees_far] = np.nan
    np.maximum(ranges, layout.range_min(min_depth), out=ranges)  # keeps NaN
    return ranges


def _nearest_on_cpu(depth: NDArray[Any], layout: ScanLayout, min_depth: float) -> NDArray[Any]:
    """Return metres (count,) to the nearest obstacle; +Inf without obstacle, NaN if unknown.

    One thread processes all beams: reducing pixels that are sorted by beam takes a fraction of the
    time of a scatter operation.
    """
    if layout.in_range is None:
        values = _of_pixels(depth, layout, min_depth)
    else:
        values = _of_columns(depth, layout, layout.in_range, min_depth)
    by_beam, begins = layout.by_beam, layout.begins
    has_pixels = begins[1:] > begins[:-1]
    ranges = np.full(layout.count, np.nan, values.dtype)
    # fmin ignores NaN if there is another value.
    ranges[has_pixels] = np.fmin.reduceat(values.reshape(-1).take(by_beam), begins[:-1][has_pixels])
    return ranges


def _of_pixels(z: NDArray[Any], layout: ScanLayout, min_depth: float) -> NDArray[Any]:
    """Return metres (H, W) to each pixel's obstacle, +Inf without obstacle, NaN if unknown."""
    distance, nearest, farthest = layout.distance, layout.nearest, layout.farthest
    values = np.empty_like(z)
    for rows in bands(*z.shape):
        np.multiply(z[rows], distance[rows], out=values[rows])
        none = _is_no_obstacle(z[rows], nearest[rows], farthest[rows], layout.certain, min_depth)
        fill(values[rows], none, np.inf)
    return values


def _of_columns(
    z: NDArray[Any], layout: ScanLayout, in_range: NDArray[Any], min_depth: float
) -> NDArray[Any]:
    """Return the minimum of `_of_pixels` per column (W,), computed from its smallest depth."""
    nearest, farthest = layout.nearest, layout.farthest
    least = []
    for rows in bands(*z.shape):
        values = z[rows].copy()
        none = _is_no_obstacle(values, nearest[rows], farthest[rows], layout.certain, min_depth)
        fill(values, none, np.inf)
        least.append(np.fmin.reduce(values, axis=0))
    depth: NDArray[Any] = np.fmin.reduce(least)
    ranges: NDArray[Any] = depth * layout.distance[0]
    ranges[depth.clip(min_depth) > in_range] = np.inf
    return ranges


def _nearest_on_gpu(depth: Tensor, layout: ScanLayout, min_depth: float) -> Tensor:
    """Compute `_nearest_on_cpu` with one scatter operation."""
    import torch

    # For the minimum: NaN, which matters least, becomes infinity; free, the largest finite number.
    free = torch.finfo(depth.dtype).max
    no_obstacle = _is_no_obstacle(depth, layout.nearest, layout.farthest, layout.certain, min_depth)
    if layout.in_range is not None:
        no_obstacle = no_obstacle | (depth.clip(min_depth) > layout.in_range)
    values = (depth * layout.distance).masked_fill(no_obstacle, free)
    values = values.masked_fill(torch.isnan(depth), math.inf)
    ranges = values.new_full((layout.count,), math.inf).scatter_reduce(
        0, layout.beam, values.reshape(-1), 'amin'
    )
    ranges = ranges.masked_fill(ranges == math.inf, math.nan).masked_fill(ranges == free, math.inf)
    found: Tensor = ranges
    return found


def _is_no_obstacle(
    depth: Array, nearest: Array, farthest: Array, certain: tuple[float, float], min_depth: float
) -> Array:
    """Bool (H, W); False where the depth is NaN. -Inf stands at min_depth."""
    if certain[0] <= 0 and min_depth <= certain[1]:
        # The usual case: no depth is below `nearest`, and -Inf is an obstacle.
        return depth > farthest
    at_min_depth = (min_depth < nearest) | (min_depth > farthest)
    no_obstacle: Array = ((depth < nearest) | (depth > farthest)) & (
        (depth != -math.inf) | at_min_depth
    )
    return no_obstacle


def _thin(values: NDArray[Any], device: torch.device | str) -> Any:
    """Return the values (H, W) as float32 on the device.

    They are stored as a single row or column if all of them are equal.

    With a level camera most arrays are like this, and a scan reads less memory.
    """
    values = values.astype(np.float32)
    for one in (values[:1], values[:, :1]):
        if (values == one).all():
            thin = on_device(one.copy(), device)
            return (
                thin.expand(values.shape)
                if is_tensor(thin)
                else np.broadcast_to(thin, values.shape)
            )
    return on_device(values, device)


def level_rays(camera: CameraModel, pose: CameraPose) -> NDArray[np.float64]:
    """Return each pixel's ray at a depth of 1 in the level frame, (3, H, W) float64."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = ((np.arange(camera.height) - camera.cy) / camera.fy)[:, None]
    rows = [row[0] * x + row[1] * y + row[2] for row in pose.rotation()]
    return np.stack(rows)


def _increment(angles: NDArray[np.float64], camera: CameraModel) -> float:
    """Return the widest angle between neighbouring columns, so that every beam has a pixel.

    At most twice that of the level camera: near the nadir of a steep one the columns spread out,
    and coarse beams everywhere would be a high price for a few empty ones there.
    """
    if camera.width == 1:
        return 1e-3
    widest = float(abs(np.diff(angles, axis=1)).max())
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    increment = min(widest, 2 * float(abs(np.diff(np.arctan(x))).max()))
    # Limit the beams to a few per column, whatever the camera_info.
    increment = max(increment, float(angles.max() - angles.min()) / (4 * camera.width), 1e-6)
    # Slightly more, so that rounding cannot make two columns skip a beam.
    return increment * (1 + 1e-9)


def _by_beam(beam: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by_beam and begins of `ScanLayout` for the beams (H, W)."""
    beam = (beam[0] if (beam == beam[0]).all() else beam).reshape(-1)
    # NumPy's stable sort is fast for values that are mostly sorted.
    by_beam = np.argsort(beam, kind='stable')
    return by_beam, np.append(0, np.cumsum(np.bincount(beam, minlength=count)))


def _reach(
    nearest: NDArray[Any],
    farthest: NDArray[Any],
    distance: NDArray[Any],
    beam: NDArray[np.int64],
    count: int,
) -> NDArray[np.float64]:
    """Return metres (count,) up to which each beam's pixels would show an obstacle."""
    with np.errstate(invalid='ignore'):
        pixels = np.where(nearest <= farthest, farthest * distance, -math.inf)
    reach = np.full(count, -math.inf)
    np.maximum.at(reach, beam, pixels.reshape(-1))
    return reach


def _obstacle_depths(
    up: NDArray[Any], distance: NDArray[Any], band: ObstacleBand, height: float | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the depths (nearest, farthest) between which each pixel's point is in the band."""
    if height is None:
        above = _at_least(up, band.min_height)
    else:
        # height + up * depth >= floor_tolerance + FLOOR_GROWTH * distance * depth
        above = _at_least(up - FLOOR_GROWTH * distance, band.floor_tolerance - height)
    below = _at_least(-up, -band.max_height)
    return np.maximum(above[0], below[0]), np.minimum(above[1], below[1])


def _at_least(slope: NDArray[Any], limit: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the depths (from, to), not below 0, at which slope * depth >= limit."""
    with np.errstate(divide='ignore', invalid='ignore'):
        bound = limit / slope
    never = np.where(slope == 0, math.inf if limit > 0 else 0.0, 0.0)
    return np.where(slope > 0, bound, never), np.where(slope < 0, bound, math.inf)
