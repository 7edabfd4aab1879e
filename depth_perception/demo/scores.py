# SPDX-License-Identifier: Apache-2.0
"""Accuracy of the depth: AbsRel, RMSE and delta1 against true depth, without alignment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 10.0
PROTOCOL = (
    'metric, no alignment; all pixels with 0 < truth < 10 m and a finite prediction; '
    'averaged over all pixels'
)

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def read_truth(folder: Path) -> list[NDArray[np.float32]]:
    """Read the true depth in metres of each frame in order; empty if there is no true depth."""
    files = sorted(folder.glob('*.png'), key=lambda file: int(file.stem))
    return [_metres(file) for file in files]


def _metres(file: Path) -> NDArray[np.float32]:
    millimetres = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if millimetres is None:
        raise OSError(f'{file} is not an image, or is damaged')
    return np.asarray(millimetres, np.float32) / np.float32(1000)


def scores(pairs: Iterable[Pair]) -> dict[str, float | str]:
    """Return the scores of (prediction, truth) pairs, each (H, W) metres; truth 0 = unknown."""
    absolute = square = within = count = eligible = 0
    for prediction, truth in pairs:
        known = (truth > 0) & (truth < MAX_DEPTH)
        valid = known & np.isfinite(prediction)
        p, t = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
        absolute += (np.abs(p - t) / t).sum()
        square += np.square(p - t).sum()
        within += (np.maximum(p / t, t / p) < 1.25).sum()
        count += valid.sum()
        eligible += known.sum()
    if not count:
        return {}
    return {
        'AbsRel': float(absolute / count),
        'RMSE_m': float(np.sqrt(square / count)),
        'delta1': float(within / count),
        'pixels': int(count),
        'share_of_truth_predicted': float(count / eligible),
        'protocol': PROTOCOL,
    }
