# SPDX-License-Identifier: Apache-2.0
"""Draw depth and errors in colour, with legends."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

#: Index 0 of the colour table is black, for unknown depth; the rest runs from far to near.
_FARTHEST, _NEAREST = 1, 255
#: Distances in legends, metres.
ROUND_DISTANCES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)
#: Relative error with the brightest colour.
LARGEST_ERROR = 0.5
_UNKNOWN_ERROR = 128
#: Smallest distance between the nearest and the farthest colour, metres.
_SMALLEST_RANGE = 0.5
#: Smallest distance of two labels of a legend, relative to its length.
_LABEL_GAP = 0.1
#: Width in pixels of a picture with letters of size 1; smallest width of a legend.
_USUAL_WIDTH, _LEAST_WIDTH = 640, 96
#: Ratio of width to height above which a picture counts as a strip.
_STRIP = 4


def colourise(depth: NDArray[np.float32], min_depth: float, max_depth: float) -> NDArray[np.uint8]:
    """Draw depth in colour, BGR (the order of `bgr8` and of OpenCV): near is red, far is blue.

    The colour map is turbo (Mikhailov 2019), over the square root of the distance into the range:
    half of the colours are for the nearest quarter, where a robot needs them. Depth below
    min_depth, also -Inf, has the colour of min_depth; depth above max_depth, also +Inf, has that
    of max_depth; NaN is black.

    Args:
        depth: float32 (H, W), metres.
        min_depth: metres, the near end of the range.
        max_depth: metres, the far end of the range.

    Returns:
        uint8 (H, W, 3), blue, green, red.

    Raises:
        ValueError: max_depth is not above min_depth.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import colourise
        >>> picture = colourise(np.array([[0.5, 9.5, np.nan]], np.float32), 0.5, 10.0)
        >>> picture.shape, picture.dtype
        ((1, 3, 3), dtype('uint8'))
        >>> blue, green, red = (picture[..., channel] for channel in range(3))
        >>> bool(red[0, 0] > blue[0, 0]), bool(blue[0, 1] > red[0, 1]), picture[0, 2].tolist()
        (True, True, [0, 0, 0])
    """
    if not max_depth > min_depth:
        raise ValueError(f'max_depth {max_depth} is not above min_depth {min_depth}')
    span = max_depth - min_depth
    # In place from here on: a new array of this size costs as much as the arithmetic.
    level = np.multiply(depth, 1 / span, dtype=np.float32)
    level -= min_depth / span
    np.clip(level, 0, 1, out=level)
    np.sqrt(level, out=level)
    level *= _FARTHEST - _NEAREST
    level += _NEAREST + 0.5
    np.copyto(level, 0, where=np.isnan(level))
    picture: NDArray[np.uint8] = cv2.applyColorMap(level.astype(np.uint8), _table())
    return picture


def fitted_range(
    depths: Iterable[NDArray[np.float32]], nearest: float, farthest: float
) -> tuple[float, float]:
    """Return a range of colours that covers nearly all known depths.

    Args:
        depths: float32 arrays, metres; values that are not finite or not positive are unknown.
        nearest: lower bound of the range, returned if all depths are unknown.
        farthest: upper bound of the range, returned if all depths are unknown.

    Returns:
        Metres, in steps of 0.1 m; at least 0.5 m apart.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.visualise import fitted_range
        >>> fitted_range([np.linspace(1, 4, 100, dtype=np.float32)], nearest=0.1, farthest=10.0)
        (1.0, 4.0)
    """
    known = [depth[np.isfinite(depth) & (depth > 0)] for depth in depths]
    ends = [np.percentile(values, (1, 99)) for values in known if values.size]
    if not ends:
        return nearest, farthest
    near = max(nearest, math.floor(10 * min(low for low, _ in ends)) / 10)
    far = min(farthest, math.ceil(10 * max(high for _, high in ends)) / 10)
    far = max(far, near + _SMALLEST_RANGE)
    return round(near, 3), round(far, 3)


def round_distances(near: float, far: float) -> list[tuple[float, float]]:
    """Return round distances within a range and their positions, 0 to 1, with enough space.

    Positions, like colours, are linear in the square root of the distance.

    Examples:
        >>> from depth_perception.depth.visualise import round_distances
        >>> [distance for distance, _ in round_distances(0.3, 6.0)]
        [0.5, 1.0, 2.0, 3.0, 5.0]
    """
    marks: list[tuple[float, float]] = []
    for distance in ROUND_DISTANCES:
        if near < distance <= far:
            place = math.sqrt((distance - near) / (far - near))
            if place > 0.03 and (not marks or place - marks[-1][1] > _LABEL_GAP):
                marks.append((distance, place))
    return marks


def with_legend(picture: NDArray[np.uint8], near: float, far: float) -> NDArray[np.uint8]:
    """Add a colour bar with distances in metres below a picture (H, W, 3) BGR.

    A picture that is narrower than the legend gets a white margin on the right.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.visualise import colourise, with_legend
        >>> picture = colourise(np.full((240, 320), 2.0, np.float32), 0.5, 10.0)
        >>> with_legend(picture, 0.5, 10.0).shape
        (268, 320, 3)
    """
    height, width = picture.shape[:2]
    # The letters of a strip depend on both of its sides; a narrow picture gets a wider legend.
    size = max(1.0, min(width, _STRIP * height) / _USUAL_WIDTH)
    bar = legend(max(width, _LEAST_WIDTH), near, far, size)
    margin = np.full((height, bar.shape[1] - width, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([picture, margin], axis=1), bar])


def relative_error(depth: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |depth - truth| / truth, (H, W); NaN where one is unknown (truth 0 or not finite).

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.visualise import relative_error
        >>> relative_error(np.array([[1.5, 2.0]], np.float32), np.array([[1.0, 0.0]], np.float32))
        array([[0.5, nan]], dtype=float32)
    """
    known = np.isfinite(truth) & (truth > 0) & np.isfinite(depth)
    error = np.full(truth.shape, np.nan, np.float32)
    error[known] = np.abs(depth[known] - truth[known]) / truth[known]
    return error


