# SPDX-License-Identifier: Apache-2.0
"""Fit a smooth field of corrections to a few anchors by robust regression, and evaluate it.

The correction log(true / predicted depth) is modelled as a Gaussian process over
f = (log depth, u, v), with u and v as fractions of the image's width and height (Rasmussen and
Williams, 2006, 2.2). Its mean is the median of the anchors' corrections. Its deviation from the
mean is the sum of a factor for the whole image, a slope in log depth, and a smooth rest that
vanishes away from the anchors. Iteratively reweighted least squares with Huber's weights reduces
the weight of wrong anchors.

An image has too many pixels to evaluate a kernel at each. The field is evaluated at the tiles of a
coarse grid, for several depths. Each tile gets a parabola in log depth that equals the field at the
smallest, the middle and the largest depth in and next to the tile. The parabolas are interpolated
between tiles. So each side of an edge gets the correction for its own depth. In an image wider than
_WIDTH the parabolas are evaluated at every second pixel, or third, and so on, as fine as a network
sees; the factors, not the depths, are interpolated between these pixels.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor, like, namespace
from depth_perception.depth.by_numpy import bands, by_numpy

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Standard deviations of the parts of the log correction: smooth rest, factor, and slope in log
#: depth. docs/anchors.md has the measurements.
SMOOTH, FACTOR, SLOPE = 0.15, 0.3, 0.1
#: Length scales of the smooth rest: in log depth, and as fractions of the image's width and height.
LENGTHS = (0.5, 0.3, 0.3)
#: Standard deviation of the log ratio of an anchor's distance to the depth at its position.
NOISE = 0.08
#: No depth is corrected by more than the factor exp(LIMIT), 3.3.
LIMIT = 1.2
#: Deviation above which an anchor loses weight, in standard deviations; largest number of rounds.
HUBER, ROUNDS = 1.5, 6
#: The rounds end when no weight changes by more than this.
SETTLED = 0.01
#: Number of tiles along the image's longer side, and of depths at which the field is evaluated.
TILES, NODES = 40, 24
#: Number of depth samples along each side of a tile.
_LOOKS = 3
#: Pixels: least length of the longer side at which corrections are evaluated. On real pictures of
#: 640x480, 99 % of the depths differ by less than 1 % from corrections of every pixel, AbsRel by
#: 0.0001.
_WIDTH = 320
#: Log depth: smallest range of the three points of a tile's parabola.
_LEAST_RANGE = 0.2


@dataclass(frozen=True, eq=False)
class ResidualField:
    """Log corrections as a function of log depth and the position in the image.

    Attributes:
        features: float64 (n, 3) of the anchors: log depth minus `centre`, u / width, v / height.
        weights: float64 (n,), of the anchors' kernels in the field.
        level: mean log correction, to which the kernels are added.
        centre: log depth at which the slope adds nothing.
        limits: depths between which the field varies, metres; it is constant beyond them.
    """

    features: NDArray[np.float64]
    weights: NDArray[np.float64]
    level: float
    centre: float
    limits: tuple[float, float]

    def at(self, log_depth: NDArray[Any], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
        """Return log corrections (m,), without LIMIT, at log depths and positions.

        u and v are fractions of the image's width and height.
        """
        features = np.stack([np.asarray(log_depth) - self.centre, u, v], 1)
        return self.level + _kernel(features, self.features) @ self.weights

    def table(self, rows: int, columns: int, chosen: slice = slice(None)) -> NDArray[np.float32]:
        """Return log corrections (n, rows, columns) at the centres of tiles and at chosen `nodes`.

        The kernel is a product of one function per feature, so matrix products can compute it.
        """
        depths = self.nodes[chosen] - self.centre
        log_depth, u, v = (self.features[:, axis] for axis in range(3))
        by_depth = SMOOTH**2 * _bell(depths, log_depth, LENGTHS[0]) * self.weights
        by_row = _bell((np.arange(rows) + 0.5) / rows, v, LENGTHS[2]).astype(np.float32)
        by_column = _bell((np.arange(columns) + 0.5) / columns, u, LENGTHS[1]).astype(np.float32)
        by_both = by_depth.astype(np.float32)[:, None] * by_row
        level = (
            self.level
            + FACTOR**2 * self.weights.sum()
            + SLOPE**2 * depths * (self.weights @ log_depth)
        )
        places = by_both @ by_column.T  # a small one per node, see `_solved`
        return np.asarray(places + level.astype(np.float32)[:, None, None], np.float32)

    @property
    def nodes(self) -> NDArray[np.float64]:
        """Log depths (NODES,) at which the field is evaluated, between the limits."""
        least, most = np.log(self.limits).tolist()
        return np.linspace(least, most, NODES)


def fit_field(
    log_depth: NDArray[Any],
    u: NDArray[Any],
    v: NDArray[Any],
    correction: NDArray[Any],
    noise: NDArray[Any],
    limits: tuple[float, float],
) -> tuple[ResidualField, NDArray[np.float64], NDArray[np.float64]]:
    """Fit the field to anchors, and weigh each anchor by its agreement with the others.

    Args:
        log_depth: (n,), log of the predicted depth.
        u, v: (n,), positions as fractions of the image's width and height.
        correction: (n,), log(true / predicted depth).
        noise: (n,), standard deviations of the corrections.
        limits: depths between which the field varies, metres.

    Returns:
        The field, the residual of each correction (n,), and weights (n,) in (0, 1]: 1 for an
        anchor that agrees with the others.
    """
    centre = median(log_depth)
    features = np.stack([log_depth - centre, u, v], 1).astype(np.float64)
    covariance = _kernel(features, features)
    diagonal = np.arange(len(correction))
    level = median(correction)
    rest = correction - level
    # Start with low weights for anchors that differ from the common factor.
    belief = _belief(rest / noise)
    weights: NDArray[Any] = np.zeros(len(correction))
    left = weights
    for _ in range(ROUNDS):
        variance = noise**2 / belief
        system = covariance.copy()
        system[diagonal, diagonal] += variance
        weights = _solved(system, rest)
        left = variance * weights  # because (covariance + variance) weights = rest
        last, belief = belief, _belief(left / noise)
        if abs(belief - last).max() < SETTLED:
            break
    return ResidualField(features, weights, level, centre, limits), left, belief


def _solved(matrix: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Solve matrix x = values for x (n,); the matrix (n, n) is symmetric and positive definite.

    Works in two halves, by the Schur complement. BLAS splits larger matrices among threads, which
    wait for each other longer than the work takes: if other programs use the cores, 128 anchors
    take tens of milliseconds instead of a tenth of one.
    """
    half = len(values) // 2
    if half == 0:
        return np.linalg.solve(matrix, values)
    first, second = slice(None, half), slice(half, None)
    beside = matrix[first, second]
    both = np.linalg.solve(matrix[first, first], np.c_[beside, values[first]])
    complement = matrix[second, second] - beside.T @ both[:, :-1]
    later = np.linalg.solve(complement, values[second] - beside.T @ both[:, -1])
    return np.concatenate([both[:, -1] - both[:, :-1] @ later, later])


