# SPDX-License-Identifier: Apache-2.0
"""What every layout's reader offers, and what it is asked for."""
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
    """What to open.

    Attributes:
        path: file or folder.
        split: `train`, `test` or `all`.
        ground_truth: `raw` (with holes) or `filled`, for layouts that hold both; None = the
            layout's own default.
        hold_out: scenes that are `test`, for layouts without an official split.
        list_file: rows `rgb depth [focal length]` that choose the pairs of a sync folder.
        splits_file: `splits.mat`, where it does not lie beside the labelled .mat.
        depth_scale: units a metre in which depth is stored; None = as the layout has it.
    """

    path: Path
    split: Split = 'train'
    ground_truth: GroundTruth | None = None
    hold_out: tuple[str, ...] = ()
    list_file: Path | None = None
    splits_file: Path | None = None
    depth_scale: float | None = None


class DepthDataset(ABC):
    """RGB-D pairs by number; picklable, and its files are opened anew in each worker.

    Attributes:
        layout: name of the layout, as `open_dataset` recognised it.
        ground_truth: `raw` (sensor, with holes), `filled` (holes painted in), `exact` (rendered),
            `laser` (KITTI's single scans).
        units: how depth is stored, such as `16-bit mm`.
        depth_scale: units a metre in which depth is stored, of which `read` makes metres.
        unit_is_sure: the user or the format says it; else depth implausible for rooms is refused.
        note: what else a reader should know, such as how the split was made; may be empty.
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
        """Number of pairs."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Pair `index` as stored, in metres of the layout's own depth scale."""

    def focal_of(self, index: int) -> float | None:
        """A number that tells pair `index`'s camera from others, without reading the pair.

        None where it is unknown; layouts of one camera give 0.
        """
        return 0.0

    @abstractmethod
    def source(self, index: int) -> str:
        """File (and place in it) of pair `index`, for messages."""

    def __getitem__(self, index: int) -> Sample:
        """Pair `index`, checked.

        Raises:
            IndexError: there is no such pair.
            DataError: the pair cannot be used; one sentence with the file's name.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'pair {index} of {len(self)}')
        return check_sample(self.scaled(index), self.source(index), self.depth_scale)

    def scaled(self, index: int) -> Sample:
        """Pair `index` in metres, not checked."""
        sample = self.read(index)
        if self._factor == 1:
            return sample
        return replace(sample, depth=sample.depth * np.float32(self._factor))

    def use_scale(self, depth_scale: float) -> None:
        """Take stored depth as so many units a metre, whatever the layout says."""
        self._factor *= self.depth_scale / depth_scale
        self.depth_scale, self.units = depth_scale, f'{depth_scale:g} units a metre'
        self.unit_is_sure = True

    def describe(self) -> str:
        """One line, such as `sync layout, 24231 pairs, 16-bit mm, raw depth`."""
        text = f'{self.layout} layout, {len(self)} pairs, {self.units}, {self.ground_truth} depth'
        return f'{text}; {self.note}' if self.note else text


class Part(DepthDataset):
    """Some pairs of a data set, such as paper 002's 25 and 500 images.

    Args:
        whole: the data set.
        indices: which of its pairs, in this order.
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
        """Read from the whole."""
        return self.whole.scaled(self.indices[index])

    def focal_of(self, index: int) -> float | None:
        """Of the pair in the whole."""
        return self.whole.focal_of(self.indices[index])

    def source(self, index: int) -> str:
        """File in the whole."""
        return self.whole.source(self.indices[index])


def evenly(whole: DepthDataset, count: int) -> DepthDataset:
    """`count` equally spaced pairs (paper 003's training set), or all where there are fewer."""
    if count >= len(whole):
        return whole
    indices = [index * len(whole) // count for index in range(count)]
    return Part(whole, indices, f'{count} of {len(whole)} pairs, equally spaced')


def every(whole: DepthDataset, stride: int) -> DepthDataset:
    """Pairs 0, stride, 2 stride, ..."""
    if stride <= 1:
        return whole
    return Part(whole, range(0, len(whole), stride), f'one pair in {stride}')


def good_samples(dataset: DepthDataset, indices: Iterable[int] | None = None) -> Iterator[Sample]:
    """The pairs with these indices (None = all) that can be used, in order."""
    for index in range(len(dataset)) if indices is None else indices:
        with suppress(DataError):
            yield dataset[index]


class PerProcess(Generic[Handle]):
    """A handle opened at first use in each process.

    HDF5 and zip handles survive neither fork nor pickle; the opener (a picklable callable) does.
    """

    def __init__(self, opener: Callable[[], Handle]) -> None:
        self._opener = opener
        self._process: int | None = None
        self._handle: Handle | None = None

    def get(self) -> Handle:
        """The handle of the running process."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._opener(), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {'_opener': self._opener, '_process': None, '_handle': None}
