# SPDX-License-Identifier: Apache-2.0
"""From a depth image to masks, points and a packed cloud; numpy and torch alike.

Every function takes a numpy array or a torch tensor on any device and returns the same kind, on
the same device; on a CPU numpy does the work (see `by_numpy`). Depth is along the optical axis, in
metres: NaN unknown, -Inf nearer than the sensor can see, +Inf farther (REP-117). The optical frame
has x right, y down, z forward (REP-103).
"""
from __future__ import annotations

import functools
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_perception.by_numpy import by_numpy
from depth_perception.camera import CameraModel

Array = TypeVar('Array', NDArray, Tensor)

#: Pixels: where an edge is blurred over more, its ramp is taken for a slanted surface.
WIDEST_BLUR = 4


@by_numpy
def mask_range(depth: Array, min_depth: float, max_depth: float) -> Array:
    """Depth (H, W) with -Inf below min_depth, +Inf above max_depth and NaN kept (REP-117).

    0 is too near whatever min_depth is: no surface lies in the camera itself.
    """
    # Every depth below a positive minimum includes 0.
    too_near = depth < min_depth if min_depth > 0 else depth <= 0
    inf = float('inf')
    return _filled(_filled(depth, too_near, -inf), depth > max_depth, inf)


@by_numpy
def mask_edges(depth: Array, threshold: float) -> Array:
    """Depth (H, W) with NaN at flying pixels, see `flying_pixels`; threshold 0 removes nothing."""
    if threshold <= 0:
        return depth
    return mask(depth, flying_pixels(depth, threshold) & _namespace(depth).isfinite(depth))


@by_numpy
def scaled(depth: Array, factor: float) -> Array:
    """Depth (H, W) times a factor."""
    return depth * factor


@by_numpy
def all_finite(depth: Array) -> Array:
    """Bool (), whether every depth is a number and none is infinite; waits for no device."""
    return _namespace(depth).isfinite(depth).all()


@by_numpy
def mask(depth: Array, unknown: Array) -> Array:
    """Depth (H, W) with NaN where the bool (H, W) says so."""
    return _filled(depth, unknown, float('nan'))


@by_numpy
def flying_pixels(depth: Array, threshold: float) -> Array:
    """Bool (H, W): the far side of each relative jump above threshold between two neighbours.

    The far side lies between the two surfaces when the edge is blurred, and the near side, which
    an obstacle scan must not lose, stays. A jump between two pixels of a row or column is
    |a - b| / min(a, b) less what a slanted plane would give: 1 / depth is linear on a plane, so its
    step is the same a few pixels before and after. A floor that is seen at a grazing angle is kept.
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        nearness = 1 / depth
        across = _transposed(_far_sides(_transposed(nearness), threshold))
        return _far_sides(nearness, threshold) | across


def _far_sides(nearness: Array, threshold: float) -> Array:
    """Bool (H, W): the far side of each jump between two neighbours in a column of 1 / depth."""
    xp = _namespace(nearness)
    first, second = nearness[:-1], nearness[1:]
    change = second - first
    # With unknown steps before the first and after the last.
    steps = xp.empty((len(change) + 2 * WIDEST_BLUR, change.shape[1]), dtype=nearness.dtype,
                     **_device(nearness))
    steps[:WIDEST_BLUR] = steps[-WIDEST_BLUR:] = float('nan')
    steps[WIDEST_BLUR:-WIDEST_BLUR] = xp.abs(change)
    plane = xp.fmin(steps[:-2 * WIDEST_BLUR], steps[2 * WIDEST_BLUR:])
    step = steps[WIDEST_BLUR:-WIDEST_BLUR]
    jump = step - plane > threshold * xp.minimum(first, second)
    far = xp.zeros_like(nearness, dtype=bool if xp is np else torch.bool)
    far[:-1] = jump & (change > 0)
    far[1:] |= jump & (change < 0)
    return far


def _transposed(image: Array) -> Array:
    """(H, W) -> (W, H), contiguous."""
    if isinstance(image, Tensor):
        return image.T.contiguous()
    # OpenCV's goes block by block: four times faster than a copy of numpy's view.
    return cv2.transpose(image.view(np.uint8) if image.dtype == bool else image).view(image.dtype)


@by_numpy
def back_project(depth: Array, camera: CameraModel, stride: int = 1) -> Array:
    """Points (ceil(H / stride), ceil(W / stride), 3) in the optical frame, NaN where unknown.

    x = (u - cx) z / fx, y = (v - cy) z / fy for every stride-th pixel (u, v) of depth (H, W).

    Raises:
        ValueError: the depth is not of the camera's size.
    """
    return _points(depth, camera, stride, 3)


@by_numpy
def pack_cloud(depth: Array, camera: CameraModel, rgb: Array | None = None,
               stride: int = 1) -> Array:
    """An organized cloud (h, w, 4) float32: x, y, z and the colour's bits (0 without rgb).

    The layout of sensor_msgs/PointCloud2 with point_step 16, as depth_image_proc writes it: the
    colour is 0x00RRGGBB reinterpreted as float32. Depth is (H, W), rgb uint8 (H, W, 3).
    """
    cloud = _points(depth, camera, stride, 4)
    if rgb is not None:
        # Little-endian, as the message says: blue first.
        bits = cloud.view(torch.uint8 if isinstance(cloud, Tensor) else np.uint8)
        for channel in range(3):
            bits[..., 14 - channel] = rgb[::stride, ::stride, channel]
    return cloud


def _points(depth: Array, camera: CameraModel, stride: int, channels: int) -> Array:
    """x, y, z and zeros of every stride-th pixel, (h, w, channels) float32."""
    _check_size(depth, camera)
    xp = _namespace(depth)
    z = depth[::stride, ::stride]
    z = mask(z, ~xp.isfinite(z))
    x, y = _rays(camera, stride, _place(depth))
    points = xp.zeros((*z.shape, channels), dtype=xp.float32, **_device(depth))
    points[..., 0] = z * x
    points[..., 1] = z * y
    points[..., 2] = z
    return points


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


def _filled(array: Array, where: Array, value: float) -> Array:
    """A copy with the value where the bool array says so."""
    if isinstance(array, Tensor):
        return array.masked_fill(where, value)
    filled = array.copy()
    # Where little is replaced, several times faster than np.where.
    np.copyto(filled, array.dtype.type(value), where=where)
    return filled
