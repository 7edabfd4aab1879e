# SPDX-License-Identifier: Apache-2.0
"""Convert relative depth or disparity of a network to metres: anchors give scale and shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.anchors import LEAST_ANCHORS, MOST_ANCHORS, Anchors, pixels
from depth_perception.depth.arrays import on_host

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

DISPARITY = 'relative_disparity'
#: Smallest ratio of the farthest to the nearest anchor (of the middle 80 %) for fitting a shift.
LEAST_RATIO = 1.3
#: Log depth: anchors with a smaller error have nearly full weight; with four times it, none.
_NOISE = 0.05
_ROUNDS = 10
#: Largest depth as a multiple of the network's range.
_FAR = 10
#: Quantiles of the pixels between which the colours of a preview lie.
_SHOWN = (0.02, 0.98)
#: Ratio of the farthest to the nearest colour of a preview without metres.
SHOWN_RATIO = 10.0


@dataclass(frozen=True)
class Relation:
    """Relation between a network's output and depth.

    Attributes:
        factor: depth = factor x output; for a disparity, 1 / depth = factor x output + shift.
        shift: 1 / metres; 0 for relative depth.
        of_disparity: whether the output is a disparity.
        used: number of anchors that agree with the relation.
        offered: number of anchors that could be compared.
    """

    factor: float
    shift: float = 0.0
    of_disparity: bool = True
    used: int = 0
    offered: int = 0

    def metres(self, output: Array, farthest: float) -> Array:
        """Return depth (H, W), at most ten times `farthest`, both in metres."""
        if not self.of_disparity:
            depth: Array = (output * self.factor).clip(0, _FAR * farthest)
            return depth
        inverse = (output * self.factor + self.shift).clip(1 / (_FAR * farthest), np.inf)
        depth = 1 / inverse
        return depth


def fit_relation(
    output: Array, anchors: Anchors, kind: str, limits: tuple[float, float]
) -> Relation | None:
    """Fit a relation between an output (H, W) and anchors; None if they are too few or unclear.

    Anchors that contradict the others have no weight, as long as they are fewer than a third.

    Args:
        output: of the network, on any device.
        anchors: true depths.
        kind: `relative_depth` or `relative_disparity`.
        limits: nearest and farthest depth of anchors that are used, metres.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import Anchors
        >>> from depth_perception.depth.relative import fit_relation
        >>> true = np.tile(np.linspace(1.0, 5.0, 64, dtype=np.float32), (48, 1))
        >>> output = (1 / true - 0.05) / 0.003       # a disparity of unknown scale and shift
        >>> u = np.arange(4, 60, 4)
        >>> relation = fit_relation(output, Anchors.of(u, np.full(14, 24), true[24, u]),
        ...                         'relative_disparity', (0.3, 10.0))
        >>> round(relation.factor, 4), round(relation.shift, 3)
        (0.003, 0.05)
    """
    height, width = output.shape
    anchors = anchors.inside(height, width, limits)
    if len(anchors) < LEAST_ANCHORS:
        return None
    anchors = anchors.where(anchors.evenly(height, width, MOST_ANCHORS))
    seen = pixels(
        output,
        np.rint(anchors.v).astype(np.int64).clip(0, height - 1),
        np.rint(anchors.u).astype(np.int64).clip(0, width - 1),
    )
    known = np.isfinite(seen)
    if kind != DISPARITY:
        known &= seen > 0
    if np.count_nonzero(known) < LEAST_ANCHORS:
        return None
    fit = _fit_disparity if kind == DISPARITY else _fit_depth
    return fit(seen[known], anchors.depth[known], anchors.weight[known])


def shown_relation(output: Array, kind: str, near: float) -> Relation:
    """Return a relation for colours only: depth between `near` and `SHOWN_RATIO` times `near`."""
    sampled = on_host(output[::8, ::8]).astype(np.float64)
    low, high = np.quantile(sampled, _SHOWN)
    spread = max(high - low, 1e-6 * max(abs(high), abs(low), 1e-30))
    if kind != DISPARITY:
        return Relation(near * SHOWN_RATIO / max(high, 1e-30), of_disparity=False)
    factor = (1 - 1 / SHOWN_RATIO) / near / spread
    return Relation(factor, 1 / near - factor * high)


def _fit_depth(seen: NDArray[Any], true: NDArray[Any], weight: NDArray[Any]) -> Relation | None:
    ratio = np.log(true / seen)
    scale = float(np.median(ratio))
    for _ in range(_ROUNDS):
        belief = weight * _belief(ratio - scale)
        if belief.sum() <= 0:
            return None
        scale = float((belief * ratio).sum() / belief.sum())
    return Relation(
        float(np.exp(scale)),
        of_disparity=False,
        offered=len(true),
        used=int(np.count_nonzero(abs(ratio - scale) < 2 * _NOISE)),
    )


def _fit_disparity(seen: NDArray[Any], true: NDArray[Any], weight: NDArray[Any]) -> Relation | None:
    inverse = 1 / true
    low, high = np.quantile(true, (0.1, 0.9))
    has_shift = high / low >= LEAST_RATIO
    factor, shift = _by_pairs(seen, inverse) if has_shift else (_middle(seen, inverse), 0.0)
    for _ in range(_ROUNDS):
        found = factor * seen + shift
        error = np.log(np.maximum(found, 1e-6) / inverse)
        # Weigh errors of the inverse depth so that relative errors count equally.
        strength = weight * _belief(error) / inverse**2
        if np.count_nonzero(strength) < 3:
            return None
        factor, shift = _weighted(seen, inverse, strength, has_shift)
    error = np.log(np.maximum(factor * seen + shift, 1e-6) / inverse)
    used = int(np.count_nonzero(abs(error) < 2 * _NOISE))
    if not np.isfinite(factor + shift) or factor <= 0 or 2 * used < len(true):
        return None
    return Relation(float(factor), float(shift), True, used, len(true))


def _by_pairs(seen: NDArray[Any], inverse: NDArray[Any]) -> tuple[float, float]:
    """Return the median slope of all pairs and the corresponding shift (Theil 1950)."""
    first, second = np.triu_indices(len(seen), 1)
    across, up = seen[second] - seen[first], inverse[second] - inverse[first]
    apart = abs(across) > 0.1 * abs(across).max()
    slope = float(np.median(up[apart] / across[apart])) if apart.any() else 0.0
    return slope, float(np.median(inverse - slope * seen))


def _middle(seen: NDArray[Any], inverse: NDArray[Any]) -> float:
    positive = seen > 0
    return float(np.median(inverse[positive] / seen[positive])) if positive.any() else 0.0


def _weighted(
    seen: NDArray[Any], inverse: NDArray[Any], strength: NDArray[Any], has_shift: bool
) -> tuple[float, float]:
    """Return factor and shift by weighted least squares."""
    if not has_shift:
        return float((strength * seen * inverse).sum() / (strength * seen * seen).sum()), 0.0
    total = strength.sum()
    middle, level = (strength * seen).sum() / total, (strength * inverse).sum() / total
    spread = (strength * (seen - middle) ** 2).sum()
    if spread <= 0:
        return 0.0, float(level)
    factor = float((strength * (seen - middle) * (inverse - level)).sum() / spread)
    return factor, float(level - factor * middle)


def _belief(error: NDArray[Any]) -> NDArray[np.float64]:
    """Return Tukey's weights of errors; the width grows if most errors are large."""
    width = 4 * max(_NOISE, 1.5 * float(np.median(abs(error))))
    belief: NDArray[np.float64] = (1 - np.minimum(abs(error) / width, 1) ** 2) ** 2
    return belief


class RelativeDepth:
    """Find the relation for each frame of one camera; without anchors, keep the last for a while.

    Args:
        kind: `relative_depth` or `relative_disparity`.
        farthest: metres, from the network's file.
    """

    def __init__(self, kind: str, farthest: float) -> None:
        self.kind, self.farthest = kind, farthest
        self._last: Relation | None = None
        self._time = 0.0

    def reset(self) -> None:
        """Forget the last relation."""
        self._last = None

    def before(self, time: float, hold: float) -> Relation | None:
        """Return the last relation; None unless its age at `time` is in [0, hold] (seconds)."""
        held = self._last is not None and 0 <= time - self._time <= hold
        return self._last if held else None

    def relation(
        self, output: Array, anchors: Anchors, time: float, nearest: float, hold: float
    ) -> Relation | None:
        """Return the relation of a frame's output, or else the last one, or None, see `before`."""
        found = fit_relation(output, anchors, self.kind, (nearest, self.farthest))
        if found is not None:
            self._last, self._time = found, time
        return found or self.before(time, hold)
