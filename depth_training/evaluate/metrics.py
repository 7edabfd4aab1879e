# SPDX-License-Identifier: Apache-2.0
"""Depth metrics from float64 sums and counts, so that one pass gives both averagings.

Per pixel, with prediction p and truth g in metres:

    AbsRel     mean |p - g| / g                 SqRel  mean (p - g)^2 / g
    RMSE       sqrt mean (p - g)^2              RMSElog  sqrt mean (ln p - ln g)^2
    log10      mean |log10 p - log10 g|         delta_k  share of max(p / g, g / p) < 1.25^k
    SILog      100 sqrt(mean e^2 - (mean e)^2), e = ln p - ln g

`pixels` averages over all pixels of all images (papers 001 and 003, Laina); `images` computes
every metric per image and averages those (paper 000; BTS, GLPDepth, AdaBins). If all images have
the same number of valid pixels, only RMSE, RMSElog and SILog differ, since a mean of square roots
is not the root of the mean: RMSE by `images` is then at most RMSE by `pixels`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Averaging = Literal['pixels', 'images']

#: Names of the scores, in the order of the papers' tables.
METRICS = ('AbsRel', 'SqRel', 'RMSE', 'RMSElog', 'log10', 'delta1', 'delta2', 'delta3', 'SILog')
_SUMS = (
    'count',
    'abs_rel',
    'sq_rel',
    'square',
    'square_log',
    'log',
    'abs_log10',
    'delta1',
    'delta2',
    'delta3',
)
_RATIO = 1.25


def error_sums(pred: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return sums over the pixels of one image: ten float64 numbers, the first is the count.

    Args:
        pred, truth: (N,) positive depths in metres, valid pixels only.

    Raises:
        ValueError: the sizes differ, or a depth is not positive.
    """
    if pred.shape != truth.shape:
        raise ValueError(f'{pred.shape} predictions, {truth.shape} truths')
    p, g = pred.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    if not (p > 0).all() or not (g > 0).all():
        raise ValueError('metrics need positive depths: mask the truth and clamp the prediction')
    error, log_error = p - g, np.log(p) - np.log(g)
    ratio = np.maximum(p / g, g / p)
    return np.array(
        [
            p.size,
            (np.abs(error) / g).sum(),
            (error**2 / g).sum(),
            (error**2).sum(),
            (log_error**2).sum(),
            log_error.sum(),
            np.abs(log_error).sum() / np.log(10),
            *((ratio < _RATIO**k).sum() for k in (1, 2, 3)),
        ]
    )


def scores_of(sums: NDArray[np.float64]) -> dict[str, float]:
    """Compute the metrics from sums; NaN without pixels."""
    named = dict(zip(_SUMS, sums))
    if named['count'] == 0:
        return dict.fromkeys(METRICS, float('nan'))
    mean = {name: value / named['count'] for name, value in named.items()}
    # Rounding can make the variance of a constant error slightly negative.
    variance = max(mean['square_log'] - mean['log'] ** 2, 0.0)
    values = (
        mean['abs_rel'],
        mean['sq_rel'],
        mean['square'] ** 0.5,
        mean['square_log'] ** 0.5,
        mean['abs_log10'],
        mean['delta1'],
        mean['delta2'],
        mean['delta3'],
        100 * variance**0.5,
    )
    return {name: float(value) for name, value in zip(METRICS, values)}


@dataclass
class Metrics:
    """Accumulate the metrics of images.

    Attributes:
        sums: one row of `error_sums` per image with valid pixels.
        clamped: number of predicted pixels that were clamped.
        skipped: number of images without valid pixels.
        unseen: number of pixels left out, as they count but lie outside what the network saw.
        factors: factor of each image to the median of its truth; 1 = not scaled.
    """

    sums: list[NDArray[np.float64]] = field(default_factory=list)
    clamped: int = 0
    skipped: int = 0
    unseen: int = 0
    factors: list[float] = field(default_factory=list)

    def add(
        self,
        pred: NDArray[np.floating],
        truth: NDArray[np.floating],
        clamped: int = 0,
        factor: float = 1.0,
    ) -> None:
        """Add one image: its valid pixels (N,), the number of clamped ones, its scale factor."""
        if truth.size == 0:
            self.skipped += 1
            return
        self.sums.append(error_sums(pred, truth))
        self.clamped += clamped
        self.factors.append(factor)

    def merge(self, others: Iterable[Metrics]) -> None:
        """Add the results of other processes."""
        for other in others:
            self.sums += other.sums
            self.clamped += other.clamped
            self.skipped += other.skipped
            self.unseen += other.unseen
            self.factors += other.factors

    def scores(self, averaging: Averaging = 'pixels') -> dict[str, float]:
        """Return the metrics by name; NaN before the first image."""
        if not self.sums:
            return dict.fromkeys(METRICS, float('nan'))
        if averaging == 'pixels':
            return scores_of(np.sum(self.sums, axis=0))
        per_image = [scores_of(row) for row in self.sums]
        return {name: float(np.mean([row[name] for row in per_image])) for name in METRICS}

    def counts(self) -> dict[str, int]:
        """Return numbers of images, skipped images, pixels, clamped and unseen pixels."""
        pixels = int(sum(row[0] for row in self.sums))
        return {
            'images': len(self.sums),
            'skipped_images': self.skipped,
            'pixels': pixels,
            'clamped_pixels': self.clamped,
            'unseen_pixels': self.unseen,
        }
