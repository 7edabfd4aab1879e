# SPDX-License-Identifier: Apache-2.0
"""From a depth image to masks, points, a packed cloud and a scan; numpy and torch alike.

Every function takes a numpy array or a torch tensor on any device and returns the same kind, on
the same device. Depth is along the optical axis, in metres: NaN unknown, -Inf nearer than the
sensor can see, +Inf farther (REP-117). The optical frame has x right, y down, z forward (REP-103).
"""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_perception.camera import CameraModel

Array = TypeVar('Array', NDArray, Tensor)


def mask_range(depth: Array, min_depth: float, max_depth: float) -> Array:
    """Depth (H, W) with -Inf below min_depth, +Inf above max_depth and NaN kept (REP-117).

    0 is too near whatever min_depth is: no surface lies in the camera itself.
    """
    xp = _namespace(depth)
    inf = _scalar(depth, float('inf'))
    too_near = (depth < min_depth) | (depth <= 0)
    return xp.where(too_near, -inf, xp.where(depth > max_depth, inf, depth))


def mask_edges(depth: Array, threshold: float) -> Array:
    """Depth (H, W) with NaN at flying pixels: those next to a relative jump above threshold.

    A jump between two neighbours (4-neighbourhood) is |a - b| / min(a, b). The pixel on the far
    side is removed: it lies between the two surfaces when the edge is blurred, and the near side,
    which an obstacle scan must not lose, stays. Threshold 0 removes nothing.
    """
    if threshold <= 0:
        return depth
    xp = _namespace(depth)
    flying = xp.zeros_like(depth, dtype=bool if xp is np else torch.bool)
    with np.errstate(invalid='ignore'):
        for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            a, b = depth[first], depth[second]
            flying[first] |= a > b * (1 + threshold)
            flying[second] |= b > a * (1 + threshold)
    return xp.where(flying & xp.isfinite(depth), _scalar(depth, float('nan')), depth)


def back_project(depth: Array, camera: CameraModel, stride: int = 1) -> Array:
    """Points (ceil(H / stride), ceil(W / stride), 3) in the optical frame, NaN where unknown.

    x = (u - cx) z / fx, y = (v - cy) z / fy for every stride-th pixel (u, v) of depth (H, W).

    Raises:
        ValueError: the depth is not of the camera's size.
    """
    _check_size(depth, camera)
    xp = _namespace(depth)
    z = depth[::stride, ::stride]
    z = xp.where(xp.isfinite(z), z, _scalar(depth, float('nan')))
    x, y = _rays(camera, stride, _place(depth))
    axis = {'axis': -1} if xp is np else {'dim': -1}
    return xp.stack([z * x, z * y, z], **axis)


def pack_cloud(depth: Array, camera: CameraModel, rgb: Array | None = None,
               stride: int = 1) -> Array:
    """An organized cloud (h, w, 4) float32: x, y, z and the colour's bits (0 without rgb).

    The layout of sensor_msgs/PointCloud2 with point_step 16, as depth_image_proc writes it: the
    colour is 0x00RRGGBB reinterpreted as float32. Depth is (H, W), rgb uint8 (H, W, 3).
    """
    xp = _namespace(depth)
    points = back_project(depth, camera, stride)
    cloud = xp.empty((*points.shape[:2], 4), dtype=xp.float32, **_device(depth))
    cloud[..., :3] = points
    cloud[..., 3] = 0 if rgb is None else _packed_colour(rgb[::stride, ::stride])
    return cloud


def _packed_colour(rgb: Array) -> Array:
    """uint8 (h, w, 3) -> float32 (h, w) whose bits are 0x00RRGGBB."""
    xp = _namespace(rgb)
    wide = rgb.astype(np.int32) if xp is np else rgb.to(torch.int32)
    return ((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]).view(xp.float32)


# Compared by identity: scan_layout makes one a camera, and an array has no hash.
@dataclass(frozen=True, eq=False)
class ScanLayout:
    """How a camera's columns become the equal angles of a sensor_msgs/LaserScan.

    Angles are about the vertical axis of a frame with x forward, y left: positive to the left,
    so that the first beam is the image's last column.

    Attributes:
        angle_min, angle_max, angle_increment: radians.
        count: number of beams.
        beam_of_column: int64 (W,), the beam that a column falls into. The increment is the widest
            angle between two columns, so no beam is left without one.
    """

    angle_min: float
    angle_max: float
    angle_increment: float
    count: int
    beam_of_column: NDArray[np.int64]


