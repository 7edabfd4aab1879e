# SPDX-License-Identifier: Apache-2.0
"""Read `splits.mat` of NYU Depth v2: the official 795 training and 654 test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_training.data.image_files import read_bytes
from depth_training.data.sample import DataError

_KEYS = {'train': 'trainNdxs', 'test': 'testNdxs'}


def read_splits(file: Path) -> dict[str, NDArray[np.int64]]:
    """Return 0-based indices of `train` and `test`; the file's indices are 1-based (MATLAB).

    Raises:
        DataError: the file is missing or not MATLAB 5.0, or lacks two disjoint index lists.
    """
    from scipy.io import loadmat

    if not read_bytes(file).startswith(b'MATLAB 5.0'):
        raise DataError(f'{file} is not a MATLAB 5.0 file, as splits.mat is')
    try:
        content = loadmat(file, variable_names=list(_KEYS.values()))
        splits = {split: content[key].ravel().astype(np.int64) - 1 for split, key in _KEYS.items()}
    except (KeyError, ValueError, OSError, NotImplementedError) as error:
        raise DataError(f'{file} has no readable trainNdxs and testNdxs ({error})') from error
    train, test = splits['train'], splits['test']
    if np.intersect1d(train, test).size or min(train.min(initial=0), test.min(initial=0)) < 0:
        raise DataError(f'{file}: its training and test images overlap or are not 1-based')
    return splits
