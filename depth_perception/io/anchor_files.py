# SPDX-License-Identifier: Apache-2.0
"""Read anchors from text files: lines of u, v and metres, as from a spreadsheet or script."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.reading import NotTextError, read_text

if TYPE_CHECKING:
    from depth_perception.depth.anchors import Anchors

#: File name ending of the anchors of an image.
ANCHORS_SUFFIX = '.anchors.csv'
#: Names of the third column: metres along the optical axis, or from the camera.
DEPTH, DISTANCE = 'depth', 'distance'
_COLUMNS = {DEPTH: DEPTH, 'metres': DEPTH, 'meters': DEPTH, DISTANCE: DISTANCE}
#: `swapped` needs so many anchors, a scatter of log(true / predicted depth) above the second, and
#: that it is by the third factor less with u and v swapped. On 44 real and 60 rendered pictures,
#: each with three rows, a column and zones (520 sets), this never was so of right anchors, and of
#: swapped ones in 43 % (real) and 72 % (rendered) of the sets. The limits were chosen on these same
#: pictures: with 0.08 and 2, 6 of the 520 right sets were taken for swapped ones.
_LEAST_SWAPPED, _SCATTER, _BETTER = 8, 0.15, 2.5


class AnchorFileError(ValueError):
    """A file of anchors cannot be used; the message names it and says why."""


def read_anchors(path: Path, camera: CameraModel | None = None) -> Anchors:
    """Read anchors from a text file; each line has u, v and metres.

    Columns are separated by commas, semicolons or blanks. Empty lines and lines that start with #
    are ignored. The first line may be a header: `u,v,depth` or `u,v,metres` (the default) for
    metres along the optical axis, or `u,v,distance` for metres from the camera, as a tape measures.

    Args:
        path: the text file.
        camera: camera of the image; needed for distances.

    Raises:
        AnchorFileError: the file cannot be read, a line cannot be parsed, its unit cannot be the
            metre, or distances are given but the camera is unknown.
    """
    from depth_perception.depth.anchors import FARTHEST, Anchors

    rows: list[list[float]] = []
    column, is_first = DEPTH, True
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        words = [word for word in re.split(r'[,;\s]+', line.strip()) if word]
        if is_first and (named := _column(words)):
            column = named
        else:
            rows.append(_row(path, number, words, line))
        is_first = False
    if not rows:
        raise AnchorFileError(f'{path} has no anchors: it needs lines of u, v and metres')
    u, v, metres = np.array(rows).T
    if (middle := float(np.median(metres))) > FARTHEST:
        raise AnchorFileError(
            f'{path}: half of its anchors are farther than {middle:.0f} m; give metres, not '
            'centimetres or millimetres'
        )
    if column == DISTANCE:
        if camera is None:
            raise AnchorFileError(
                f'{path} has distances from the camera, which need a known camera (--camera, '
                '--horizontal-fov-deg); or give metres along the optical axis, below "u,v,depth"'
            )
        x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
        metres = metres / np.sqrt(1 + x * x + y * y)
    return Anchors.of(u, v, metres)


def misplaced(anchors: Anchors, height: int, width: int) -> str:
    """Return a remark if most anchors are outside an image of this size, or ''."""

    def inside(u: NDArray[np.float64], v: NDArray[np.float64]) -> int:
        return int(((abs(u - width / 2) <= width / 2) & (abs(v - height / 2) <= height / 2)).sum())

    found = inside(anchors.u, anchors.v)
    if 2 * found > len(anchors):
        return ''
    swapped = inside(anchors.v, anchors.u) > found
    return (
        f'{len(anchors) - found} of {len(anchors)} anchors are outside the image of '
        f'{width}x{height} pixels' + ('; are u and v swapped?' if swapped else '')
    )


def swapped(anchors: Anchors, depth: NDArray[np.float32]) -> str:
    """Return a remark if anchors fit a predicted depth (H, W) far better with u and v swapped.

    Compares the scatter of log(true / predicted depth), which no wrong scale changes, at the
    anchors that lie in the image either way.
    """
    side = min(depth.shape)
    with np.errstate(invalid='ignore', divide='ignore'):
        usable = (
            (np.minimum(anchors.u, anchors.v) > -0.5)
            & (np.maximum(anchors.u, anchors.v) < side - 0.5)
            & (anchors.depth > 0)
        )
        u, v = (np.rint(place[usable]).astype(int) for place in (anchors.u, anchors.v))
        as_given, exchanged = (
            np.log(anchors.depth[usable] / depth[row, column]) for row, column in ((v, u), (u, v))
        )
    known = np.isfinite(as_given) & np.isfinite(exchanged)
    if np.count_nonzero(known) < _LEAST_SWAPPED:
        return ''
    given, other = (_scatter(logs[known]) for logs in (as_given, exchanged))
    if given <= max(_SCATTER, _BETTER * other):
        return ''
    return (
        f'with u and v swapped the anchors would fit the image better: between them depth would be '
        f'off by {100 * math.expm1(other):.0f} %, not {100 * math.expm1(given):.0f} %; are u and '
        'v swapped?'
    )


def _scatter(logs: NDArray[np.float64]) -> float:
    """Return the median of |value - median|."""
    return float(np.median(abs(logs - np.median(logs))))


def _column(words: list[str]) -> str | None:
    """Return the kind of the third column if a line is a header, else None."""
    names = [word.lower() for word in words]
    return _COLUMNS.get(names[2]) if names[:2] == ['u', 'v'] and len(names) == 3 else None


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise AnchorFileError(f'cannot read {path}: {error.strerror}') from error
    except NotTextError as error:
        raise AnchorFileError(str(error)) from error


def _row(path: Path, number: int, words: list[str], line: str) -> list[float]:
    """Parse u, v and metres of a line."""
    shown = line.strip()[:60]
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        decimals = ' (decimals have a point, not a comma)' if {',', ';'} <= set(line) else ''
        raise AnchorFileError(
            f'{path}, line {number}: need u, v and metres, got {shown!r}{decimals}'
        )
    if values[2] <= 0:
        raise AnchorFileError(f'{path}, line {number}: metres must be above 0, got {shown!r}')
    return values
