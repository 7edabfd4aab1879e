# SPDX-License-Identifier: Apache-2.0
"""Encode depth as PNG and colour images as JPEG, like the plugins of image_transport.

compressed_depth_image_transport (image_transport_plugins, `codec.cpp`) writes a header of twelve
bytes before a 16-bit PNG: a C enum, 0 for inverse depth, and the floats A and B. Depth in metres is
sent as the integer `A / depth + B`, where 0 means "no depth"; millimetres are sent unchanged.
"""

from __future__ import annotations

import math
import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.millimetres import to_millimetres

#: compressionFormat INV_DEPTH of `compression_common.hpp`.
_INVERSE_DEPTH = 0
#: The plugin's default depth_quantization: a step of 1 cm at 10 m, 0.1 mm at 1 m.
_QUANTIZATION = 100.0
#: The largest 16-bit value.
_LARGEST = 65535
#: Level 9, the plugin's, takes 30 times as long to save 10 % of the bytes (a frame of the clip).
_PNG_LEVEL = 1
#: The default of compressed_image_transport.
_JPEG_QUALITY = 95


def compressed_depth(
    depth: NDArray[np.float32], encoding: str, limits: tuple[float, float]
) -> bytes:
    """Encode depth (H, W) in metres as the payload of `<encoding>; compressedDepth png`.

    Args:
        depth: NaN and infinities become "no depth".
        encoding: 32FC1 or 16UC1.
        limits: smallest and largest depth, metres.
    """
    if encoding == '16UC1':
        a = b = 0.0
        values = to_millimetres(depth)
    else:
        a, b = _inverse_depth(*limits)
        values = _quantized(depth, a, b)
    header = struct.pack('<iff', _INVERSE_DEPTH, a, b)
    return header + _encoded('.png', values, cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL)


def jpeg(bgr: NDArray[np.uint8]) -> bytes:
    """Encode a BGR image (H, W, 3) as the payload of `bgr8; jpeg compressed bgr8`."""
    return _encoded('.jpg', bgr, cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)


def _inverse_depth(near: float, far: float) -> tuple[float, float]:
    """Return the plugin's A and B, or coarser ones if the nearest depth exceeds 16 bits."""
    spread = 1 / max(near, 1e-6) - (0.0 if math.isinf(far) else 1 / far)
    a = min(_QUANTIZATION * (_QUANTIZATION + 1), (_LARGEST - 2) / spread)
    # Round to 32 bits, as in the header.
    return float(np.float32(a)), float(np.float32(1 - a / far))


def _quantized(depth: NDArray[np.float32], a: float, b: float) -> NDArray[np.uint16]:
    """Quantize each finite depth to the nearest step, at least 1; 0 for no depth."""
    is_known = np.isfinite(depth) & (depth > 0)
    steps = np.rint(a / np.where(is_known, depth, np.float32(1)) + b)
    return np.where(is_known, np.clip(steps, 1, _LARGEST), 0).astype(np.uint16)


def _encoded(
    ending: str, values: NDArray[np.uint8] | NDArray[np.uint16], flag: int, value: int
) -> bytes:
    return cv2.imencode(ending, values, [flag, value])[1].tobytes()
