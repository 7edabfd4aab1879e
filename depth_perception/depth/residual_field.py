# SPDX-License-Identifier: Apache-2.0
"""Fit a smooth field of corrections to a few anchors by robust regression, and evaluate it.

The correction log(true / predicted depth) is modelled as a Gaussian process over
f = (log depth, u, v), with u and v as fractions of the image's width and height (Rasmussen and
Williams, 2006, 2.2). Its mean is the median of the anchors' corrections. Its deviation from the
mean is the sum of a factor for the whole image, a slope in log depth, and a smooth rest that
vanishes away from the anchors. Iteratively reweighted least squares with Huber's weights reduces
the weight of wrong anchors.

An image has too many pixels to evaluate a kernel at each. The kernel is a product of functions of
log depth, u and v. So each anchor's function of log depth is replaced by a polynomial, which makes
the whole field one polynomial in log depth, with coefficients that are smooth over the image. They
are computed at the tiles of a coarse grid and interpolated between them; the log depth is that of
the pixel, so each side of an edge gets the correction for its own depth. In an image wider than
twice _WIDTH the correction is computed at every second pixel, or third, and so on; the factors, not
the depths, are interpolated between these pixels.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor, like
from depth_perception.depth.by_numpy import bands, by_numpy

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Standard deviations of the parts of the log correction: smooth rest, factor, and slope in log
#: depth. docs/anchors.md has the measurements.
SMOOTH, FACTOR, SLOPE = 0.15, 0.3, 0.1
#: Length scales of the smooth rest: in log depth, and as fractions of the image's width and height.
LENGTHS = (0.5, 0.3, 0.3)
_SCALES = 1 / np.array(LENGTHS)[:, None]
#: Standard deviation of the log ratio of an anchor's distance to the depth at its position.
NOISE = 0.08
#: No depth is corrected by more than the factor exp(LIMIT), 3.3.
LIMIT = 1.2
#: Deviation above which an anchor loses weight, in standard deviations; largest number of rounds.
HUBER, ROUNDS = 1.5, 6
#: The rounds end when no weight changes by more than this.
SETTLED = 0.01
#: Number of tiles along the image's longer side.
TILES = 24
#: Log depth: the field varies up to this distance from the nearest and the farthest anchor.
REACH = 2 * LENGTHS[0]
#: Log depth: least half of the range of a polynomial.
_LEAST_HALF = 0.1
#: Largest degree of the polynomials in log depth.
_DEGREE = 14
#: Pixels: least length of the longer side at which corrections are evaluated. On real pictures of
#: 640x480, AbsRel differs by less than 0.0001 from twice this length.
_WIDTH = 160
#: Largest matrix that is inverted as a whole.
_WHOLE = 64


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

    def curves(self, rows: int, columns: int) -> Curves:
        """Return the log correction at the centres of tiles, as polynomials in log depth.

        The kernel is a product of one function per feature, so matrix products can compute it.
        """
        log_depth, u, v = self.features.T
        near, far = np.log(self.limits).tolist()
        near = max(near, float(log_depth.min()) + self.centre - REACH)
        far = max(near, min(far, float(log_depth.max()) + self.centre + REACH))
        middle, half = (far + near) / 2, max((far - near) / 2, _LEAST_HALF)
        places, polynomials = _interpolation(min(_DEGREE, math.ceil(2 * half / LENGTHS[0]) + 2))
        depths = middle + half * places - self.centre
        by_depth = polynomials @ (SMOOTH**2 * _bell(depths, log_depth, LENGTHS[0]) * self.weights)
        by_row = _bell(_centres(rows), v.astype(np.float32), LENGTHS[2])
        by_column = _bell(_centres(columns), u.astype(np.float32), LENGTHS[1])
        by_both = by_depth.astype(np.float32)[:, None] * by_row
        coefficients = by_both @ by_column.T  # a small product for each power, see `_inverse`
        slope = SLOPE**2 * float(self.weights @ log_depth)
        factor = FACTOR**2 * float(self.weights.sum())
        coefficients[0] += self.level + factor + slope * (middle - self.centre)
        coefficients[1] += slope * half
        return Curves(np.asarray(coefficients, np.float32), middle, half)


@dataclass(frozen=True, eq=False)
class Curves:
    """A field at tiles of an image, as polynomials in log depth.

    Attributes:
        coefficients: float32 (n, rows, columns) of the powers 0 to n - 1 of
            t = (log depth - middle) / half.
        middle: log depth.
        half: log depth; the polynomials are valid for t from -1 to 1.
    """

    coefficients: NDArray[np.float32]
    middle: float
    half: float

    @property
    def limits(self) -> tuple[float, float]:
        """The depths between which the polynomials are valid, metres."""
        return math.exp(self.middle - self.half), math.exp(self.middle + self.half)


@functools.lru_cache(maxsize=16)
def _centres(count: int) -> NDArray[np.float32]:
    """Return the centres of tiles as fractions of the image's side."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32)


