# SPDX-License-Identifier: Apache-2.0
"""Errors by true distance: a mean over all pixels hides errors nearby, which matter to robots."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Limits of the bands in metres; the upper limit belongs to the band.
EDGES = (0.0, 0.7, 1.2, 2.0, 3.5, 6.0, 10.0)


class DistanceBands:
    """Error sums of each distance band; all pixels have equal weight."""

    def __init__(self) -> None:
        #: Rows: bands. Columns: pixels, sum of |d - t| / t, sum of log(d / t).
        self._sums = np.zeros((len(EDGES) - 1, 3))

    def add(self, depth: NDArray[np.floating], truth: NDArray[np.floating]) -> None:
        """Add depth and truth (N,) in metres of the counted pixels: `protocols.counted`."""
        truth = truth.astype(np.float64)
        band = np.searchsorted(EDGES, truth) - 1
        for column, value in enumerate(
            (np.ones_like(truth), np.abs(depth - truth) / truth, np.log(depth / truth))
        ):
            self._sums[:, column] += np.bincount(band, value, len(self._sums))

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of all pixels in each band."""
        return self._sums[:, 0] / max(self._sums[:, 0].sum(), 1)

    @property
    def abs_rel(self) -> NDArray[np.float64]:
        """Mean of |d - t| / t in each band; NaN without pixels."""
        return self._mean(1)

    @property
    def bias(self) -> NDArray[np.float64]:
        """Geometric mean of d / t in each band, above 1 if too far; NaN without pixels."""
        return np.exp(self._mean(2))

    def _mean(self, column: int) -> NDArray[np.float64]:
        pixels = self._sums[:, 0]
        return np.divide(
            self._sums[:, column], pixels, out=np.full(len(pixels), np.nan), where=pixels > 0
        )


def names() -> list[str]:
    """Return a label for each band."""
    return [
        f'{low:g} to {high:g} m' if low else f'below {high:g} m' for low, high in pairwise(EDGES)
    ]
