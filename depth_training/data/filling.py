# SPDX-License-Identifier: Apache-2.0
"""Fill holes in depth by similar colours: colourisation (Levin et al. 2004).

As in NYU's toolbox (fill_depth_colorization.m); DenseDepth fills KITTI's sparse depth like this.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: The toolbox's constants: share of a window's variance, least weight of the most similar
#: neighbour, least variance, and weight of the known depth.
_SHARE, _LEAST_WEIGHT, _LEAST_VARIANCE, _KNOWN_WEIGHT = 0.6, 0.01, 2e-6, 1.0
_NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def filled(
    rgb: NDArray[np.uint8], depth: NDArray[np.float32], shrink: int = 1
) -> NDArray[np.float32]:
    """Return depth (H, W) in metres without holes; known depth is unchanged.

    Args:
        rgb: uint8 (H, W, 3).
        depth: metres (H, W), 0 = unknown.
        shrink: solve at the size divided by this; the time falls by more than its square.
    """
    if not (depth == 0).any() or not depth.any():
        return depth
    height, width = (max(side // shrink, 2) for side in depth.shape)
    grey = (
        cv2.resize(
            cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA
        ).astype(np.float64)
        / 255
    )
    solved = _solved(grey, _reduced(depth, height, width)).astype(np.float32)
    whole = cv2.resize(solved, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    known = depth[depth > 0]
    return np.where(depth > 0, depth, np.clip(whole, known.min(), known.max()))


def _reduced(depth: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """Return the mean of the known pixels in each new pixel; 0 if there are none."""
    rows = np.arange(depth.shape[0]) * height // depth.shape[0]
    columns = np.arange(depth.shape[1]) * width // depth.shape[1]
    cells = (rows[:, None] * width + columns).ravel()
    sums = np.bincount(cells, depth.ravel(), height * width)
    counts = np.bincount(cells, (depth > 0).ravel(), height * width)
    return (sums / np.maximum(counts, 1)).reshape(height, width)


def _solved(grey: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve for a depth in which neighbours of similar grey value have similar depth."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    count = depth.size
    weights, cells, inside = _weights(grey)
    own = np.broadcast_to(np.arange(count).reshape(depth.shape), weights.shape)
    alike = sparse.coo_matrix((weights[inside], (own[inside], cells[inside])), (count, count))
    known = (depth > 0).ravel() * _KNOWN_WEIGHT
    system = sparse.identity(count) + sparse.diags(known) - alike
    return spsolve(system.tocsc(), known * depth.ravel()).reshape(depth.shape)


def _weights(
    grey: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int_], NDArray[np.bool_]]:
    """Return weight and index of each of the 8 neighbours (8, H, W), and if it is in the image."""
    height, width = grey.shape
    around, places = np.pad(grey, 1, constant_values=np.nan), np.arange(grey.size)
    places = np.pad(places.reshape(grey.shape), 1)
    shifted = [np.s_[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in _NEIGHBOURS]
    values = np.stack([around[part] for part in shifted])
    differences = (values - grey) ** 2
    window = np.concatenate([values, grey[None]])
    variance = _SHARE * np.nanvar(window, axis=0)
    variance = np.maximum(variance, -np.nanmin(differences, axis=0) / np.log(_LEAST_WEIGHT))
    weights = np.exp(-differences / np.maximum(variance, _LEAST_VARIANCE))
    inside = np.isfinite(weights)
    weights = np.where(inside, weights, 0)
    return weights / weights.sum(axis=0), np.stack([places[part] for part in shifted]), inside
