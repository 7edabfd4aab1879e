# SPDX-License-Identifier: Apache-2.0
"""Read a depth map from any usual file: 8- or 16-bit or float PNG and TIFF, .npy or .exr."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.image_files import NOT_MEASURED, decode, read_bytes
from depth_training.data.sample import DataError

SUFFIXES = ('.png', '.npy', '.exr', '.tif', '.tiff')
#: Channels of an .exr file with several that hold depth: of renderers, and of one-channel images.
_DEPTH_CHANNELS = ('Z', 'Y', 'V')


def read_depth(path: Path, scale: float) -> NDArray[np.float32]:
    """Read depth (H, W) in metres from a file with `scale` units per metre; 0 = unknown.

    Raises:
        DataError: the file cannot be read or does not hold a single depth map.
    """
    stored = read_stored(path)
    if stored.dtype == np.uint16:
        stored = np.where(stored == NOT_MEASURED, 0, stored)
    return stored.astype(np.float32) / np.float32(scale)


def read_stored(path: Path) -> NDArray[np.generic]:
    """Read the stored numbers (H, W) of a file.

    Raises:
        DataError: the file cannot be read or does not hold a single depth map.
    """
    if path.suffix.lower() == '.npy':
        from depth_training.data.layouts.densedepth_test import open_array

        stored = np.squeeze(np.asarray(open_array(path)))
    elif path.suffix.lower() == '.exr':
        stored = _read_exr(path)
    else:
        stored = decode(read_bytes(path), str(path), cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype == bool or not np.issubdtype(stored.dtype, np.number):
        raise DataError(f'{path} is {stored.dtype} {stored.shape}, not a one-channel depth image')
    return stored


def natural_scale(path: Path) -> float:
    """Return the usual units per metre of a file's type: 1 for floats, 1000 for 16-bit integers.

    Raises:
        DataError: the file has 8 bits per pixel, for which there is no usual unit, or it cannot
            be read.
    """
    stored = read_stored(path)
    if stored.dtype == np.uint8:
        raise DataError(
            f'{path} has 8 bits per pixel, which cannot be millimetres: give its units '
            'per metre with --depth-scale, for example 25.5 if 255 is 10 m'
        )
    return 1.0 if np.issubdtype(stored.dtype, np.floating) else 1000.0


def _read_exr(path: Path) -> NDArray[np.generic]:
    """Read the depth channel of an OpenEXR file; three equal ones count as one."""
    import OpenEXR

    read_bytes(path)  # errors of a missing or empty file
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.array(item.pixels) for name, item in file.channels().items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise DataError(f'{path} is damaged or not an OpenEXR file') from error
    named = [image for name, image in channels.items() if name.split('.')[-1] in _DEPTH_CHANNELS]
    images = named if len(named) == 1 else list(channels.values())
    if not images or any(not np.array_equal(images[0], other) for other in images[1:]):
        raise DataError(
            f'{path} has the channels {", ".join(channels)}, none of which is clearly depth: '
            'write it with one channel'
        )
    return images[0]
