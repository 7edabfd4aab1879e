# SPDX-License-Identifier: Apache-2.0
"""From a depth image to masks, points and a packed cloud; numpy and torch alike.

Every function takes a numpy array or a torch tensor on any device and returns the same kind, on
the same device. Depth is along the optical axis, in metres: NaN unknown, -Inf nearer than the
sensor can see, +Inf farther (REP-117). The optical frame has x right, y down, z forward (REP-103).
"""
from __future__ import annotations

import functools
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_perception.camera import CameraModel

Array = TypeVar('Array', NDArray, Tensor)

#: Pixels: where an edge is blurred over more, its ramp is taken for a slanted surface.
WIDEST_BLUR = 4


def mask_range(depth: Array, min_depth: float, max_depth: float) -> Array:
    """Depth (H, W) with -Inf below min_depth, +Inf above max_depth and NaN kept (REP-117).

    0 is too near whatever min_depth is: no surface lies in the camera itself.
    """
    xp = _namespace(depth)
    inf = _scalar(depth, float('inf'))
    too_near = (depth < min_depth) | (depth <= 0)
    return xp.where(too_near, -inf, xp.where(depth > max_depth, inf, depth))


def mask_edges(depth: Array, threshold: float) -> Array:
    """Depth (H, W) with NaN at flying pixels, see `flying_pixels`; threshold 0 removes nothing."""
    if threshold <= 0:
        return depth
    xp = _namespace(depth)
    flying = flying_pixels(depth, threshold) & xp.isfinite(depth)
    return xp.where(flying, _scalar(depth, float('nan')), depth)


def flying_pixels(depth: Array, threshold: float) -> Array:
    """Bool (H, W): the far side of each relative jump above threshold between two neighbours.

    The far side lies between the two surfaces when the edge is blurred, and the near side, which
    an obstacle scan must not lose, stays. A jump between two pixels of a row or column is
    |a - b| / min(a, b) less what a slanted plane would give: 1 / depth is linear on a plane, so its
    step is the same a few pixels before and after. A floor that is seen at a grazing angle is kept.
    """
    xp = _namespace(depth)
    flying = xp.zeros_like(depth, dtype=bool if xp is np else torch.bool)
    with np.errstate(invalid='ignore', divide='ignore'):
        nearness = 1 / depth
        for lines, mark in ((nearness, flying), (nearness.T, flying.T)):
            first, second = lines[:-1], lines[1:]
            step = xp.abs(second - first)
            plane = xp.full_like(step, float('nan'))
            plane[WIDEST_BLUR:] = step[:-WIDEST_BLUR]
            plane[:-WIDEST_BLUR] = xp.fmin(plane[:-WIDEST_BLUR], step[WIDEST_BLUR:])
            jump = step - plane > threshold * xp.minimum(first, second)
            mark[:-1] |= jump & (first < second)
            mark[1:] |= jump & (second < first)
    return flying


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