@functools.lru_cache(maxsize=32)
def scan_layout(camera: CameraModel) -> ScanLayout:
    """The beams of a camera's scan."""
    angles = -np.arctan((np.arange(camera.width) - camera.cx) / camera.fx)
    increment = float(np.abs(np.diff(angles)).max()) if camera.width > 1 else 1e-3
    # A hair more than the widest gap, so that rounding cannot make two columns skip a beam.
    increment *= 1 + 1e-9
    beams = np.floor((angles - angles[-1]) / increment + 0.5).astype(np.int64)
    count = int(beams.max()) + 1
    angle_min = float(angles[-1])
    return ScanLayout(angle_min, angle_min + (count - 1) * increment, increment, count, beams)


def scan_ranges(depth: Array, camera: CameraModel, min_height: float, max_height: float,
                min_depth: float, range_max: float) -> Array:
    """Ranges (count,) of the nearest point in a height band, beam by beam of the scan's layout.

    Args:
        depth: (H, W), range-masked: NaN unknown, -Inf too near, +Inf too far.
        camera: of the depth image, taken as level.
        min_height, max_height: the band, metres above the camera (down is negative).
        min_depth: metres; where a too-near pixel is placed to tell whether it is in the band.
        range_max: metres; farther points count as free.

    Returns:
        Metres on the ground plane; +Inf where the beam is free, -Inf where an obstacle is too
        near, NaN where no pixel of the beam's columns is known (REP-117).

    Raises:
        ValueError: the depth is not of the camera's size.
    """
    _check_size(depth, camera)
    xp = _namespace(depth)
    x, y = _rays(camera, 1, _place(depth))
    inf = _scalar(depth, float('inf'))
    placed = xp.where(depth == -inf, _scalar(depth, min_depth), depth)
    with np.errstate(invalid='ignore'):  # Inf x 0 in the horizon's row: NaN, in no band
        height = placed * -y
    in_band = (height >= min_height) & (height <= max_height)
    distance = depth * xp.sqrt(1 + x * x)
    nearest = _amin(xp.where(in_band & (distance <= range_max), distance, inf), 0)
    known = (~xp.isnan(depth)).any(0)
    layout = scan_layout(camera)
    ranges = _reduce_columns(nearest, layout, 'amin')
    known = _reduce_columns(known * xp.ones_like(nearest), layout, 'amax') > 0
    return xp.where(known, ranges, _scalar(depth, float('nan')))


def _reduce_columns(values: Array, layout: ScanLayout, how: str) -> Array:
    """(W,) -> (count,): the smallest or largest value of each beam's columns."""
    if isinstance(values, Tensor):
        index = _beam_index(layout, values.device)
        start = float('inf') if how == 'amin' else float('-inf')
        result = values.new_full((layout.count,), start)
        return result.scatter_reduce(0, index, values, how)
    # Columns run from left to right, beams from right to left.
    beams = layout.beam_of_column[::-1]
    first_columns = np.flatnonzero(np.diff(beams, prepend=-1))
    reduce = np.minimum if how == 'amin' else np.maximum
    return reduce.reduceat(values[::-1], first_columns)


@functools.lru_cache(maxsize=32)
def _beam_index(layout: ScanLayout, device: torch.device) -> Tensor:
    return torch.from_numpy(layout.beam_of_column).to(device)


def _amin(values: Array, axis: int) -> Array:
    return values.amin(axis) if isinstance(values, Tensor) else values.min(axis)


@functools.lru_cache(maxsize=64)
def _rays(camera: CameraModel, stride: int, place: str | torch.device) -> tuple[Array, Array]:
    """(u - cx) / fx as a row (w,) and (v - cy) / fy as a column (h, 1), float32."""
    x = ((np.arange(0, camera.width, stride) - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(0, camera.height, stride) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    if place == 'numpy':
        return x, y
    return torch.from_numpy(x).to(place), torch.from_numpy(y).to(place)


def _check_size(depth: Array, camera: CameraModel) -> None:
    if tuple(depth.shape) != (camera.height, camera.width):
        raise ValueError(f'the depth is {tuple(depth.shape)}, '
                         f'the camera {camera.height} rows x {camera.width} columns')


def _namespace(array: Array):  # noqa: ANN202 - a module
    return torch if isinstance(array, Tensor) else np


def _place(array: Array) -> str | torch.device:
    return array.device if isinstance(array, Tensor) else 'numpy'


def _device(array: Array) -> dict[str, torch.device]:
    return {'device': array.device} if isinstance(array, Tensor) else {}


def _scalar(like: Array, value: float) -> Array:
    """A constant of the array's type, so that float32 stays float32."""
    if isinstance(like, Tensor):
        # Not torch.tensor: on a GPU that would wait for a copy from the host.
        return like.new_full((), value)
    return like.dtype.type(value)
