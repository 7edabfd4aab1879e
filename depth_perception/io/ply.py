# SPDX-License-Identifier: Apache-2.0
"""Write point clouds as `.ply` files for MeshLab, CloudCompare, Blender or Open3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.io.files import write_atomically

_POSITION = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
_COLOUR = [('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
_NAMES = {'<f4': 'float', '|u1': 'uchar'}


def write_ply(
    path: str | Path, points: NDArray[np.floating], colours: NDArray[np.uint8] | None = None
) -> int:
    """Write a binary little-endian PLY; an existing file is replaced only by a complete one.

    Args:
        path: the file to write; its folder must exist.
        points: (..., 3), metres; points that are not finite are left out.
        colours: uint8 RGB, same shape as the points.

    Returns:
        The number of points written.

    Raises:
        ValueError: the shapes or the type of the colours are wrong.
        OSError: the file cannot be written; no partial file is left behind.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from depth_perception import write_ply
        >>> points = np.array([[0.0, 0.0, 1.0], [0.1, 0.0, 1.0], [np.nan, np.nan, np.nan]])
        >>> red = np.full((3, 3), (255, 0, 0), np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     write_ply(Path(folder, 'cloud.ply'), points, red)  # the unknown point is left out
        2
    """
    parts, count = ply_parts(points, colours)
    write_atomically(path, parts)
    return count


def ply_parts(
    points: NDArray[np.floating], colours: NDArray[np.uint8] | None = None
) -> tuple[list[bytes], int]:
    """Return the contents of a PLY file and its number of points; arguments as `write_ply`."""
    _check(points, colours)
    points = points.reshape(-1, 3)
    finite = np.isfinite(points).all(axis=1)
    vertices = np.empty(int(finite.sum()), _POSITION + ([] if colours is None else _COLOUR))
    for axis, (name, _) in enumerate(_POSITION):
        vertices[name] = points[finite, axis]
    if colours is not None:
        for channel, (name, _) in enumerate(_COLOUR):
            vertices[name] = colours.reshape(-1, 3)[finite, channel]
    return [_header(vertices), vertices.tobytes()], len(vertices)


def _check(points: NDArray[np.floating], colours: NDArray[np.uint8] | None) -> None:
    if points.ndim < 1 or points.shape[-1] != 3:
        raise ValueError(f'need points (..., 3), got {points.shape}')
    if colours is not None and (colours.dtype != np.uint8 or colours.shape != points.shape):
        raise ValueError(f'need colours uint8 {points.shape}, got {colours.dtype} {colours.shape}')


def _header(vertices: NDArray[Any]) -> bytes:
    properties = [
        f'property {_NAMES[vertices.dtype[name].str]} {name}' for name in vertices.dtype.names or ()
    ]
    lines = [
        'ply',
        'format binary_little_endian 1.0',
        'comment metres; x right, y down, z forward',
        f'element vertex {len(vertices)}',
        *properties,
        'end_header',
        '',
    ]
    return '\n'.join(lines).encode()
