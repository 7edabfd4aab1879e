# SPDX-License-Identifier: Apache-2.0
"""Depth of one file in any usual form: PNG and TIFF of 8 or 16 bits or floats, or .npy."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.image_files import NOT_MEASURED, decode, read_bytes
from depth_training.data.sample import DataError

SUFFIXES = ('.png', '.npy', '.tif', '.tiff')


def read_depth(path: Path, scale: float) -> NDArray[np.float32]:
    """Metres (H, W) of a file that holds `scale` units a metre; 0 = unknown.

    Raises:
        DataError: it cannot be read or is not one depth map.
    """
    stored = read_stored(path)
    if stored.dtype == np.uint16:
        stored = np.where(stored == NOT_MEASURED, 0, stored)
    return stored.astype(np.float32) / np.float32(scale)


def read_stored(path: Path) -> NDArray[np.generic]:
    """The numbers of a file, (H, W).

    Raises:
        DataError: it cannot be read or is not one depth map.
    """
    if path.suffix.lower() == '.npy':
        from depth_training.data.layouts.densedepth_test import open_array

        stored = np.squeeze(np.asarray(open_array(path)))
    else:
        stored = decode(read_bytes(path), str(path), cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype == bool or not np.issubdtype(stored.dtype, np.number):
        raise DataError(f'{path} is {stored.dtype} {stored.shape}, not a one-channel depth image')
    return stored


def natural_scale(path: Path) -> float:
    """Units a metre that a file's type suggests: metres of floats, millimetres of whole numbers.

    Raises:
        DataError: it has 8 bits, which suggest nothing, or it cannot be read.
    """
    stored = read_stored(path)
    if stored.dtype == np.uint8:
        raise DataError(f'{path} has 8 bits a pixel, which are no millimetres: give its units a '
                        'metre with --depth-scale, 25.5 where 255 is 10 m')
    return 1.0 if np.issubdtype(stored.dtype, np.floating) else 1000.0
