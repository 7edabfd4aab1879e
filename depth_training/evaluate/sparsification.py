# SPDX-License-Identifier: Apache-2.0
"""How well confidence ranks errors, and whether it is the probability that it claims to be.

A sparsification curve is the mean error of the pixels that are left when the most doubtful are
removed, against the share removed (Ilg et al. 2018, section 5.1). The area under it is compared
with that of random removal, which is the mean error, and with that of the oracle, which removes the
largest errors first. AUSE, the area under the sparsification error, is the difference of the areas
of confidence and oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depth_perception.inference.estimator import WITHIN

#: Number of shares at which a curve is evaluated.
STEPS = 50
#: Largest number of pixels of a picture that count where the pixels of all pictures are ranked.
PIXELS = 3000
#: Bounds of the confidence in a reliability table.
BINS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

Values = NDArray[np.floating]


def curve(errors: Values, doubt: Values) -> NDArray[np.float64]:
    """Return the mean error left after removing 0/50, 1/50, ... 49/50 of the pixels.

    Args:
        errors: of each pixel (N,).
        doubt: of each pixel (N,); the largest are removed first.

    Examples:
        >>> import numpy as np
        >>> from depth_training.evaluate.sparsification import curve
        >>> errors = np.array([0.1, 0.3])
        >>> curve(errors, doubt=errors)[[0, 30]].round(3).tolist()  # the worse one is removed
        [0.2, 0.1]
    """
    order = np.argsort(doubt, kind='stable')
    means = np.cumsum(errors[order], dtype=float) / np.arange(1, len(errors) + 1)
    kept = np.round(len(errors) * (1 - np.arange(STEPS) / STEPS)).astype(int)
    result: NDArray[np.float64] = means[np.maximum(kept, 1) - 1]
    return result


@dataclass(frozen=True)
class Ranking:
    """Areas under sparsification curves of AbsRel.

    Attributes:
        random: of random removal: the mean error.
        confidence: of removal by confidence.
        oracle: of removal by the true error.
    """

    random: float
    confidence: float
    oracle: float

    @property
    def gain(self) -> float:
        """By which share the area is smaller than that of random removal."""
        return 1 - self.confidence / self.random

    @property
    def ause_gain(self) -> float:
        """By which share AUSE is smaller than that of random removal."""
        return 1 - (self.confidence - self.oracle) / (self.random - self.oracle)


class Sparsification:
    """Collect pictures, and rank the pixels of each and of all together."""

    def __init__(self) -> None:
        self._each: list[tuple[float, float, float]] = []
        self._errors: list[Values] = []
        self._confidence: list[Values] = []
        self._right: list[NDArray[np.bool_]] = []

    def add(self, depth: Values, truth: Values, confidence: Values) -> None:
        """Add the pixels (N,) of a picture whose truth is known; metres."""
        if not len(truth):
            return
        errors = np.abs(depth - truth) / truth
        self._each.append(_areas(errors, confidence))
        step = -(-len(errors) // PIXELS)
        ratio = np.maximum(depth / truth, truth / np.maximum(depth, 1e-3))
        self._errors.append(errors[::step])
        self._confidence.append(confidence[::step])
        self._right.append((ratio < WITHIN)[::step])

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return len(self._each)

    def within_pictures(self) -> Ranking:
        """Return the mean areas of the pictures, each ranked by itself."""
        return Ranking(*np.mean(self._each, axis=0).tolist())

    def all_pixels(self) -> Ranking:
        """Return the areas of the pixels of all pictures, ranked together."""
        return Ranking(*_areas(np.concatenate(self._errors), np.concatenate(self._confidence)))

    def reliability(self) -> list[tuple[float, float, float]]:
        """Return mean confidence, share within 25 % of the truth and share of pixels by `BINS`."""
        confidence, right = np.concatenate(self._confidence), np.concatenate(self._right)
        place = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
        rows = []
        for number in range(len(BINS) - 1):
            there = place == number
            count = int(there.sum())
            rows.append(
                (float(confidence[there].mean()), float(right[there].mean()), count / len(place))
                if count
                else (float('nan'), float('nan'), 0.0)
            )
        return rows


def _areas(errors: Values, confidence: Values) -> tuple[float, float, float]:
    """Return the areas of random removal, of confidence and of the oracle."""
    return (
        float(errors.mean()),
        float(curve(errors, -confidence).mean()),
        float(curve(errors, errors).mean()),
    )


def described(found: Mapping[str, Sparsification]) -> str:
    """Return two tables in Markdown: how well each ranks errors, and how reliable the first is."""
    first, *_ = found.values()
    if not first.pictures:
        return ''
    lines = [
        f'| {first.pictures} views | random | removed by it | oracle | area | AUSE |',
        '|---|---|---|---|---|---|',
    ]
    for name, one in found.items():
        lines.append(_row(f'{name}, each view', one.within_pictures()))
        lines.append(_row(f'{name}, all pixels', one.all_pixels()))
    lines += ['', '| Confidence | mean | within 25 % | pixels |', '|---|---|---|---|']
    for low, high, (mean, right, share) in zip(BINS, BINS[1:], first.reliability()):
        values = f'{mean:.2f} | {right:.2f}' if share else '- | -'
        lines.append(f'| {low:g} to {high:g} | {values} | {100 * share:.0f} % |')
    return '\n'.join(lines)


def _row(name: str, ranking: Ranking) -> str:
    areas = ' | '.join(
        f'{area:.3f}' for area in (ranking.random, ranking.confidence, ranking.oracle)
    )
    return (
        f'| {name} | {areas} | {-100 * ranking.gain:+.0f} % | {-100 * ranking.ause_gain:+.0f} % |'
    )
