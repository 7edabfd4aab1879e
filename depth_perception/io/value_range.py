# SPDX-License-Identifier: Apache-2.0
"""Convert values to 8 bits by the bits that the camera uses, which encodings do not tell."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: Bit depths of sensors whose values are sent in 16 bits.
_SENSORS = (10, 12, 14, 16)
#: Fraction of values that may exceed the bit depth: hot pixels and lines with embedded data.
_OUTLIERS = 1e-3
#: A floating-point image with a larger value has the range 0 to 255 instead of 0 to 1.
_UNIT_LIMIT = 2.0


class ValueRange:
    """The value range of one image stream; it never shrinks, so that brightness does not jump.

    Cameras with 10, 12 or 14 bits do not use the upper bits of 16-bit values: scaled by 16 bits,
    their images would be nearly black.
    """

    def __init__(self) -> None:
        self.bits = _SENSORS[0]
        self._is_unit = True

    def to_8_bits(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert an image from uint16, or from floats of 0 to 1 or 0 to 255, to uint8."""
        values = np.ascontiguousarray(values)
        if values.dtype.kind == 'f':
            return self._of_floats(values)
        allowed = _OUTLIERS * values.size
        self.bits = next(
            bits
            for bits in _SENSORS
            if bits >= self.bits
            and (bits == 16 or np.count_nonzero(values >= 1 << bits) <= allowed)
        )
        scaled: NDArray[np.uint8] = cv2.convertScaleAbs(values, alpha=255 / ((1 << self.bits) - 1))
        return scaled

    def _of_floats(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        self._is_unit = self._is_unit and float(values.max(initial=0)) <= _UNIT_LIMIT
        scaled = np.rint(values * (255 if self._is_unit else 1))
        return np.asarray(np.clip(scaled, 0, 255), np.uint8)
