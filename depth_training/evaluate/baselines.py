# SPDX-License-Identifier: Apache-2.0
"""Baselines that ignore the image, which a network must beat to have learnt anything."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from depth_training.data import DepthDataset, good_samples
from depth_training.data.transforms import canonical, resize

Depth = NDArray[np.float32]
_STEP = 0.01  # metres


def best_constant(truths: Iterable[Depth], max_depth: float = 10.0) -> float:
    """Return the constant depth with the smallest AbsRel on these truths, to the centimetre.

    It is the median of the true depths, each weighted by its reciprocal. As it knows the truth, it
    is a harder baseline than a constant taken from training data.

    Raises:
        ValueError: there is no truth between 0 and `max_depth`.
    """
    weights = np.zeros(round(max_depth / _STEP))
    for truth in truths:
        known = truth[(truth > 0) & (truth < max_depth)].astype(np.float64)
        places = np.minimum((known / _STEP).astype(int), len(weights) - 1)
        weights += np.bincount(places, 1 / known, len(weights))
    if not weights.any():
        raise ValueError('no known depth to derive a constant from')
    return (float(np.searchsorted(weights.cumsum(), weights.sum() / 2)) + 0.5) * _STEP


def mean_depth_map(
    dataset: DepthDataset, focal: float, height: int, width: int
) -> tuple[Depth, int]:
    """Return the mean depth (height, width) of a data set, over the known depths of each pixel.

    Depth is converted to a camera of focal length `focal` pixels at that width, as for training. A
    pixel known in no image gets the mean of the others. Return the number of usable pairs, too.

    Raises:
        ValueError: no pair can be used.
    """
    total, count = np.zeros((height, width)), np.zeros((height, width))
    used = 0
    for sample in good_samples(dataset):
        depth = canonical(resize(sample, height, width), focal).depth
        used += 1
        total += depth
        count += depth > 0
    if not count.any():
        raise ValueError(f'no pair can be used of: {dataset.describe()}')
    mean = total.sum() / count.sum()
    return np.where(count > 0, total / np.maximum(count, 1), mean).astype(np.float32), used
