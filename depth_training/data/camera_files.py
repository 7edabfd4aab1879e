# SPDX-License-Identifier: Apache-2.0
"""Read `camera.json`: the camera of a folder's images and the unit of their depth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from depth_training.data.image_files import read_text
from depth_training.data.sample import DataError

FILE = 'camera.json'
_ANY_WIDTH = 1000


class Camera(NamedTuple):
    """Values of `camera.json`; None if not given. `horizontal_fov_deg` may replace fx and cx.

    Attributes:
        fx: focal length in pixels of an image `width` pixels wide.
        cx: column of the optical axis in such an image.
        width: image width in pixels.
        depth_scale: units per metre of the stored depth.
    """

    fx: float | None = None
    cx: float | None = None
    width: int | None = None
    depth_scale: float | None = None


def read_camera(folder: Path, root: Path | None = None) -> Camera:
    """Read the camera of a folder from its own `camera.json`, or else from the data's root.

    Raises:
        DataError: the file has neither fx and width, nor a field of view, nor a depth scale.
    """
    file = next(
        (place / FILE for place in (folder, root or folder) if (place / FILE).is_file()), None
    )
    if file is None:
        return Camera()
    try:
        values = json.loads(read_text(file))
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
        raise DataError(
            f'{file} has no numbers fx and width, or horizontal_fov_deg: {error}'
        ) from error


def _of_field_of_view(degrees: float, scale: float | None) -> Camera:
    if not 0 < degrees < 180:
        raise ValueError(f'horizontal_fov_deg {degrees:g}')
    # A field of view fixes fx only relative to the width; the reader scales it to each image.
    return Camera(
        _ANY_WIDTH / 2 / math.tan(math.radians(degrees) / 2),
        (_ANY_WIDTH - 1) / 2,
        _ANY_WIDTH,
        scale,
    )


def common_scale(root: Path, cameras: Iterable[Camera]) -> float | None:
    """Return the depth scale that all cameras share, or None if none gives one.

    Raises:
        DataError: cameras give different scales.
    """
    scales = {camera.depth_scale for camera in cameras}
    if len(scales) > 1:
        raise DataError(
            f'{root}: its scenes have different depth scales '
            f'({", ".join(sorted(map(str, scales)))}); open each by itself, with '
            'several --data'
        )
    return next(iter(scales), None)
