# SPDX-License-Identifier: Apache-2.0
"""Anchors in text files: lines of u, v and metres, such as a spreadsheet or a script writes."""
from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depth_perception.camera.model import CameraModel

if TYPE_CHECKING:
    from depth_perception.depth.anchors import Anchors

#: The end of the name of a file that belongs to an image.
ANCHORS_SUFFIX = '.anchors.csv'
#: What the third column may be called: metres along the optical axis, or from the camera.
DEPTH, DISTANCE = 'depth', 'distance'
_HEADERS = (['u', 'v', DEPTH], ['u', 'v', DISTANCE])
#: A file with more bytes is no list of anchors.
_MOST_BYTES = 50_000_000


class AnchorFileError(ValueError):
    """A file of anchors that cannot be used; the text names it and says why."""


def read_anchors(path: Path, camera: CameraModel | None = None) -> Anchors:
    """Anchors of a text file: a line each with u, v and metres.

    Columns are separated by commas, semicolons or blanks; a line that is empty or begins with # is
    none. The first line may be a header: `u,v,depth` (the default), metres along the optical axis,
    or `u,v,distance`, metres from the camera, as a tape measures.

    Args:
        path: of the file.
        camera: of the image; needed for distances.

    Raises:
        AnchorFileError: the file cannot be read, a line is something else, or distances are given
            and the camera is not known.
    """
    from depth_perception.depth.anchors import Anchors

    rows: list[list[float]] = []
    column, is_first = DEPTH, True
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        words = [word for word in re.split(r'[,;\s]+', line.strip()) if word]
        if is_first and [word.lower() for word in words] in _HEADERS:
            column = words[2].lower()
        else:
            rows.append(_row(path, number, words, line))
        is_first = False
    if not rows:
        raise AnchorFileError(f'{path} has no anchors: it needs lines of u, v and metres')
    u, v, metres = np.array(rows).T
    if column == DISTANCE:
        if camera is None:
            raise AnchorFileError(
                f'{path} has distances from the camera, which need a known camera (--camera, '
                '--horizontal-fov-deg); or give metres along the optical axis, below "u,v,depth"')
        x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
        metres = metres / np.sqrt(1 + x * x + y * y)
    return Anchors.of(u, v, metres)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise AnchorFileError(f'{path} is no list of anchors: it has '
                                  f'{path.stat().st_size / 1e6:.0f} MB')
        return path.read_text(encoding='utf-8-sig')
    except OSError as error:
        raise AnchorFileError(f'cannot read {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise AnchorFileError(f'{path} is no text') from error


def _row(path: Path, number: int, words: list[str], line: str) -> list[float]:
    """u, v and metres of a line."""
    shown = line.strip()[:60]
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise AnchorFileError(f'{path}, line {number}: need u, v and metres, got {shown!r}')
    if values[2] <= 0:
        raise AnchorFileError(f'{path}, line {number}: metres must be above 0, got {shown!r}')
    return values
