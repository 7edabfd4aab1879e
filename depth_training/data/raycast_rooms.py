# SPDX-License-Identifier: Apache-2.0
"""Ray-cast views as a data set: unlimited, with exact depth, but unlike any real room."""

from __future__ import annotations

import numpy as np

from depth_training.data.dataset import DepthDataset, evenly, good_samples
from depth_training.data.joined import Joined
from depth_training.data.raycaster import make_textures, render_view
from depth_training.data.sample import DataError, Sample

_TEXTURES, _PICTURES = 300, 50


class RaycastRooms(DepthDataset):
    """`count` random rooms of textured boxes, with one view each, rendered at every read.

    Args:
        count: number of views; view i depends only on i, seed and pictures.
        seed: seed of all randomness.
        pictures: images uint8 (H, W, 3) from which textures are cut.
        height, width: size of a view in pixels.
    """

    layout, ground_truth, units = 'raycast', 'exact', 'computed'

    def __init__(
        self, count: int, seed: int, pictures: list[np.ndarray], height: int = 240, width: int = 320
    ) -> None:
        self._count, self._seed, self._size = count, seed, (height, width)
        self._textures = make_textures(np.random.default_rng(seed), _TEXTURES, pictures)

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Sample:
        """Render the view."""
        return render_view(np.random.default_rng((self._seed, index)), self._textures, *self._size)

    def source(self, index: int) -> str:
        """Name the view."""
        return f'raycast view {index}'


def with_raycast(dataset: DepthDataset, share: float, seed: int) -> DepthDataset:
    """Add as many ray-cast views as make up `share` of all pairs.

    Raises:
        DataError: the share is below 0 or not below 1.
    """
    if not 0 <= share < 1:
        raise DataError(
            f'a share of {share} of raycast views is impossible: give at least 0 and less than 1'
        )
    count = round(len(dataset) * share / (1 - share))
    return Joined([dataset, RaycastRooms(count, seed, _pictures(dataset))]) if count else dataset


def _pictures(dataset: DepthDataset) -> list[np.ndarray]:
    return [sample.rgb for sample in good_samples(evenly(dataset, _PICTURES))]