def _belief(deviation: NDArray[Any]) -> NDArray[np.float64]:
    """Return Huber's weights of deviations, given in standard deviations.

    If the deviations are larger than expected, their median sets the scale.
    """
    sizes = abs(deviation)
    scale = max(1.0, 1.4826 * median(sizes))
    belief: NDArray[np.float64] = np.minimum(1.0, HUBER * scale / np.maximum(sizes, 1e-9))
    return belief


def median(values: NDArray[Any]) -> float:
    """Return the upper median of one or more values, many times as fast as `numpy.median`."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _kernel(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return covariances (m, n) of the corrections at features (m, 3) and (n, 3)."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b. For small matrices only the exponential is expensive.
    a, b = first / LENGTHS, second / LENGTHS
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    bells: NDArray[np.float64] = np.exp(-0.5 * squares)
    bells *= SMOOTH**2
    bells += FACTOR**2 + SLOPE**2 * (first[:, :1] * second[:, 0])
    return bells


def _bell(first: NDArray[Any], second: NDArray[Any], length: float) -> NDArray[np.float64]:
    """Return exp(-((a - b) / length)^2 / 2) of all pairs, (m, n)."""
    bell: NDArray[np.float64] = np.exp(-0.5 * ((first[:, None] - second[None]) / length) ** 2)
    return bell


@by_numpy
def apply_field(depth: Array, field: ResidualField, strength: float = 1.0) -> Array:
    """Correct depth (H, W) by a field; values that are not finite are kept.

    Args:
        depth: metres, NaN and infinities allowed.
        field: of the corrections.
        strength: factor on the log corrections, in [0, 1].
    """
    if is_tensor(depth):
        return _apply_on_device(depth, field, strength)
    looked = _thinned(depth)
    logs, correction, part = _scratch.of(looked.shape)
    # Keeps NaN.
    np.clip(looked, *np.array(field.limits, np.float32), out=logs)
    cv2.log(logs, logs)
    offset, slope, bend = (strength * _curves(logs, field)).astype(np.float32)
    cv2.patchNaNs(logs, field.centre)  # the factor of an unknown depth reaches its neighbours
    cv2.resize(bend, logs.shape[::-1], correction)
    for curve in (slope, offset):
        correction *= logs
        correction += cv2.resize(curve, logs.shape[::-1], part)
    np.clip(correction, np.float32(-LIMIT), np.float32(LIMIT), out=correction)
    cv2.exp(correction, correction)
    if looked is depth:
        return np.asarray(depth * correction, np.float32)
    result = cv2.resize(correction, depth.shape[::-1])
    for rows in bands(*depth.shape):
        result[rows] *= depth[rows]
    return np.asarray(result, np.float32)


def _thinned(depth: Array) -> Array:
    """Return every n-th row and column of a depth image, so that _WIDTH or more remain."""
    step = max(1, max(depth.shape) // _WIDTH)
    return depth if step == 1 else depth[step // 2 :: step, step // 2 :: step]


class _Scratch(threading.local):
    """Images that a thread reuses for each frame, because new memory takes longer than the work.

    Only images of the last size are kept.
    """

    def __init__(self) -> None:
        self._images: tuple[NDArray[np.float32], ...] = (np.empty((0, 0), np.float32),)

    def of(self, shape: tuple[int, int]) -> tuple[NDArray[np.float32], ...]:
        """Return three images of this size with arbitrary contents."""
        if self._images[0].shape != shape:
            self._images = tuple(np.empty(shape, np.float32) for _ in range(3))
        return self._images


_scratch = _Scratch()


def _apply_on_device(depth: Tensor, field: ResidualField, strength: float) -> Tensor:
    """Compute `apply_field` on the depth's device, without waiting for the device."""
    from torch.nn import functional as F

    looked = _thinned(depth)
    logs = looked.float().clip(*field.limits).log()
    curves = (_curves(logs, field) * strength)[None]
    logs = logs.nan_to_num(field.centre)
    offset, slope, bend = F.interpolate(curves, tuple(logs.shape), mode='bilinear')[0]
    factor: Tensor = ((bend * logs + slope) * logs + offset).clip(-LIMIT, LIMIT).exp()
    if looked is not depth:
        factor = F.interpolate(factor[None, None], tuple(depth.shape), mode='bilinear')[0, 0]
    return depth * factor


