# SPDX-License-Identifier: Apache-2.0
"""Depth as a picture of fixed range: the same colour is the same distance in every frame."""
from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

#: Index 0 of the table is black, for the unknown; far to near runs over the rest.
_FARTHEST, _NEAREST = 1, 255


def colourise(depth: NDArray[np.float32], min_depth: float, max_depth: float) -> NDArray[np.uint8]:
    """Depth in colour, BGR (the order of `bgr8` and of OpenCV): near is red, far is blue.

    The colour map is turbo (Mikhailov 2019), over the square root of the distance into the range:
    half of the colours are for the nearest quarter, where a robot needs them. What is nearer than
    min_depth, -Inf too, has the colour of min_depth; what is farther than max_depth, +Inf too,
    that of max_depth; NaN is black.

    Args:
        depth: float32 (H, W), metres.
        min_depth, max_depth: metres, the ends of the range.

    Returns:
        uint8 (H, W, 3), blue, green, red.

    Raises:
        ValueError: max_depth is not above min_depth.
    """
    if not max_depth > min_depth:
        raise ValueError(f'max_depth {max_depth} is not above min_depth {min_depth}')
    span = max_depth - min_depth
    # In place from here on: a new array of this size costs as much as the arithmetic.
    level = np.multiply(depth, 1 / span, dtype=np.float32)
    level -= min_depth / span
    np.clip(level, 0, 1, out=level)
    np.sqrt(level, out=level)
    level *= _FARTHEST - _NEAREST
    level += _NEAREST + 0.5
    np.copyto(level, 0, where=np.isnan(level))
    return cv2.applyColorMap(level.astype(np.uint8), _table())


@functools.lru_cache(maxsize=1)
def _table() -> NDArray[np.uint8]:
    """uint8 (256, 1, 3): black, then turbo without its two darkest ends."""
    # Turbo's ends are so dark that they would read as black, which means unknown here.
    steps = np.linspace(20, 245, _NEAREST - _FARTHEST + 1).round().astype(np.uint8)
    colours = cv2.applyColorMap(steps[:, None], cv2.COLORMAP_TURBO)
    return np.concatenate([np.zeros((1, 1, 3), np.uint8), colours])
