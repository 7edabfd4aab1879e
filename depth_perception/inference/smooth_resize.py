# SPDX-License-Identifier: Apache-2.0
"""Resize images on a CPU like PyTorch's antialiased bilinear interpolation, without PyTorch.

Each pixel of the result is a weighted mean of the pixels around its place. The weights are a
triangle whose half width is one pixel of the larger of both images. Pillow's `BILINEAR` and
`torch.nn.functional.interpolate(mode='bilinear', antialias=True)` are the same up to rounding; at
exactly half the size the pixels at the border have slightly other weights.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

#: (height, width) of an image.
Size = tuple[int, int]
#: Rows, and columns, of the result that are computed by one matrix product. The product of a wider
#: block has more zeros; that of a narrower one is too small for a fast one.
_ROWS, _COLUMNS = 8, 16
#: Times 1 / 4, and with the mean of two pixels after it, it is the triangle's (1, 3, 3, 1) / 8.
_PART = np.array([1, 2, 1], np.float32)
_Block = tuple[slice, slice, NDArray[np.float32]]


def smoothly_resized(image: NDArray[np.uint8], size: Size) -> NDArray[np.float32]:
    """Resize an image uint8 (H, W, 3) to (height, width); return planes, float32 (3, h, w).

    Examples:
        >>> import numpy as np
        >>> from depth_perception.inference.smooth_resize import smoothly_resized
        >>> image = np.full((480, 640, 3), (10, 20, 30), np.uint8)
        >>> planes = smoothly_resized(image, (208, 368))
        >>> planes.shape, [round(float(plane.mean())) for plane in planes]
        ((3, 208, 368), [10, 20, 30])
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return _planes(image, size)
    if (height, width) == (2 * size[0], 2 * size[1]):  # the usual case has a faster way
        blurred = cv2.sepFilter2D(image, cv2.CV_16S, _PART, _PART)  # at most 16 * 255
        planes = _planes(cv2.resize(blurred, size[::-1], interpolation=cv2.INTER_AREA), size)
        planes /= 16
        return planes
    flat = image.reshape(height, width * 3)
    rows = np.empty((size[0], width, 3), np.float32)
    for to, of, weights in _blocks(height, size[0], _ROWS):
        np.matmul(weights, flat[of].astype(np.float32), out=rows.reshape(size[0], -1)[to])
    planes = _planes(rows, (size[0], width)).reshape(3 * size[0], width)
    resized = np.empty((3 * size[0], size[1]), np.float32)
    for to, of, weights in _blocks(width, size[1], _COLUMNS):
        np.matmul(planes[:, of], weights.T, out=resized[:, to])
    return resized.reshape(3, *size)


def _planes(image: NDArray[np.generic], size: Size) -> NDArray[np.float32]:
    """Return the channels of an image (h, w, 3) as planes (3, h, w)."""
    planes = np.empty((3, *size), np.float32)
    for channel, plane in enumerate(planes):
        plane[...] = cv2.extractChannel(image, channel)
    return planes


@functools.lru_cache(maxsize=32)
def _blocks(length: int, wanted: int, count: int) -> tuple[_Block, ...]:
    """Return (places in the result, places in the image, weights) of blocks of the result.

    Args:
        length: of the image along one axis, pixels.
        wanted: of the result.
        count: largest number of the result's pixels in a block.
    """
    step = length / wanted
    reach = max(step, 1.0)
    weights = np.zeros((wanted, length), np.float32)
    for place in range(wanted):
        middle = step * (place + 0.5)
        first, end = max(0, int(middle - reach + 0.5)), min(length, int(middle + reach + 0.5))
        triangle = 1 - abs(np.arange(first, end) - middle + 0.5) / reach
        weights[place, first:end] = triangle / triangle.sum()
    blocks = []
    for number in range(math.ceil(wanted / count)):
        to = slice(number * count, min(wanted, (number + 1) * count))
        used = np.flatnonzero(weights[to].any(0))
        of = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((to, of, np.ascontiguousarray(weights[to, of])))
    return tuple(blocks)