def colourise_error(error: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw a relative error (H, W) in BGR: from black at 0 to yellow at LARGEST_ERROR and above.

    Unknown errors are grey.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.visualise import colourise_error
        >>> colourise_error(np.array([[np.nan]], np.float32)).tolist()
        [[[128, 128, 128]]]
    """
    share = np.clip(np.nan_to_num(error, nan=0.0) / LARGEST_ERROR, 0, 1)
    picture: NDArray[np.uint8] = cv2.applyColorMap(
        (share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO
    )
    picture[np.isnan(error)] = _UNKNOWN_ERROR
    return picture


def error_legend(width: int, size: float | None = None) -> NDArray[np.uint8]:
    """Draw the colours of `colourise_error` with percentages below, uint8 (h, width, 3) BGR."""
    colours = colourise_error(np.linspace(0, LARGEST_ERROR, width, dtype=np.float32)[None])
    ends = [('0 % error', 0.0), (f'{100 * LARGEST_ERROR:.0f} % and more', 1.0)]
    return _bar(colours, ends, size)


def legend(width: int, near: float, far: float, size: float | None = None) -> NDArray[np.uint8]:
    """Draw the colours from near to far with distances below them, uint8 (h, width, 3) BGR.

    `size` is the size of the letters: 1 is legible on a screen; None derives it from the width.

    Examples:
        >>> from depth_perception.depth.visualise import legend
        >>> legend(320, 0.5, 10.0).shape
        (28, 320, 3)
    """
    distances = near + (far - near) * np.linspace(0, 1, width, dtype=np.float32) ** 2
    marks = [(near, 0.0), (far, 1.0), *round_distances(near, far)]
    return _bar(
        colourise(distances[None], near, far),
        [(f'{distance:.3g} m', place) for distance, place in marks],
        size,
    )


def _bar(
    colours: NDArray[np.uint8], marks: Iterable[tuple[str, float]], size: float | None
) -> NDArray[np.uint8]:
    """Draw a row of colours (1, W, 3) as a bar, with texts below at their positions, 0 to 1.

    A text that would overlap an earlier one is left out.
    """
    width = colours.shape[1]
    size = size or max(1.0, width / _USUAL_WIDTH)
    bar, height = round(10 * size), round(28 * size)
    result = np.full((height, width, 3), 255, np.uint8)
    result[:bar] = colours
    room: list[tuple[int, int]] = []
    for text, place in marks:
        (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * size, int(size))
        left = min(max(round(place * width - length / 2), 1), width - length - 1)
        if any(left < right + 4 and left + length > other - 4 for other, right in room):
            continue
        room.append((left, left + length))
        cv2.putText(
            result,
            text,
            (left, height - round(5 * size)),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4 * size,
            (0, 0, 0),
            int(size),
            cv2.LINE_AA,
        )
    return result


@functools.lru_cache(maxsize=1)
def _table() -> NDArray[np.uint8]:
    """Return the colour table, uint8 (256, 1, 3): black, then turbo without its dark ends."""
    # Turbo's ends are so dark that they look like black, which means unknown here.
    steps = np.linspace(20, 245, _NEAREST - _FARTHEST + 1).round().astype(np.uint8)
    colours = cv2.applyColorMap(steps[:, None], cv2.COLORMAP_TURBO)
    return np.concatenate([np.zeros((1, 1, 3), np.uint8), colours])
