# SPDX-License-Identifier: Apache-2.0
"""Views of the raycaster as a data set: unlimited, exact, and not like any real room."""
from __future__ import annotations

import numpy as np

from depth_training.data.dataset import DepthDataset, evenly, good_samples
from depth_training.data.joined import Joined
from depth_training.data.raycaster import make_textures, render_view
from depth_training.data.sample import DataError, Sample

_TEXTURES, _PICTURES = 300, 50


class RaycastRooms(DepthDataset):
    """`count` rooms of textured boxes, a view of each, made anew whenever it is read.

    Args:
        count: views; view i depends on i, seed and pictures alone.
        seed: of everything.
        pictures: whose parts become textures; each uint8 (H, W, 3).
        height, width: of a view, pixels.
    """

    layout, ground_truth, units = 'raycast', 'exact', 'computed'

    def __init__(self, count: int, seed: int, pictures: list[np.ndarray], height: int = 240,
                 width: int = 320) -> None:
        self._count, self._seed, self._size = count, seed, (height, width)
        self._textures = make_textures(np.random.default_rng(seed), _TEXTURES, pictures)

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Sample:
        """Render it."""
        return render_view(np.random.default_rng((self._seed, index)), self._textures, *self._size)

    def source(self, index: int) -> str:
        """Which view."""
        return f'raycast view {index}'


def with_raycast(dataset: DepthDataset, share: float, seed: int) -> DepthDataset:
    """The data set and so many raycast views that they are `share` of all pairs.

    Raises:
        DataError: the share is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise DataError(f'a share of {share} of raycast views cannot be: give 0 up to below 1')
    count = round(len(dataset) * share / (1 - share))
    return Joined([dataset, RaycastRooms(count, seed, _pictures(dataset))]) if count else dataset


def _pictures(dataset: DepthDataset) -> list[np.ndarray]:
    return [sample.rgb for sample in good_samples(evenly(dataset, _PICTURES))]
