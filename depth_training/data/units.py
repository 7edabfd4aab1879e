# SPDX-License-Identifier: Apache-2.0
"""Check that a data set's depth is plausible for rooms in the unit of its layout.

Files do not state their unit. Depth read in a wrong unit trains a network that is wrong by the same
factor, and nothing else reveals it. So depth that is implausible for rooms is refused, and the
message suggests units that would make it plausible. A user-given `depth_scale` skips this check.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset
from depth_training.data.sample import DataError, UnitError
from depth_training.data.scales import remedy

#: Metres: plausible range of the median depth of indoor data.
_NEAREST, _FARTHEST = 0.3, 8.0
#: 256 units per metre read as millimetres: depth ends at 2.56 m, and the median is below 1 m.
_NARROW_MEDIAN, _NARROW_END = 1.0, 2.6
#: Numbers of folders to check, of pairs in each, and of pairs if there is one folder only.
_FOLDERS, _PAIRS, _PAIRS_OF_ONE = 8, 3, 9
#: Number of pairs whose folder is looked up; large data sets have more.
_NAMES = 2000


class _Probe(NamedTuple):
    folder: str
    pairs: int
    depth: NDArray[np.float32]  # (N,), metres, known pixels of all its pairs


def check_units(dataset: DepthDataset) -> None:
    """Check some pairs of some folders of the data set.

    Raises:
        UnitError: depth of the data set, or of one of its folders, is implausible for rooms.
    """
    probes = list(_probes(dataset))
    if not probes:
        return
    together = np.concatenate([probe.depth for probe in probes])
    name = probes[0].folder if len(probes) == 1 else f'{probes[0].folder} and others'
    if _is_too_near(together) or np.median(together) > _FARTHEST:
        raise UnitError(_sentence(dataset, name, together))
    for probe in probes:
        if probe.pairs > 1 and np.median(probe.depth) > _FARTHEST:
            raise UnitError(_sentence(dataset, probe.folder, probe.depth))


def _is_too_near(depth: NDArray[np.float32]) -> bool:
    median = np.median(depth)
    return bool(
        median < _NEAREST or (median < _NARROW_MEDIAN and np.percentile(depth, 99) < _NARROW_END)
    )


def _sentence(dataset: DepthDataset, where: str, depth: NDArray[np.float32]) -> str:
    low, high = np.percentile(depth, [1, 99])
    return (
        f'{where}: depth read as {dataset.units} would be {low:.2g} to {high:.2g} m, median '
        f'{np.median(depth):.2g} m, implausible for rooms: '
        + remedy(depth * np.float32(dataset.depth_scale), dataset.depth_scale)
    )


def _probes(dataset: DepthDataset) -> Iterator[_Probe]:
    for folder, indices in _places(dataset).items():
        depths = []
        for index in indices:
            try:
                depth = dataset[index].depth[::4, ::4]
            except UnitError:
                raise
            except DataError:
                continue
            depths.append(depth[depth > 0])
        if any(depth.size for depth in depths):
            yield _Probe(folder, len(depths), np.concatenate(depths))


def _places(dataset: DepthDataset) -> dict[str, list[int]]:
    """Return indices of some evenly spaced pairs of some folders."""
    folders: dict[str, list[int]] = {}
    for index in range(0, len(dataset), max(1, len(dataset) // _NAMES)):
        folders.setdefault(str(Path(dataset.source(index)).parent), []).append(index)
    count = _PAIRS_OF_ONE if len(folders) == 1 else _PAIRS
    return {folder: _evenly(folders[folder], count) for folder in _evenly(list(folders), _FOLDERS)}


def _evenly(items: list, count: int) -> list:
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]
