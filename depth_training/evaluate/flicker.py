# SPDX-License-Identifier: Apache-2.0
"""Measure how much predicted depth changes between frames beyond the true change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Largest |d log depth| of the truth between frames for which a pixel counts as static.
RESTS = 0.05
Depth = NDArray[np.float32]


class Flicker(NamedTuple):
    """|change of log depth - true change| between consecutive frames, over static pixels."""

    median: float
    p90: float
    pixels: int


def flicker(predictions: Sequence[Depth], truths: Sequence[Depth]) -> Flicker:
    """Measure flicker of consecutive frames of one size in metres; truth 0 = unknown.

    Raises:
        ValueError: no pixel is both known and static.
    """
    changes = []
    for (before, after), (then, now) in zip(pairwise(predictions), pairwise(truths)):
        known = (then > 0) & (now > 0)
        true = np.log(np.where(known, now, 1) / np.where(known, then, 1))
        rests = known & (np.abs(true) < RESTS)
        said = np.log(np.maximum(after[rests], 1e-3) / np.maximum(before[rests], 1e-3))
        changes.append(np.abs(said - true[rests]))
    found = np.concatenate(changes) if changes else np.zeros(0)
    if not found.size:
        raise ValueError('flicker needs consecutive frames with static pixels of known depth')
    return Flicker(float(np.median(found)), float(np.quantile(found, 0.9)), found.size)
