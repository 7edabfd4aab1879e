# SPDX-License-Identifier: Apache-2.0
"""Numbers on command lines; argparse would name the function that reads them in its errors."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


def number(
    kind: type, low: float, high: float = math.inf, *, above: bool = False
) -> Callable[[str], Any]:
    """What reads the text of an option, to be its `type`.

    Args:
        kind: int or float.
        low: the least number, or, with `above`, less than any.
        high: the largest.
        above: whether `low` itself is too small.

    Examples:
        >>> from depth_perception.number_options import number
        >>> number(int, 1)('0')
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 0 is not 1 or more
    """
    if math.isinf(high):
        wanted = f'above {low:g}' if above else f'{low:g} or more'
    else:
        wanted = f'above {low:g} and at most {high:g}' if above else f'{low:g} to {high:g}'

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            what = 'whole number' if kind is int else 'number'
            raise argparse.ArgumentTypeError(
                f'{text!r} is no {what}: it must be {wanted}'
            ) from None
        if not (low < value if above else low <= value) or not (
            value <= high and math.isfinite(value)
        ):
            raise argparse.ArgumentTypeError(f'{text} is not {wanted}')
        return value

    return read
