# SPDX-License-Identifier: Apache-2.0
"""Is a data set's depth in the unit that its layout promises? Judged by what rooms look like.

No file says its unit. Depth read in a wrong one trains a network that is wrong by that factor, and
nothing else shows it: so what is implausible for rooms is refused, and the units that would make it
plausible are named. A user who gives `depth_scale` settles the question.
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

#: Metres: the median of an indoor set lies between these.
_NEAREST, _FARTHEST = 0.3, 8.0
#: 256 units a metre, read as millimetres, end at 2.56 m, and rooms have their median below 1 m.
_NARROW_MEDIAN, _NARROW_END = 1.0, 2.6
#: So many folders are looked into, and so many pairs of each; of a single folder, nine.
_FOLDERS, _PAIRS, _PAIRS_OF_ONE = 8, 3, 9
#: So many pairs are looked at for their folder; the list of a large set is long.
_NAMES = 2000


class _Probe(NamedTuple):
    folder: str
    pairs: int
    depth: NDArray[np.float32]  # (N,), metres, known pixels of all its pairs


def check_units(dataset: DepthDataset) -> None:
    """Look at some pairs of some folders of the data set.

    Raises:
        UnitError: its depth, or that of one of its folders, is implausible for rooms.
    """
    probes = list(_probes(dataset))
    if not probes:
        return
    together = np.concatenate([probe.depth for probe in probes])
    name = probes[0].folder if len(probes) == 1 else \
        f'{probes[0].folder} and others'
    if _is_too_near(together) or np.median(together) > _FARTHEST:
        raise UnitError(_sentence(dataset, name, together))
    for probe in probes:
        if probe.pairs > 1 and np.median(probe.depth) > _FARTHEST:
            raise UnitError(_sentence(dataset, probe.folder, probe.depth))


def _is_too_near(depth: NDArray[np.float32]) -> bool:
    median = np.median(depth)
    return bool(median < _NEAREST or (
        median < _NARROW_MEDIAN and np.percentile(depth, 99) < _NARROW_END))


def _sentence(dataset: DepthDataset, where: str, depth: NDArray[np.float32]) -> str:
    low, high = np.percentile(depth, [1, 99])
    return f'{where}: depth read as {dataset.units} would be {low:.2g} to {high:.2g} m, median ' \
           f'{np.median(depth):.2g} m, implausible for rooms: ' \
           + remedy(depth * np.float32(dataset.depth_scale), dataset.depth_scale)


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
    """Some pairs of some folders, evenly spaced."""
    folders: dict[str, list[int]] = {}
    for index in range(0, len(dataset), max(1, len(dataset) // _NAMES)):
        folders.setdefault(str(Path(dataset.source(index)).parent), []).append(index)
    count = _PAIRS_OF_ONE if len(folders) == 1 else _PAIRS
    return {folder: _evenly(folders[folder], count)
            for folder in _evenly(list(folders), _FOLDERS)}


def _evenly(items: list, count: int) -> list:
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]
