# SPDX-License-Identifier: Apache-2.0
"""DenseDepth's test set: `eigen_test_rgb.npy` (N, H, W, 3) and `eigen_test_depth.npy` (N, H, W).

Depth is filled, in metres. `eigen_test_crop.npy` next to them holds the crop of the `densedepth`
protocol; it is not read, since the protocol has it built in.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset, PerProcess, Request
from depth_training.data.layouts.sync import nyu_camera
from depth_training.data.sample import DataError, Sample

_RGB, _DEPTH = 'eigen_test_rgb.npy', 'eigen_test_depth.npy'


def recognise(path: Path) -> bool:
    """Accept a folder with both arrays."""
    return (path / _RGB).is_file() and (path / _DEPTH).is_file()


def open_layout(request: Request) -> DepthDataset:
    """Open the arrays for the splits `test` and `all`: they are a test set.

    Raises:
        DataError: training data is requested, or the arrays do not match.
    """
    if request.split == 'train':
        raise DataError(f'{request.path} is a test set: it has no training data')
    return DenseDepthTest(request.path)


class DenseDepthTest(DepthDataset):
    """The arrays, memory-mapped."""

    layout = 'densedepth_test'
    ground_truth = 'filled'
    units = 'float metres'

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rgb = PerProcess(partial(open_array, path / _RGB))
        self._depth = PerProcess(partial(open_array, path / _DEPTH))
        rgb, depth = self._rgb.get(), self._depth.get()
        if rgb.ndim != 4 or rgb.shape[:3] != depth.shape:
            raise DataError(f'{path}: {_RGB} {rgb.shape} and {_DEPTH} {depth.shape} do not match')
        if rgb.shape[1] > rgb.shape[2]:
            raise DataError(
                f"{path / _RGB} is {rgb.shape}, portrait images, but NYU's are "
                'landscape: rows and columns are swapped; save it as (N, H, W, 3)'
            )
        self._count = len(rgb)

    def __len__(self) -> int:
        return self._count

    def source(self, index: int) -> str:
        """Return the array's file and the row."""
        return f'{self.path / _RGB}, image {index}'

    def read(self, index: int) -> Sample:
        """Read one row of both arrays."""
        rgb = np.array(self._rgb.get()[index])
        depth = np.array(self._depth.get()[index], np.float32)
        return Sample(rgb, depth, f'{index:05d}', *nyu_camera(rgb.shape[1]))


def open_array(file: Path) -> NDArray[np.generic]:
    """Memory-map a .npy file; pickled objects are refused.

    Raises:
        DataError: the file is missing, truncated, or not a plain array.
    """
    try:
        return np.load(file, mmap_mode='r', allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f'{file} is missing') from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f'{file} is truncated or not a plain .npy array') from error
