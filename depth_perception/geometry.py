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
