# SPDX-License-Identifier: Apache-2.0
"""Align predictions to the truth, for networks that do not tell metres.

Aligned scores are not those of a robot, which does not know the truth, and cannot be compared with
metric ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: `median`: multiply by a factor, so that the medians are equal (Zhou et al. 2017). `scale-shift`:
#: factor and shift by least squares, in disparity for disparities (Ranftl et al. 2022), otherwise
#: in depth.
Alignment = Literal['none', 'median', 'scale-shift']
#: What a prediction is, see `WeightsInfo.output`.
Kind = Literal['metres', 'relative_depth', 'relative_disparity']
DISPARITY = 'relative_disparity'
#: How a table names them.
WORDS: dict[Alignment, str] = {
    'median': 'scaled to the median',
    'scale-shift': 'scale and shift fitted',
}

Depth = NDArray[np.float32]


def aligned(how: Alignment, kind: str, predicted: Depth, truth: Depth) -> tuple[Depth, float]:
    """Return predictions as metres, and the factor by which they were multiplied.

    A disparity that is not positive becomes infinitely far. Neither pixels of unknown truth nor
    predictions that are not finite affect the alignment.

    Args:
        how: the alignment; not `none` for relative predictions.
        kind: what the prediction is.
        predicted: predictions of any shape.
        truth: metres of the same shape, 0 = unknown.

    Examples:
        >>> import numpy as np
        >>> from depth_training.evaluate.alignment import aligned
        >>> truth = np.array([1, 2, 4], np.float32)
        >>> disparity = 30 / truth - 5
        >>> depth, factor = aligned('scale-shift', 'relative_disparity', disparity, truth)
        >>> depth.tolist(), round(factor, 4)
        ([1.0, 2.0, 4.0], 0.0333)
    """
    if how == 'none' or not predicted.size:
        return predicted, 1.0
    values = predicted.astype(np.float64)
    used = (truth > 0) & np.isfinite(values)
    if how == 'median':
        values = _inverse(values) if kind == DISPARITY else values
        factor = _ratio(values[used], truth[used])
        return (values * factor).astype(np.float32), factor
    wanted = truth[used].astype(np.float64)
    factor, shift = _line(values[used], 1 / wanted if kind == DISPARITY else wanted)
    values = values * factor + shift
    return (_inverse(values) if kind == DISPARITY else values).astype(np.float32), factor


def _ratio(predicted: NDArray[np.float64], truth: Depth) -> float:
    """Return the ratio of the medians; 1 where there is none."""
    if not predicted.size:
        return 1.0
    median = float(np.median(predicted))
    return float(np.median(truth)) / median if 0 < median < np.inf else 1.0


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return factor and shift of the line with the least squares."""
    if not x.size:
        return 1.0, 0.0
    middle, level = x.mean(), y.mean()
    spread = ((x - middle) ** 2).sum()
    factor = float(((x - middle) * (y - level)).sum() / spread) if spread > 0 else 0.0
    return factor, float(level - factor * middle)


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.full(values.shape, np.inf)
    np.divide(1, values, out=inverse, where=~(values <= 0))
    return inverse
