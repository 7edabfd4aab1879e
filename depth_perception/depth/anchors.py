# SPDX-License-Identifier: Apache-2.0
"""Anchored depth: correct a whole depth image with a few true distances from other sensors.

A network is good at shape and poor at scale. An anchor is a pixel whose true depth is known. A
smooth field over the image and over depth (`residual_field`) is fitted to the anchors' log ratios
log(true / predicted depth), and corrects every pixel. docs/anchors.md has the measured gains.

An anchor is used only if the depth around it is in range and smooth: next to an edge, an error of
one pixel is an error of metres. Anchors that contradict the others lose their weight.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor
from depth_perception.depth.residual_field import (
    LIMIT,
    NOISE,
    ResidualField,
    apply_field,
    fit_field,
    median,
)

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Largest number of anchors in a field: the work grows with their square and cube.
MOST_ANCHORS = 128
#: Largest number of anchors that are compared; the anchors of the field are selected from them.
_MOST_COMPARED = 512
#: Metres: if half of the anchors are farther, they have another unit.
FARTHEST = 100.0
#: Smallest number of anchors in a field: among fewer, a wrong one cannot be detected.
LEAST_ANCHORS = 4
#: Log depth: a larger variation of the depth around an anchor means an edge.
SPREAD_LIMIT = 0.3
#: Fraction of the variation around an anchor that is added to its noise, in quadrature.
SPREAD_NOISE = 0.3
#: Depth is sampled at _LOOKS positions on each side of an anchor's centre (one if all anchors are
#: points), within the fraction _WITHIN of its radius, or _POINT of the image's longer side if that
#: is larger.
_LOOKS, _WITHIN, _POINT = 2, 0.8, 1 / 160
_REACHES = np.linspace(-1, 1, 2 * _LOOKS + 1)[:, None]
#: An anchor agrees with the others if it keeps at least this fraction of its weight.
_AGREES = 0.5
#: Log depth: if the anchors' median residual after the correction is larger than this, or fewer
#: than half of them agree, their positions in the image are probably wrong, not the depth.
RESIDUAL_LIMIT = 0.2
#: Limits of `AnchorReport.scatter` after JUDGED_FRAMES frames: in log depth, and as a multiple of
#: `AnchorReport.variation`. Above both, the predicted depth is no better than the same depth
#: everywhere, so the sensor probably does not measure what the image shows. docs/anchors.md has the
#: measurements.
SCATTER_LIMIT, SCATTER_FACTOR, JUDGED_FRAMES = 0.14, 1.25, 10
#: Number of frames over which scatter and variation are averaged.
_FRAMES = 30
#: Cells of the image, (rows, columns), among which the selected anchors are distributed evenly.
_CELLS = (12, 16)
#: Golden ratio: its multiples modulo 1 fill the unit interval evenly.
_GOLDEN = (math.sqrt(5) - 1) / 2


class AnchorError(ValueError):
    """The anchors cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """Positions in an image and their true depth.

    Attributes:
        u: columns (n,), float64; (0, 0) is the centre of the top left pixel. Anchors outside the
            image are not used.
        v: rows (n,), float64.
        depth: metres along the optical axis (n,), float64. Values that are not finite or not
            positive are not used.
        radius: pixels (n,), of the area over which a sensor averages; 0 is a point.
        weight: (n,), 1 for an independent anchor, 1 / 8 for each of eight with a common error.

    Examples:
        >>> from depth_perception import Anchors
        >>> anchors = Anchors.of(u=[160, 200], v=[120, 120], depth=[2.0, 2.1])
        >>> len(anchors), len(Anchors.joined([anchors, anchors]))
        (2, 4)
    """

    u: NDArray[np.float64]
    v: NDArray[np.float64]
    depth: NDArray[np.float64]
    radius: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        u: Sequence[float] | NDArray[Any] = (),
        v: Sequence[float] | NDArray[Any] = (),
        depth: Sequence[float] | NDArray[Any] = (),
        radius: float | NDArray[Any] = 0.0,
        weight: float | NDArray[Any] = 1.0,
    ) -> Anchors:
        """Create anchors from sequences of equal length; radius and weight may be single numbers.

        Raises:
            AnchorError: the lengths differ.
        """
        arrays = [np.atleast_1d(np.asarray(values, np.float64)) for values in (u, v, depth)]
        try:
            shape = arrays[0].shape
            arrays += [
                np.broadcast_to(np.asarray(values, np.float64), shape)
                for values in (radius, weight)
            ]
        except ValueError as error:
            raise AnchorError(
                f'radius and weight must be one, or one an anchor: {error}'
            ) from error
        if len(shape) != 1 or any(array.shape != shape for array in arrays):
            lengths = ', '.join(str(array.shape) for array in arrays[:3])
            raise AnchorError(f'u, v and depth must have one length, got {lengths}')
        return cls(*arrays)

    @classmethod
    def joined(cls, several: Sequence[Anchors]) -> Anchors:
        """Return all anchors of several objects, in order."""
        if not several:
            return cls.of()
        if len(several) == 1:
            return several[0]
        return cls(
            *(
                np.concatenate([getattr(one, name) for one in several])
                for name in ('u', 'v', 'depth', 'radius', 'weight')
            )
        )

    def __len__(self) -> int:
        return len(self.u)

    def where(self, chosen: NDArray[Any]) -> Anchors:
        """Return the anchors that a bool or index array selects."""
        return Anchors(
            self.u[chosen],
            self.v[chosen],
            self.depth[chosen],
            self.radius[chosen],
            self.weight[chosen],
        )

    def inside(self, height: int, width: int, limits: tuple[float, float]) -> Anchors:
        """Return the anchors inside an image of this size, with a depth between limits (metres)."""
        with np.errstate(invalid='ignore'):
            usable = (
                (self.u >= -0.5)
                & (self.u < width - 0.5)
                & (self.v >= -0.5)
                & (self.v < height - 0.5)
                & (self.depth >= limits[0])
                & (self.depth <= limits[1])
                & (self.radius >= 0)
                & (self.weight > 0)
            )
        return self if usable.all() else self.where(usable)

    def evenly(self, height: int, width: int, most: int) -> NDArray[np.intp]:
        """Return the indices of at most `most` anchors, distributed evenly over the image.

        Each cell of the image contributes one anchor, then each a second one, and so on. All
        anchors must be inside the image.
        """
        if len(self) <= most:
            return np.arange(len(self))
        return _Order(self, height, width).evenly(np.ones(len(self), bool), most)


