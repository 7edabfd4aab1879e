# SPDX-License-Identifier: Apache-2.0
"""Units in which depth is stored, and which of them would make stored values depth of rooms."""
from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Units a metre, and who writes depth so.
KNOWN_SCALES = {
    1: 'metres', 100: 'centimetres', 256: 'KITTI', 1000: 'millimetres',
    4000: 'RealSense L515, Matterport3D', 5000: 'TUM RGB-D', 6553.5: '65535 = 10 m',
    10000: 'tenths of a millimetre'}
#: Metres: where the median of rooms lies, and where it mostly does.
_PLAUSIBLE, _USUAL = (1.0, 7.0), 2.5
#: So many units are named at most.
_NAMED = 4


def likely_scales(stored: NDArray[np.floating]) -> list[float]:
    """Units a metre in which stored values would be depth of rooms, the likeliest first."""
    median, largest, step = float(np.median(stored)), float(stored.max()), _common_step(stored)

    def unlikely(scale: float) -> tuple[bool, bool, float]:
        fills = scale == 6553.5 and largest > 60_000
        # Millimetres that were multiplied leave gaps, such as TUM's by 5.
        multiple = scale > 1000 and step > 1 and step % (scale / 1000) == 0
        return not multiple, not fills, abs(math.log(median / scale / _USUAL))

    low, high = _PLAUSIBLE
    return sorted((scale for scale in KNOWN_SCALES if low <= median / scale <= high), key=unlikely)


def remedy(stored: NDArray[np.floating], scale: float) -> str:
    """What to do about values that are implausible in `scale` units a metre: a sentence's end."""
    others = [other for other in likely_scales(stored) if other != scale]
    likely = '' if not others else \
        f'likely {others[0]:g} units a metre ({KNOWN_SCALES[others[0]]})' \
        + ''.join(f' or {other:g}' for other in others[1:_NAMED]) + '; '
    return f'{likely}give the units a metre with --depth-scale, or confirm with --depth-scale ' \
           f'{scale:g}'


def _common_step(stored: NDArray[np.floating]) -> int:
    """Greatest common divisor of whole numbers; 1 for others."""
    whole = np.round(stored.astype(np.float64))
    if np.abs(whole - stored).max(initial=0) > 0.05:
        return 1
    return int(np.gcd.reduce(whole.astype(np.int64)))