def _curves(logs: Array, field: ResidualField) -> Array:
    """Return (3, rows, columns): each tile's a, b, c of the correction a + b z + c z^2.

    z is the log depth.
    """
    least: Any
    most: Any
    least, most = _ranges_by_torch(logs) if is_tensor(logs) else _ranges(logs)
    middle, half = (most + least) / 2, (most - least).clip(_LEAST_RANGE, math.inf) / 2
    depths: Any = namespace(logs).stack([middle - half, middle, middle + half])
    below, here, above = _looked_up(field, depths)
    slope, bend = (above - below) / (2 * half), ((above + below) / 2 - here) / half**2
    return cast(
        Array,
        namespace(logs).stack(
            [here + (bend * middle - slope) * middle, slope - 2 * bend * middle, bend]
        ),
    )


def _looked_up(field: ResidualField, log_depth: Array) -> Array:
    """Return the field at log depths of tiles, both (n, rows, columns), by linear interpolation."""
    start, following = field.nodes[:2].tolist()
    place: Any = ((log_depth - start) / (following - start)).clip(0, NODES - 1)
    below: Any = place.clip(0, NODES - 2)
    _, rows, columns = log_depth.shape
    first, node, tile = 0, cast(Any, None), cast(Any, None)
    if is_tensor(log_depth):
        import torch

        below = below.floor()
        node, tile = below.long(), torch.arange(rows * columns, device=below.device)
        table: Any = like(field.table(rows, columns), log_depth)  # not to wait for the device
    else:
        below = np.floor(below)
        node, tile = below.astype(np.int64), np.arange(rows * columns)
        first = int(node.min())
        table = field.table(rows, columns, slice(first, int(node.max()) + 2))
    index = (node - first) * len(tile) + tile.reshape(rows, columns)
    values = table.reshape(-1)
    low, high = values[index], values[index + len(tile)]
    return cast(Array, low + (high - low) * (place - below))


def _ranges(logs: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the smallest and largest log depth in and next to each tile; 0 if there is none."""
    rows, columns = _looks(*logs.shape)
    seen = logs[rows][:, columns]
    unknown = np.isnan(seen)
    around = np.ones((3 * _LOOKS, 3 * _LOOKS), np.uint8)
    middles = slice(_LOOKS // 2, None, _LOOKS)
    least = cv2.erode(np.where(unknown, np.float32(np.inf), seen), around)[middles, middles]
    most = cv2.dilate(np.where(unknown, np.float32(-np.inf), seen), around)[middles, middles]
    known = least <= most
    return np.where(known, least, 0), np.where(known, most, 0)


def _ranges_by_torch(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `_ranges` with torch."""
    import torch
    from torch.nn import functional as F

    rows, columns = (torch.from_numpy(looks).to(logs.device) for looks in _looks(*logs.shape))
    seen = logs[rows][:, columns]
    unknown = seen.isnan()
    both = torch.stack([-seen, seen]).masked_fill(unknown, -math.inf)
    least, most = F.max_pool2d(both[None], 3 * _LOOKS, _LOOKS, _LOOKS)[0]
    known = -least <= most
    return (-least).masked_fill(~known, 0), most.masked_fill(~known, 0)


@functools.lru_cache(maxsize=16)
def _looks(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of an image at which depth is sampled: _LOOKS for each tile."""
    tile = max(1.0, max(height, width) / TILES)

    def looks(side: int) -> NDArray[np.int64]:
        count = _LOOKS * math.ceil(side / tile)
        return ((np.arange(count) + 0.5) * side / count).astype(np.int64)

    return looks(height), looks(width)