class _Order:
    """The order in which anchors are selected, so that they are distributed evenly.

    Args:
        anchors: all inside an image.
        height: of the image.
        width: of the image.
    """

    def __init__(self, anchors: Anchors, height: int, width: int) -> None:
        order = _spread_out(len(anchors))
        rows, columns = _CELLS
        cell = ((anchors.v[order] + 0.5) / height * rows).astype(int) * columns + (
            (anchors.u[order] + 0.5) / width * columns
        ).astype(int)
        self._rank = np.argsort(cell, kind='stable')
        #: Indices of the anchors, cell by cell.
        self._by_cell = order[self._rank]
        cell = cell[self._rank]
        self._begin = np.searchsorted(cell, cell)

    def evenly(self, usable: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
        """Return the indices of at most `most` usable anchors, in their order."""
        usable = usable[self._by_cell]
        before: NDArray[np.intp] = np.cumsum(usable) - usable
        # The first of each cell, then the second of each cell, and so on.
        turn = (before - before[self._begin]) * len(usable) + self._rank
        turn[~usable] = len(usable) ** 2
        count = min(most, int(np.count_nonzero(usable)))
        first = turn.argpartition(min(count, len(turn) - 1))[:count]
        return np.sort(self._by_cell[first])


@functools.lru_cache(maxsize=_MOST_COMPARED)
def _spread_out(count: int) -> NDArray[np.intp]:
    """Return all indices in an order in which indices next to each other are far apart.

    A sensor's neighbouring anchors follow each other.
    """
    return np.argsort(np.arange(count) * _GOLDEN % 1)


@dataclass(frozen=True, eq=False)
class PreparedAnchors:
    """Anchors with everything that does not depend on the image's depth, see `prepare_anchors`.

    Attributes:
        offered: the anchors as given.
        size: (height, width) of the image.
        limits: depths between which anchors are used, metres.
        anchors: those that are compared if the depth around them allows it.
        pixels: int64 (k, n), flat indices of the pixels to look at around each anchor; the middle
            row is of the anchors themselves.
    """

    offered: Anchors
    size: tuple[int, int]
    limits: tuple[float, float]
    anchors: Anchors
    pixels: NDArray[np.int64]
    _order: _Order | None

    def select(self, usable: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the indices of MOST_ANCHORS usable anchors, distributed evenly; all if fewer."""
        if self._order is None:
            return np.flatnonzero(usable)
        return self._order.evenly(usable, MOST_ANCHORS)


def prepare_anchors(
    anchors: Anchors | PreparedAnchors, size: tuple[int, int], limits: tuple[float, float]
) -> PreparedAnchors:
    """Compute what does not depend on the depth of an image, for `anchor_depth`.

    So anchors that are used for several images of a camera are prepared once.

    Args:
        anchors: true depths; if they are already prepared for this image, they are returned.
        size: (height, width) of the image.
        limits: depths between which anchors are used, metres.

    Raises:
        AnchorError: the limits are empty.

    Examples:
        >>> from depth_perception.depth.anchors import Anchors, prepare_anchors
        >>> anchors = Anchors.of(u=[160, 200, 700], v=[120, 120, 0], depth=[2.0, 2.1, 2.0])
        >>> prepared = prepare_anchors(anchors, (240, 320), (0.1, 10.0))
        >>> len(prepared.offered), len(prepared.anchors)
        (3, 2)
    """
    if not 0 < limits[0] < limits[1]:
        raise AnchorError(f'the range of depth {limits[0]:g} to {limits[1]:g} m is empty')
    if isinstance(anchors, PreparedAnchors):
        if (anchors.size, anchors.limits) == (size, limits):
            return anchors
        anchors = anchors.offered
    height, width = size
    inside = anchors.inside(height, width, limits)
    if len(inside) > _MOST_COMPARED:
        inside = inside.where(inside.evenly(height, width, _MOST_COMPARED))
    return PreparedAnchors(
        anchors,
        size,
        limits,
        inside,
        _looked_at(inside, height, width),
        _Order(inside, height, width) if len(inside) > MOST_ANCHORS else None,
    )


def _looked_at(anchors: Anchors, height: int, width: int) -> NDArray[np.int64]:
    """Return flat indices (k, n) of pixels around anchors; the middle row is their own."""
    radius = np.maximum(_WITHIN * anchors.radius, max(1.0, max(height, width) * _POINT))
    reach = _REACHES if (anchors.radius > 0).any() else _REACHES[:: len(_REACHES) // 2]
    seen = np.empty((2, len(reach), len(anchors)))
    np.add(anchors.v, radius * reach, out=seen[0])
    np.add(anchors.u, radius * reach, out=seen[1])
    np.rint(seen, out=seen)
    np.maximum(seen, 0, out=seen)
    np.minimum(seen, np.array([[[height - 1]], [[width - 1]]]), out=seen)
    rows, columns = seen.astype(np.int64)
    return (rows[:, None] * width + columns).reshape(len(reach) ** 2, len(anchors))


@dataclass(frozen=True)
class AnchorReport:
    """How a frame's anchors were used, and how well they fit.

    Attributes:
        offered: number of anchors given.
        compared: number of compared anchors: inside the image, in range and away from edges.
        used: number of anchors that agree with the field fitted to them.
        residual_before: median |log(true / predicted depth)| of the compared anchors, as the
            network predicted; 0 if none was compared.
        residual_after: the same after the correction.
        factor: median correction, corrected / predicted depth, of the compared anchors; 1 without
            a field.
        scatter: median deviation of log(true / predicted depth) from its median, for the compared
            anchors; averaged over the frames of a camera.
        variation: the same for log(true depth).
        frames: number of frames over which scatter and variation are averaged.
        middle: metres, median depth of the given anchors if too few can be compared, else 0.
        strength: 1 if these anchors corrected the depth, less while an earlier correction fades,
            0 if the depth was not corrected.

    Examples:
        >>> from depth_perception import AnchorReport
        >>> report = AnchorReport(offered=90, compared=64, used=10, residual_after=0.3)
        >>> report.problem.partition(';')[0]
        'after the correction the anchors are 35 % off, and 10 of 64 agree'
    """

    offered: int = 0
    compared: int = 0
    used: int = 0
    residual_before: float = 0.0
    residual_after: float = 0.0
    factor: float = 1.0
    scatter: float = 0.0
    variation: float = 0.0
    frames: int = 1
    strength: float = 0.0
    middle: float = 0.0

    @property
    def problem(self) -> str:
        """The reason why the anchors cannot be right, or ''."""
        if self.compared < LEAST_ANCHORS:
            if self.middle <= FARTHEST:
                return ''
            return (
                f'half of the anchors are farther than {self.middle:.0f} m; give metres, not '
                'centimetres or millimetres'
            )
        if self.used * 2 < self.compared or self.residual_after > RESIDUAL_LIMIT:
            off = 100 * math.expm1(self.residual_after)
            return (
                f'after the correction the anchors are {off:.0f} % off, and {self.used} of '
                f'{self.compared} agree; check the calibration and the frame of their sensor'
            )
        if self.frames >= JUDGED_FRAMES and self.scatter > max(
            SCATTER_LIMIT, SCATTER_FACTOR * self.variation
        ):
            off = 100 * math.expm1(self.scatter)
            return (
                f'the anchors do not fit the images: between them depth is off by {off:.0f} %, '
                'more than if it were the same everywhere; check the calibration and the frame '
                'of their sensor'
            )
        return ''


def anchor_depth(
    depth: Array,
    anchors: Anchors | PreparedAnchors,
    *,
    min_depth: float = 0.1,
    max_depth: float = 10.0,
) -> tuple[Array, AnchorReport]:
    """Correct depth by anchors; return it unchanged if there are too few.

    Args:
        depth: (H, W), metres, float32; NaN and infinities are kept. A NumPy array, or a tensor,
            which stays on its device.
        anchors: true depths; they may be prepared (`prepare_anchors`) for this image and range.
        min_depth: start of the network's range, metres: nearer anchors are not used.
        max_depth: end of the network's range, metres: farther anchors are not used.

    Returns:
        Metres (H, W), and the report on the anchors.

    Raises:
        AnchorError: the range is empty.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import Anchors, anchor_depth
        >>> depth = np.full((240, 320), 1.5, np.float32)        # what the network says of a wall
        >>> row = np.arange(0, 320, 10)
        >>> lidar = Anchors.of(row, np.full(32, 120), np.full(32, 2.1))  # which is 2.1 m away
        >>> corrected, report = anchor_depth(depth, lidar)
        >>> round(float(corrected[0, 0]), 2), report.used, round(report.factor, 2)
        (2.1, 32, 1.4)
    """
    field, report = fit_anchors(depth, anchors, (min_depth, max_depth))
    return (depth if field is None else apply_field(depth, field)), report


def fit_anchors(
    depth: Array, anchors: Anchors | PreparedAnchors, limits: tuple[float, float]
) -> tuple[ResidualField | None, AnchorReport]:
    """Return the field of corrections, None if there are too few anchors, and the report on them.

    A few thousand values of a tensor on a device are copied to the host.
    """
    height, width = depth.shape
    prepared = prepare_anchors(anchors, (height, width), limits)
    offered = len(prepared.offered)
    if len(prepared.anchors) < LEAST_ANCHORS:
        return None, AnchorReport(offered, middle=_middle(prepared.offered))
    seen = _taken(depth, prepared.pixels)
    nearest, farthest = seen.min(0), seen.max(0)
    # False for NaN.
    usable = (nearest >= limits[0]) & (farthest <= limits[1])
    usable &= farthest <= nearest * math.exp(SPREAD_LIMIT)
    fits = prepared.select(usable)
    if len(fits) < LEAST_ANCHORS:
        return None, AnchorReport(offered, len(fits), middle=_middle(prepared.offered))
    anchors = prepared.anchors.where(fits)
    log_depth = np.log(seen[len(seen) // 2, fits])
    averaged = anchors.radius > 0
    if averaged.any():
        log_depth[averaged] = np.log(seen[:, fits[averaged]]).mean(0)
    spread = np.log(farthest[fits] / nearest[fits])
    return _fitted(anchors, log_depth, spread, (height, width), limits, offered)


def _fitted(
    anchors: Anchors,
    log_depth: NDArray[Any],
    spread: NDArray[Any],
    size: tuple[int, int],
    limits: tuple[float, float],
    offered: int,
) -> tuple[ResidualField, AnchorReport]:
    """Return the field fitted to comparable anchors, and the report."""
    height, width = size
    u, v = (anchors.u + 0.5) / width, (anchors.v + 0.5) / height
    correction = np.log(anchors.depth) - log_depth
    noise = np.hypot(NOISE, SPREAD_NOISE * spread) / np.sqrt(anchors.weight)
    field, left, belief = fit_field(log_depth, u, v, correction, noise, limits)
    made = np.clip(correction - left, -LIMIT, LIMIT)
    return field, AnchorReport(
        offered,
        len(anchors),
        int(np.count_nonzero(belief >= _AGREES)),
        median(abs(correction)),
        median(abs(correction - made)),
        math.exp(median(made)),
        _spread(correction),
        _spread(np.log(anchors.depth)),
        strength=1.0,
    )


def _middle(anchors: Anchors) -> float:
    """Return the median depth of anchors, metres; 0 if there is none."""
    depth = anchors.depth[np.isfinite(anchors.depth)]
    return float(np.median(depth)) if len(depth) else 0.0


def _spread(values: NDArray[Any]) -> float:
    """Return the median of |value - median|."""
    return median(abs(values - median(values)))


def _taken(depth: Array, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the depths of some pixels, given by their flat indices, on the host."""
    if is_tensor(depth) and depth.device.type != 'cpu':
        import torch

        taken = depth.reshape(-1)[torch.from_numpy(index).to(depth.device)]
        return taken.cpu().numpy().astype(np.float64)
    # NumPy also for a tensor on a CPU: torch's threads would take longer.
    return np.asarray(depth).reshape(-1)[index].astype(np.float64)


def lattice(
    height: int, width: int, rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns (rows * columns,) of pixels on an even grid over an image."""
    row, column = (
        ((np.arange(count) + 0.5) * side / count).astype(np.int64)
        for count, side in ((rows, height), (columns, width))
    )
    return np.repeat(row, columns), np.tile(column, rows)


def pixels(
    depth: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the depths (n,) of some pixels of a depth image (H, W), on the host."""
    return _taken(depth, rows * depth.shape[1] + columns)


class AnchoredDepth:
    """Correct the frames of one camera; without anchors, the last correction fades.

    Args:
        hold: seconds in which the last correction fades to the plain prediction.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import AnchoredDepth, Anchors
        >>> depth = np.full((240, 320), 1.0, np.float32)
        >>> lidar = Anchors.of(range(0, 320, 10), np.full(32, 120), np.full(32, 2.0))
        >>> anchored = AnchoredDepth(hold=1.0)
        >>> for time, anchors in ((0.0, lidar), (0.5, Anchors.of()), (1.0, Anchors.of())):
        ...     corrected, report = anchored(depth, anchors, time)
        ...     print(round(float(corrected[120, 160]), 2), round(report.strength, 2))
        2.0 1.0
        1.41 0.5
        1.0 0.0
    """

    def __init__(self, hold: float = 1.0) -> None:
        self.hold = hold
        self._field: ResidualField | None = None
        self._time = 0.0
        self._spreads: deque[tuple[float, float]] = deque(maxlen=_FRAMES)

    def reset(self) -> None:
        """Forget the last correction and how well the anchors fitted."""
        self._field = None
        self._spreads.clear()

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last correction, for `remember`; empty if there is none."""
        field = self._field
        if field is None:
            return {}
        return {
            'features': field.features,
            'weights': field.weights,
            'scalars': np.array([field.level, field.centre, *field.limits, self._time]),
        }

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue with the correction of another object, see `memory`."""
        self.reset()
        if memory:
            level, centre, near, far, self._time = map(float, memory['scalars'])
            self._field = ResidualField(
                memory['features'], memory['weights'], level, centre, (near, far)
            )

    def __call__(
        self,
        depth: Array,
        anchors: Anchors | PreparedAnchors,
        time: float,
        min_depth: float = 0.1,
        max_depth: float = 10.0,
    ) -> tuple[Array, AnchorReport]:
        """Return the corrected depth of a frame, and the report on its anchors.

        Args:
            depth: as for `anchor_depth`.
            anchors: as for `anchor_depth`.
            min_depth: as for `anchor_depth`.
            max_depth: as for `anchor_depth`.
            time: of the frame, seconds. If it goes back, the last correction is forgotten.
        """
        field, report = fit_anchors(depth, anchors, (min_depth, max_depth))
        if field is not None:
            self._field, self._time = field, time
            return apply_field(depth, field), self._judged(report)
        strength = self._strength(time)
        if self._field is None or strength <= 0:
            self._field = None
            return depth, report
        return apply_field(depth, self._field, strength), AnchorReport(
            report.offered, report.compared, strength=strength, middle=report.middle
        )

    def _judged(self, report: AnchorReport) -> AnchorReport:
        """Return the report with scatter and variation averaged over the last frames."""
        self._spreads.append((report.scatter, report.variation))
        frames = len(self._spreads)
        scatter, variation = (math.fsum(each) / frames for each in zip(*self._spreads))
        # dataclasses.replace takes ten times as long.
        found = {**vars(report), 'scatter': scatter, 'variation': variation, 'frames': frames}
        return AnchorReport(**found)

    def _strength(self, time: float) -> float:
        """Return the remaining strength of the last correction, 0 to 1."""
        since = time - self._time
        if self._field is None or since < 0 or self.hold <= 0:
            return 0.0
        return max(0.0, 1 - since / self.hold)
