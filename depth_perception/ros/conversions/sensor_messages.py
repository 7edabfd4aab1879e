# SPDX-License-Identifier: Apache-2.0
"""Convert messages of other sensors to arrays: clouds, depth images, transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField

#: NumPy types of the fields of a cloud; types and units in metres of depth encodings.
_KINDS = {PointField.FLOAT32: 'f4', PointField.FLOAT64: 'f8'}
_DEPTHS = {'32FC1': ('f4', 1.0), '16UC1': ('u2', 0.001), 'mono16': ('u2', 0.001)}


class SensorError(ValueError):
    """A message cannot be used; the text says why."""


def cloud_points(message: PointCloud2, most: int | None = None) -> NDArray[np.float64]:
    """Return x, y and z of the points of a cloud, (n, 3), metres.

    Args:
        message: the cloud.
        most: if it has more points, every second is returned, or every third, and so on.

    Raises:
        SensorError: the cloud has no fields x, y and z, or too little data for its size.
    """
    fields = {field.name: field for field in message.fields}
    if any(name not in fields or fields[name].datatype not in _KINDS for name in 'xyz'):
        raise SensorError(
            'the cloud has no fields x, y and z of real numbers, it has '
            f'{", ".join(fields) or "none"}'
        )
    height, width = message.height, message.width
    data = np.asarray(message.data, np.uint8)
    if len(data) < _size(height, width * message.point_step, message.row_step):
        raise SensorError(
            f'the cloud has {len(data)} bytes, too few for {width}x{height} points '
            f'of {message.point_step}'
        )
    order = '>' if message.is_bigendian else '<'
    step = 1 if most is None else max(1, math.ceil(height * width / most))
    shape, strides = (height, width), (message.row_step, message.point_step)
    if height == 1 or message.row_step == width * message.point_step:
        shape, strides = (1, height * width), (0, message.point_step)
    axes = [
        _strided(data, fields[name].offset, order + _KINDS[fields[name].datatype], shape, strides)
        for name in 'xyz'
    ]
    points = np.empty((len(range(0, height * width, step)), 3))
    for axis, values in enumerate(axes):
        points[:, axis] = values.reshape(-1)[::step]
    return points


def depth_array(message: Image) -> NDArray[np.float32]:
    """Return the depth (h, w) in metres of a depth image (REP-118); 0 or NaN where unknown.

    Raises:
        SensorError: the image has another encoding, or too little data for its size.
    """
    if message.encoding not in _DEPTHS:
        raise SensorError(
            f'the depth image has the encoding {message.encoding!r}, it needs 32FC1 or 16UC1'
        )
    kind, metres = _DEPTHS[message.encoding]
    height, width, size = message.height, message.width, int(kind[1])
    data = np.asarray(message.data, np.uint8)
    if len(data) < _size(height, width * size, message.step):
        raise SensorError(f'the depth image has {len(data)} bytes, too few for {width}x{height}')
    order = '>' if message.is_bigendian else '<'
    values = _strided(data, 0, order + kind, (height, width), (message.step, size))
    return np.asarray(values, np.float32) * np.float32(metres)


def transform_matrix(transform: Transform) -> NDArray[np.float64]:
    """Return the 4x4 matrix that maps points from the child frame to the parent frame.

    Raises:
        SensorError: the quaternion is zero or not finite.
    """
    q, t = transform.rotation, transform.translation
    w, x, y, z = np.array([q.w, q.x, q.y, q.z])
    norm = w * w + x * x + y * y + z * z
    if not (np.isfinite(norm) and norm > 0):
        raise SensorError('the transform has no rotation: its quaternion is zero or not finite')
    s = 2 / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


def _size(height: int, row: int, step: int) -> int:
    """Return the bytes of an array of `height` rows of `row` bytes, `step` bytes apart."""
    return 0 if height == 0 else (height - 1) * step + row


def _strided(
    data: NDArray[np.uint8],
    offset: int,
    kind: str,
    shape: tuple[int, int],
    strides: tuple[int, int],
) -> NDArray[Any]:
    """Return a strided view of numbers in bytes; an empty array if the shape is empty."""
    if 0 in shape:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, data, offset, strides)
