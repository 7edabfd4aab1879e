# SPDX-License-Identifier: Apache-2.0
"""How an image becomes a network's input, and how its output becomes an image again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: See `Preparation.size`.
SIZE_POLICIES = ('area', 'fixed', 'aspect', 'own')
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic')


@dataclass(frozen=True)
class Preparation:
    """What is done before and after a network; the defaults are those of this project's own.

    Attributes:
        size: what the network is fed. `area`: the image's aspect ratio, the training's area.
            `fixed`: the training's size, whatever the image. `aspect`: the image's aspect ratio,
            scaled as little as possible so that one side is the training's (as DPT and Depth
            Anything do). `own`: the image's own size, rounded down.
        multiple: both sides of what is fed are multiples of it.
        interpolation: of the resize of the image.
        antialias: whether that averages over what it makes smaller.
        align_corners: whether that puts the centres of the corner pixels onto each other.
        resize_values: what is resized: bytes, whose result is rounded, or floating-point values.
        padding: so many times sqrt(side / 2) pixels of the image's reflection are added on each
            side (ZoeDepth: 3).
        output_interpolation: of the resize of the output to the size of the image.
        converts_last: whether a reciprocal output is resized before it becomes metres.
    """

    size: Literal['area', 'fixed', 'aspect', 'own'] = 'area'
    multiple: int = 16
    interpolation: Literal['nearest', 'bilinear', 'bicubic'] = 'bilinear'
    antialias: bool = True
    align_corners: bool = False
    resize_values: Literal['bytes', 'floats'] = 'bytes'
    padding: float = 0.0
    output_interpolation: Literal['nearest', 'bilinear', 'bicubic'] = 'bilinear'
    converts_last: bool = False

    def is_valid(self) -> bool:
        """Whether all values are of their types and in range."""
        flags = (self.antialias, self.align_corners, self.converts_last)
        return (
            self.size in SIZE_POLICIES
            and _is_count(self.multiple)
            and self.interpolation in INTERPOLATIONS
            and self.output_interpolation in INTERPOLATIONS
            and all(isinstance(flag, bool) for flag in flags)
            and self.resize_values in ('bytes', 'floats')
            and isinstance(self.padding, (int, float))
            and 0 <= self.padding <= 10
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1024
