# SPDX-License-Identifier: Apache-2.0
"""`*_rgb.png` + `*_dpth.npy` pairs: the test set that was published with paper 003.

Depth is filled, in metres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.layouts.densedepth_test import open_array
from depth_training.data.layouts.sync import NYU_CX, NYU_FX
from depth_training.data.matching import left_over
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose

_RGB, _DEPTH = '_rgb.png', '_dpth.npy'


def recognise(path: Path) -> bool:
    """Accept a folder with files of both kinds."""
    return path.is_dir() and all(any(path.glob(f'*{end}')) for end in (_RGB, _DEPTH))


def open_layout(request: Request) -> DepthDataset:
    """Open the folder.

    These files are a test set, so `test` is the whole folder. As there is no split, `train` is all
    but the last tenth of the frames.

    Raises:
        DataError: no colour image has a depth map.
    """
    files = {file.name for file in request.path.iterdir()}
    stems = sorted(name[: -len(_RGB)] for name in files if name.endswith(_RGB))
    pairs = [
        Pair(stem + _RGB, stem + _DEPTH, NYU_FX, NYU_CX, 640)
        for stem in stems
        if stem + _DEPTH in files
    ]
    if not pairs:
        raise DataError(f'{request.path} has no *{_RGB} with its *{_DEPTH}')
    note = 'whole folder'
    if request.split == 'train':
        pairs, note = choose({'.': pairs}, request)
    lonely = left_over([stem + _RGB for stem in stems if stem + _DEPTH not in files])
    note = '; '.join(filter(None, (note, lonely)))
    return PairFiles(
        'npy_pairs', request.path, pairs, 'filled', 'float metres', note, _read_npy, depth_scale=1.0
    )


def _read_npy(path: Path) -> NDArray[np.float32]:
    depth = np.squeeze(np.asarray(open_array(path)))
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.number):
        raise DataError(f'{path} is {depth.dtype} {depth.shape}, not one depth image')
    return depth.astype(np.float32)
