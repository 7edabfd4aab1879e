# SPDX-License-Identifier: Apache-2.0
"""Decode image files: truncated files are refused, 8 and 16 bits are kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.reading import NotTextError, decoded, read_whole
from depth_training.data.sample import DataError

#: How a complete file ends. Some OpenCV versions fill the missing part of a truncated file in grey.
_ENDINGS = {b'\x89PNG': b'IEND', b'\xff\xd8\xff': b'\xff\xd9'}
#: DenseDepth stores its training depth in 8 bits, 255 = 10 m (its data.py).
DENSEDEPTH_METRES_PER_STEP = 10 / 255
#: What some cameras write in 16-bit depth for pixels without a measurement.
NOT_MEASURED = 65535


def read_bytes(path: str | Path) -> bytes:
    """Read a file's content.

    Raises:
        DataError: the file is missing, empty or unreadable.
    """
    try:
        content = read_whole(path)
    except FileNotFoundError as error:
        raise DataError(f'{path} is missing') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    if not content:
        raise DataError(f'{path} is empty')
    return content


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        DataError: the file is missing, empty, unreadable or not text.
    """
    return decode_text(read_bytes(path), str(path))


def decode_text(content: bytes, name: str) -> str:
    """Decode text in UTF-8.

    Raises:
        DataError: it is not text.
    """
    try:
        return decoded(content, name)
    except NotTextError as error:
        raise DataError(str(error)) from error


def decode_rgb(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG to uint8 (H, W, 3) RGB.

    Raises:
        DataError: the file is truncated or not an image.
    """
    return cv2.cvtColor(decode(content, name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def decode_depth(content: bytes, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a depth PNG as stored: (H, W), uint8 or uint16.

    Raises:
        DataError: the file is truncated, not an image, or has several channels.
    """
    image: NDArray[Any] = decode(content, name, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise DataError(f'{name} is {image.dtype} {image.shape}, not a one-channel depth image')
    return image


def millimetres(image: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    """Convert uint16 millimetres to metres; 0 and 65535 (used by some cameras) become 0 = unknown.

    Raises:
        DataError: the image has 8 bits per pixel, too few for millimetres of a room.
    """
    if image.dtype != np.uint16:
        raise DataError(f'{name} has 8 bits per pixel; this layout has 16-bit millimetres')
    return np.where(image == NOT_MEASURED, 0, image).astype(np.float32) / np.float32(1000)


def densedepth_metres(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Convert DenseDepth's depth to metres: 8 bits, 255 = 10 m (training), or 16-bit mm (test)."""
    if image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(1000)
    return image.astype(np.float32) * np.float32(DENSEDEPTH_METRES_PER_STEP)


def decode(content: bytes, name: str, flags: int) -> NDArray[np.generic]:
    """Decode an image file with OpenCV's flags for reading.

    Raises:
        DataError: the file is truncated or not an image.
    """
    for start, end in _ENDINGS.items():
        # Search the second half: an embedded thumbnail ends early, and cameras may append data.
        if content.startswith(start) and content.find(end, len(content) // 2) < 0:
            raise DataError(f'{name} is truncated')
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f'{name} is damaged or not an image')
    return image