@functools.lru_cache(maxsize=_DEGREE)
def _interpolation(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places (n,) in [-1, 1], and the matrix (n, n) from values there to coefficients.

    The places are Chebyshev's, for which the polynomial through the values is nearly the best one.
    """
    places = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    return places, np.linalg.inv(np.vander(places, increasing=True))


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
    features = np.empty((len(log_depth), 3))
    features[:, 0], features[:, 1], features[:, 2] = log_depth - centre, u, v
    variance = noise * noise
    system = _kernel(features, features)
    system.reshape(-1)[:: len(features) + 1] += variance
    inverse = _inverse(system)
    level = median(correction)
    rest = correction - level
    trusting = inverse @ rest
    # Start with low weights for anchors that differ from the common factor.
    belief = _belief(rest / noise)
    weights = left = trusting
    for _ in range(ROUNDS):
        weights = _reweighted(trusting, inverse, variance, belief)
        left = variance / belief * weights  # because (covariance + variance) weights = rest
        last, belief = belief, _belief(left / noise)
        if abs(belief - last).max() < SETTLED:
            break
    return ResidualField(features, weights, level, centre, limits), left, belief


def _reweighted(
    trusting: NDArray[Any], inverse: NDArray[Any], variance: NDArray[Any], belief: NDArray[Any]
) -> NDArray[np.float64]:
    """Solve (covariance + variance / belief) x = rest for x (n,), if most beliefs are 1.

    Args:
        trusting: (n,), the solution for beliefs of 1.
        inverse: (n, n), of covariance + variance.
        variance: (n,), on the diagonal.
        belief: (n,), in (0, 1].
    """
    doubted = np.flatnonzero(belief < 1)
    if not len(doubted):
        return np.asarray(trusting, np.float64)
    # The variance changes in a few places, so the inverse changes by a matrix of low rank
    # (Woodbury's identity).
    share = belief[doubted]
    rows = inverse[doubted]
    change = np.take(rows, doubted, 1)  # contiguous
    change.reshape(-1)[:: len(doubted) + 1] += share / (variance[doubted] * (1 - share))
    if len(doubted) > _WHOLE:
        solved = _inverse(change) @ trusting[doubted]
    else:
        solved = np.linalg.solve(change, trusting[doubted])
    return np.asarray(trusting - solved @ rows, np.float64)


def _inverse(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric positive definite matrix (n, n).

    Works in two halves, by the Schur complement. BLAS splits larger matrices among threads, which
    wait for each other longer than the work takes: if other programs use the cores, 128 anchors
    take tens of milliseconds instead of a tenth of one.
    """
    if len(matrix) <= _WHOLE:
        return np.asarray(np.linalg.inv(matrix), np.float64)
    half = len(matrix) // 2
    beside = matrix[:half, half:]
    first = _inverse(matrix[:half, :half])
    side = first @ beside
    second = _inverse(matrix[half:, half:] - beside.T @ side)
    corner = side @ second
    result = np.empty_like(matrix)
    result[:half, :half] = first + corner @ side.T
    result[half:, half:] = second
    np.negative(corner, out=result[:half, half:])
    result[half:, :half] = result[:half, half:].T
    return result


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
    middle, ordered = len(values) // 2, values.copy()
    ordered.partition(middle)
    return float(ordered[middle])


def _kernel(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return covariances (m, n) of the corrections at features (m, 3) and (n, 3)."""
    # -|a - b|^2 / 2 = a b - |a|^2 / 2 - |b|^2 / 2, as one product: passes over the result are
    # what is expensive.
    left, right = np.ones((5, len(first))), np.ones((5, len(second)))
    np.multiply(first.T, _SCALES, out=left[:3])
    np.multiply(second.T, _SCALES, out=right[:3])
    left[3] -= 0.5 * np.square(left[:3]).sum(0) + (1 - math.log(SMOOTH**2))
    right[4] = -0.5 * np.square(right[:3]).sum(0)
    bells: NDArray[np.float64] = left.T @ right
    np.exp(bells, out=bells)
    left[:2], right[0], right[1] = FACTOR**2, 1, second[:, 0]
    left[1] = SLOPE**2 * first[:, 0]
    bells += left[:2].T @ right[:2]
    return bells


def _bell(first: NDArray[Any], second: NDArray[Any], length: float) -> NDArray[Any]:
    """Return exp(-((a - b) / length)^2 / 2) of all pairs, (m, n)."""
    scale = math.sqrt(0.5) / length
    bell = np.subtract.outer(first * scale, second * scale)
    bell *= bell
    np.negative(bell, out=bell)
    return np.asarray(np.exp(bell, out=bell))


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
    place, correction, part = _scratch.of(looked.shape)
    curves = field.curves(*_tiles(*depth.shape))
    np.clip(looked, *np.array(curves.limits, np.float32), out=place)  # keeps NaN
    cv2.log(place, place)
    place -= np.float32(curves.middle)
    place *= np.float32(1 / curves.half)
    cv2.patchNaNs(place, 0.0)  # the factor of an unknown depth reaches its neighbours
    coefficients = np.float32(strength) * curves.coefficients[::-1]
    cv2.resize(coefficients[0], place.shape[::-1], correction)
    for coefficient in coefficients[1:]:
        correction *= place
        correction += cv2.resize(coefficient, place.shape[::-1], part)
    np.clip(correction, np.float32(-LIMIT), np.float32(LIMIT), out=correction)
    cv2.exp(correction, correction)
    if looked is depth:
        return np.asarray(depth * correction, np.float32)
    result = cv2.resize(correction, depth.shape[::-1])
    for rows in bands(*depth.shape):
        result[rows] *= depth[rows]
    return np.asarray(result, np.float32)


def _tiles(height: int, width: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of the tiles of an image."""
    longer = max(height, width)
    return math.ceil(TILES * height / longer), math.ceil(TILES * width / longer)


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
    curves = field.curves(*_tiles(*depth.shape))
    place = (looked.float().clip(*curves.limits).log() - curves.middle) / curves.half
    place = place.nan_to_num(0.0)
    coefficients = like(strength * curves.coefficients[::-1], depth)
    sized = F.interpolate(coefficients[None], tuple(looked.shape), mode='bilinear')[0]
    correction = sized[0]
    for coefficient in sized[1:]:
        correction = correction * place + coefficient
    factor: Tensor = correction.clip(-LIMIT, LIMIT).exp()
    if looked is not depth:
        factor = F.interpolate(factor[None, None], tuple(depth.shape), mode='bilinear')[0, 0]
    return depth * factor
