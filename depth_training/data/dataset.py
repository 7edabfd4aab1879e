# SPDX-License-Identifier: Apache-2.0
"""Interface of every data set reader, and the request that opens one."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from depth_training.data.sample import DataError, Sample, check_sample

GroundTruth = Literal['raw', 'filled', 'exact', 'laser']
Split = Literal['train', 'test', 'all']
Handle = TypeVar('Handle')


@dataclass(frozen=True)
class Request:
    """Which data to open, and how.

    Attributes:
        path: file or folder.
        split: `train`, `test` or `all`.
        ground_truth: `raw` (with holes) or `filled`, for layouts that have both; None = the
            layout's default.
        hold_out: scenes that are `test`, for layouts without an official split.
        list_file: rows `rgb depth [focal length]` that choose the pairs of a sync folder.
        splits_file: `splits.mat`, if it is not in the folder of the labelled .mat.
        depth_scale: units per metre of the stored depth; None = the layout's default.
    """

    path: Path
    split: Split = 'train'
    ground_truth: GroundTruth | None = None
    hold_out: tuple[str, ...] = ()
    list_file: Path | None = None
    splits_file: Path | None = None
    depth_scale: float | None = None


class DepthDataset(ABC):
    """RGB-D pairs by index. Picklable: each worker process opens the files itself.

    Attributes:
        layout: name of the layout, as `open_dataset` recognised it.
        ground_truth: `raw` (sensor, with holes), `filled` (holes painted in), `exact` (rendered),
            `laser` (KITTI's single scans).
        units: how depth is stored, such as `16-bit mm`.
        depth_scale: units per metre of the stored depth, which `read` converts to metres.
        unit_is_sure: the unit was given by the user or fixed by the format; if False, depth that
            is implausible for rooms is refused.
        note: remarks, such as how the split was made; may be empty.
    """

    layout: str
    ground_truth: GroundTruth
    units: str
    depth_scale: float = 1.0
    unit_is_sure: bool = False
    note: str = ''
    _factor: float = 1.0

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pairs."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Read pair `index` without checks, in metres by the layout's own depth scale."""

    def focal_of(self, index: int) -> float | None:
        """Return a number that identifies pair `index`'s camera, without reading the pair.

        None if unknown; layouts with a single camera return 0.
        """
        return 0.0

    @abstractmethod
    def source(self, index: int) -> str:
        """Return the file of pair `index` (and the position in it), for messages."""

    def __getitem__(self, index: int) -> Sample:
        """Read and check pair `index`.

        Raises:
            IndexError: there is no such pair.
            DataError: the pair cannot be used; one sentence with the file's name.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'pair {index} of {len(self)}')
        return check_sample(self.scaled(index), self.source(index), self.depth_scale)

    def scaled(self, index: int) -> Sample:
        """Read pair `index` in metres, without checks."""
        sample = self.read(index)
        if self._factor == 1:
            return sample
        return replace(sample, depth=sample.depth * np.float32(self._factor))

    def use_scale(self, depth_scale: float) -> None:
        """Interpret stored depth with this many units per metre, overriding the layout."""
        self._factor *= self.depth_scale / depth_scale
        self.depth_scale, self.units = depth_scale, f'{depth_scale:g} units per metre'
        self.unit_is_sure = True

    def describe(self) -> str:
        """Return one line such as `sync layout, 24231 pairs, 16-bit mm, raw depth`."""
        text = f'{self.layout} layout, {len(self)} pairs, {self.units}, {self.ground_truth} depth'
        return f'{text}; {self.note}' if self.note else text


class Part(DepthDataset):
    """A subset of a data set, such as paper 002's 25 and 500 images.

    Args:
        whole: the full data set.
        indices: indices of the chosen pairs, in this order.
        note: how they were chosen.
    """

    def __init__(self, whole: DepthDataset, indices: Sequence[int], note: str) -> None:
        self.whole, self.indices = whole, tuple(indices)
        self.layout, self.ground_truth, self.units = whole.layout, whole.ground_truth, whole.units
        self.depth_scale, self.unit_is_sure = whole.depth_scale, whole.unit_is_sure
        self.note = f'{whole.note}, {note}' if whole.note else note

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Sample:
        """Read the pair from the full data set."""
        return self.whole.scaled(self.indices[index])

    def focal_of(self, index: int) -> float | None:
        """Return the value for the pair in the full data set."""
        return self.whole.focal_of(self.indices[index])

    def source(self, index: int) -> str:
        """Return the file in the full data set."""
        return self.whole.source(self.indices[index])


def evenly(whole: DepthDataset, count: int) -> DepthDataset:
    """Return `count` equally spaced pairs (paper 003's training set), or all if there are fewer."""
    if count >= len(whole):
        return whole
    indices = [index * len(whole) // count for index in range(count)]
    return Part(whole, indices, f'{count} of {len(whole)} pairs, equally spaced')


def every(whole: DepthDataset, stride: int) -> DepthDataset:
    """Return pairs 0, stride, 2 stride, ..."""
    if stride <= 1:
        return whole
    return Part(whole, range(0, len(whole), stride), f'one pair in {stride}')


def good_samples(dataset: DepthDataset, indices: Iterable[int] | None = None) -> Iterator[Sample]:
    """Yield the usable pairs with these indices (None = all), in order."""
    for index in range(len(dataset)) if indices is None else indices:
        with suppress(DataError):
            yield dataset[index]


class PerProcess(Generic[Handle]):
    """A handle that each process opens at first use.

    HDF5 and zip handles survive neither fork nor pickle, so only the opener (a picklable callable)
    is passed on.
    """

    def __init__(self, opener: Callable[[], Handle]) -> None:
        self._opener = opener
        self._process: int | None = None
        self._handle: Handle | None = None

    def get(self) -> Handle:
        """Return the handle of the current process."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._opener(), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {'_opener': self._opener, '_process': None, '_handle': None}
