# SPDX-License-Identifier: Apache-2.0
"""Combine several data sets into one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from depth_training.data.dataset import DepthDataset
from depth_training.data.layouts.folders import PICTURES
from depth_training.data.open import open_dataset
from depth_training.data.sample import DataError, Sample


class Joined(DepthDataset):
    """The pairs of several data sets, one data set after the other.

    The ground truth is `raw` if the data sets differ, since the others promise more than holds for
    all pairs.
    """

    layout, units = 'joined', 'as in each'

    def __init__(self, parts: Sequence[DepthDataset]) -> None:
        self.parts = tuple(parts)
        kinds = {part.ground_truth for part in parts}
        self.ground_truth = kinds.pop() if len(kinds) == 1 else 'raw'
        self.unit_is_sure = all(part.unit_is_sure for part in parts)
        self.note = self.describe()
        self._ends = tuple(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, index: int) -> Sample:
        """Read the pair from the data set that holds it."""
        part, place = self._find(index)
        return part.scaled(place)

    def source(self, index: int) -> str:
        """Return the file in the data set that holds the pair."""
        part, place = self._find(index)
        return part.source(place)

    def describe(self) -> str:
        """Join the descriptions of the data sets."""
        return ' + '.join(part.describe() for part in self.parts)

    def _find(self, index: int) -> tuple[DepthDataset, int]:
        number = int(np.searchsorted(self._ends, index, 'right'))
        return self.parts[number], index - (self._ends[number] - len(self.parts[number]))


def open_joined(
    paths: Sequence[Path], split: str, hold_out: Sequence[str] = (), **arguments: Any
) -> DepthDataset:
    """Open one or more data sets with the same arguments to `open_dataset`.

    Each of several data sets receives only those held-out scenes that it contains.

    Raises:
        DataError: no path is given, no data set has a held-out scene, or one cannot be opened.
    """
    if not paths:
        raise DataError('no data is given: name files or folders with --data')
    if len(paths) == 1:
        return open_dataset(paths[0], split, hold_out=hold_out, **arguments)
    for scene in hold_out:
        if not any(_has(path, scene) for path in paths):
            raise DataError(
                f'none of {", ".join(map(str, paths))} has a scene {scene!r} to hold out'
            )
    return Joined(
        [
            open_dataset(path, split, hold_out=scenes_of(path, hold_out), **arguments)
            for path in paths
        ]
    )


def scenes_of(path: Path, scenes: Sequence[str]) -> list[str]:
    """Return those of the scenes that a data set contains."""
    return [scene for scene in scenes if _has(path, scene)]


def _has(path: Path, scene: str) -> bool:
    return any(
        (path.expanduser() / folder / scene).is_dir() for folder in ('', 'frames', *PICTURES)
    )
