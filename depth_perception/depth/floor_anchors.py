# SPDX-License-Identifier: Apache-2.0
"""The floor as an anchor: how far it is, where the height and the tilt of the camera are known.

Of a floor pixel the depth is known exactly. Which pixels are floor is the question. The normals of
a surface do not change with a wrong scale, so candidates are those below the horizon whose
predicted surface is level. Among them the floor is the lowest plane: the ratio of the floor's depth
to the predicted one is larger for all that lies above it.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors, lattice, pixels
from depth_perception.depth.residual_field import NOISE
from depth_perception.depth.scan import CameraPose

Array = TypeVar('Array', NDArray[Any], Tensor)

#: Metres: a higher camera sees tables from above, and takes them for the floor.
HIGHEST_CAMERA = 0.7
#: Pixels of the image, (rows, columns), at which its surface is looked at.
_LOOKS = (36, 48)
#: Degrees: a surface is level up to here, and rays that fall less are of no use.
LEVEL_DEG, LEAST_FALL_DEG = 15.0, 5.0
#: Radians by which a pitch may be wrong: it makes the depth of the floor wrong by this over the
#: angle at which the ray falls.
PITCH_ERROR = math.radians(1.0)
#: Log ratio: width of the bins in which the lowest plane is looked for, and of that plane.
_BIN, _PLANE = 0.05, 0.15
#: The lowest plane has at least so many looks, this share of all level ones, and this share of the
#: largest plane.
LEAST_LOOKS, LEAST_SHARE, LEAST_OF_LARGEST = 40, 0.15, 0.3
#: Log ratio of the lowest plane at most: a level thing that hides the floor would be taken for it,
#: and all depth for too small. So the floor alone makes no depth larger by more than a factor 1.35;
#: how much smaller it makes one is not limited here.
LARGEST_RATIO = 0.3
#: Anchors that the floor makes, and their weight: their errors are not independent.
FLOOR_ANCHORS, FLOOR_WEIGHT = 48, 0.5


def floor_anchors(predicted: Array, camera: CameraModel, pose: CameraPose) -> Anchors:
    """Pixels of the floor with their true depth; none where the floor is not to be told.

    None, too, for a camera of unknown height or above HIGHEST_CAMERA.

    Args:
        predicted: depth (H, W) of the image, not corrected; an array or a tensor on any device.
        camera: of the image.
        pose: of the camera above the floor.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, CameraPose, floor_anchors
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> below = np.maximum(np.arange(240) - 119.5, 1e-3)[:, None]
        >>> depth = np.minimum(260.0 * 0.2 / below, 4.0) * np.ones((240, 320))  # floor and a wall
        >>> anchors = floor_anchors(1.4 * depth, camera, CameraPose(height=0.2))
        >>> bool(np.allclose(anchors.depth, 52.0 / (anchors.v - 119.5)))
        True
    """
    if pose.height is None or not 0 < pose.height <= HIGHEST_CAMERA:
        return Anchors.of()
    rows, columns = lattice(camera.height, camera.width, *_LOOKS)
    rays = np.stack(
        [(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(len(rows))], 1
    )
    up = pose.rotation().numpy()[2]
    rise = rays @ up
    fall = np.arctan2(-rise, np.sqrt(np.maximum((rays * rays).sum(1) - rise * rise, 0)))
    depth = pixels(predicted, rows, columns)
    with np.errstate(invalid='ignore', divide='ignore'):
        level = _is_level(depth, rays, up) & (fall >= math.radians(LEAST_FALL_DEG))
        true = pose.height / -rise
        ratio = np.log(true / depth)
    looks = np.flatnonzero(level & np.isfinite(ratio))
    lowest = _lowest_plane(ratio[looks])
    if lowest is None or lowest > LARGEST_RATIO:
        return Anchors.of()
    looks = looks[abs(ratio[looks] - lowest) <= _PLANE]
    found = Anchors.of(
        columns[looks],
        rows[looks],
        true[looks],
        weight=FLOOR_WEIGHT / (1 + (PITCH_ERROR / fall[looks] / NOISE) ** 2),
    )
    return found.where(found.evenly(camera.height, camera.width, FLOOR_ANCHORS))


def _is_level(depth: NDArray[Any], rays: NDArray[Any], up: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the surface at each look (n,) is level; False at the border and at edges."""
    places = (depth[:, None] * rays).reshape(*_LOOKS, 3)
    normals = np.full(places.shape, np.nan)
    normals[1:-1, 1:-1] = np.cross(
        places[1:-1, 2:] - places[1:-1, :-2], places[2:, 1:-1] - places[:-2, 1:-1]
    )
    normals = normals.reshape(-1, 3)
    least = math.cos(math.radians(LEVEL_DEG)) * np.linalg.norm(normals, axis=1)
    level: NDArray[np.bool_] = abs(normals @ up) >= least
    return level


def _lowest_plane(ratio: NDArray[Any]) -> float | None:
    """The log ratio of the lowest plane of level looks (n,); None where there is no clear one."""
    if len(ratio) < LEAST_LOOKS:
        return None
    bins = np.floor(ratio / _BIN).astype(int)
    counts = np.bincount(bins - bins.min())
    # A plane is as wide as a few bins.
    plane = np.convolve(counts, np.ones(5), 'same')
    enough = plane >= max(LEAST_LOOKS, LEAST_SHARE * len(ratio), LEAST_OF_LARGEST * plane.max())
    if not enough.any():
        return None
    first = int(np.argmax(enough))
    # From there on up to the plane's middle.
    while first + 1 < len(plane) and plane[first + 1] > plane[first]:
        first += 1
    low = (first + bins.min() - 2) * _BIN
    return float(np.median(ratio[(ratio >= low) & (ratio < low + 5 * _BIN)]))
