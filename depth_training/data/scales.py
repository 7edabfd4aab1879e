# SPDX-License-Identifier: Apache-2.0
"""Usual units of stored depth, and which of them make stored values plausible for rooms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Units per metre, and who stores depth in them.
KNOWN_SCALES = {
    1: 'metres',
    100: 'centimetres',
    256: 'KITTI',
    1000: 'millimetres',
    4000: 'RealSense L515, Matterport3D',
    5000: 'TUM RGB-D',
    6553.5: '65535 = 10 m',
    10000: 'tenths of a millimetre',
}
#: Metres: range of plausible median depths of rooms, and the most usual one.
_PLAUSIBLE, _USUAL = (1.0, 7.0), 2.5
#: Largest number of units to suggest.
_NAMED = 4


def likely_scales(stored: NDArray[np.floating]) -> list[float]:
    """Return the units per metre that make the stored values plausible for rooms, best first."""
    median, largest, step = float(np.median(stored)), float(stored.max()), _common_step(stored)

    def unlikely(scale: float) -> tuple[bool, bool, float]:
        fills = scale == 6553.5 and largest > 60_000
        # Scaled-up millimetres have gaps: TUM's values, for example, are multiples of 5.
        multiple = scale > 1000 and step > 1 and step % (scale / 1000) == 0
        return not multiple, not fills, abs(math.log(median / scale / _USUAL))

    low, high = _PLAUSIBLE
    return sorted((scale for scale in KNOWN_SCALES if low <= median / scale <= high), key=unlikely)


def remedy(stored: NDArray[np.floating], scale: float) -> str:
    """Suggest, as the end of a sentence, what to do if depth is implausible at this scale."""
    others = [other for other in likely_scales(stored) if other != scale]
    likely = (
        ''
        if not others
        else f'likely {others[0]:g} units per metre ({KNOWN_SCALES[others[0]]})'
        + ''.join(f' or {other:g}' for other in others[1:_NAMED])
        + '; '
    )
    return (
        f'{likely}give the units per metre with --depth-scale, or confirm with --depth-scale '
        f'{scale:g}'
    )


def _common_step(stored: NDArray[np.floating]) -> int:
    """Return the greatest common divisor of integers; 1 for floats."""
    whole = np.round(stored.astype(np.float64))
    if np.abs(whole - stored).max(initial=0) > 0.05:
        return 1
    return int(np.gcd.reduce(whole.astype(np.int64)))
