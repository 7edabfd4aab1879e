# SPDX-License-Identifier: Apache-2.0
"""`camera.json`: what camera took the pictures of a folder, and in what unit its depth is."""
from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from depth_training.data.image_files import read_bytes
from depth_training.data.sample import DataError

FILE = 'camera.json'
_ANY_WIDTH = 1000


class Camera(NamedTuple):
    """What `camera.json` says; None where it does not. `horizontal_fov_deg` stands for fx and cx.

    Attributes:
        fx: focal length in pixels of a picture `width` wide.
        cx: column of the optical axis in such a picture.
        width: pixels.
        depth_scale: units a metre in which depth is stored.
    """

    fx: float | None = None
    cx: float | None = None
    width: int | None = None
    depth_scale: float | None = None


def read_camera(folder: Path, root: Path | None = None) -> Camera:
    """The camera of a folder: its own `camera.json`, or the one of the data's root.

    Raises:
        DataError: it has neither numbers fx and width nor a field of view nor a depth scale.
    """
    file = next((place / FILE for place in (folder, root or folder)
                 if (place / FILE).is_file()), None)
    if file is None:
        return Camera()
    try:
        values = json.loads(read_bytes(file))
        scale = values.get('depth_scale')
        scale = None if scale is None else float(scale)
        if scale is not None and not 0 < scale < float('inf'):
            raise ValueError(f'depth_scale {scale}')
        if 'horizontal_fov_deg' in values:
            return _of_field_of_view(float(values['horizontal_fov_deg']), scale)
        if scale is not None and 'fx' not in values:
            return Camera(depth_scale=scale)
        width = int(values['width'])
        return Camera(float(values['fx']), float(values.get('cx', (width - 1) / 2)), width, scale)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f'{file} has no numbers fx and width, or horizontal_fov_deg: {error}') \
            from error


def _of_field_of_view(degrees: float, scale: float | None) -> Camera:
    if not 0 < degrees < 180:
        raise ValueError(f'horizontal_fov_deg {degrees:g}')
    # Of a picture of any width: what is read is scaled to the picture's own.
    return Camera(_ANY_WIDTH / 2 / math.tan(math.radians(degrees) / 2), (_ANY_WIDTH - 1) / 2,
                  _ANY_WIDTH, scale)


def common_scale(root: Path, cameras: Iterable[Camera]) -> float | None:
    """The depth scale that all cameras say; None where none says one.

    Raises:
        DataError: they say different ones.
    """
    scales = {camera.depth_scale for camera in cameras}
    if len(scales) > 1:
        raise DataError(f'{root}: its scenes have different depth scales '
                        f'({", ".join(sorted(map(str, scales)))}); open each by itself, with '
                        'several --data')
    return next(iter(scales), None)
