# SPDX-License-Identifier: Apache-2.0
"""Convert metres to 16-bit millimetres, the format of REP-118, PNG files and RGB-D data sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The largest 16-bit value.
MAX_MILLIMETRES = 65535


def to_millimetres(depth: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Convert depth in metres to the nearest millimetre as uint16.

    0 stands for "no depth": NaN, infinite, not positive, or beyond 65.535 m.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import to_millimetres
        >>> to_millimetres(np.array([1.5, np.nan, np.inf, -1.0, 65.535, 65.536])).tolist()
        [1500, 0, 0, 0, 65535, 0]
    """
    millimetres = np.rint(np.asarray(depth, np.float32) * np.float32(1000))
    usable = (millimetres > 0) & (millimetres <= MAX_MILLIMETRES)  # False for NaN
    return np.where(usable, millimetres, 0).astype(np.uint16)
