# SPDX-License-Identifier: Apache-2.0
"""Values of more than 8 bits to 8: by the bits that a camera uses, which no encoding tells."""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: Bits that sensors have; 16 bits hold any of them.
_SENSORS = (10, 12, 14, 16)
#: Share of an image's values that may be larger: hot pixels, and lines of a camera's own data.
_OUTLIERS = 1e-3
#: A floating-point image with a larger value is not of 0 to 1, but of 0 to 255.
_UNIT_LIMIT = 2.0


class ValueRange:
    """What the values of one stream run to; it only ever grows, so that brightness does not jump.

    Cameras of 10, 12 or 14 bits leave the upper ones of 16 empty: taken as 16 bits, their images
    are all but black.
    """

    def __init__(self) -> None:
        self.bits = _SENSORS[0]
        self._is_unit = True

    def to_8_bits(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The same image as uint8; from uint16, or from floats of 0 to 1 or of 0 to 255."""
        values = np.ascontiguousarray(values)
        if values.dtype.kind == 'f':
            return self._of_floats(values)
        allowed = _OUTLIERS * values.size
        self.bits = next(bits for bits in _SENSORS if bits >= self.bits and (
            bits == 16 or np.count_nonzero(values >= 1 << bits) <= allowed))
        scaled: NDArray[np.uint8] = cv2.convertScaleAbs(
            values, alpha=255 / ((1 << self.bits) - 1))
        return scaled

    def _of_floats(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        self._is_unit = self._is_unit and float(values.max(initial=0)) <= _UNIT_LIMIT
        scaled = np.rint(values * (255 if self._is_unit else 1))
        return np.asarray(np.clip(scaled, 0, 255), np.uint8)
