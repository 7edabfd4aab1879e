# SPDX-License-Identifier: Apache-2.0
"""The floor as an anchor: its depth follows from the height and the tilt of the camera.

The depth of a floor pixel is known exactly; the question is which pixels are floor. A wrong scale
does not change the normals of a surface, so the candidates are the pixels below the horizon whose
predicted surface is level. The floor is the lowest plane among them: the ratio of the floor's depth
to the predicted depth is larger for everything above it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors, lattice, pixels
from depth_perception.depth.residual_field import NOISE
from depth_perception.depth.scan import CameraPose

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Metres: a higher camera sees tables from above, which would be mistaken for the floor.
HIGHEST_CAMERA = 0.7
#: Grid of pixels, (rows, columns), at which the surface is sampled.
_LOOKS = (36, 48)
#: Degrees: largest slope of a level surface, and smallest angle below the horizon of a usable ray.
LEVEL_DEG, LEAST_FALL_DEG = 15.0, 5.0
#: Radians by which the pitch may be wrong. The resulting relative error of the floor's depth is
#: this angle divided by the ray's angle below the horizon.
PITCH_ERROR = math.radians(1.0)
#: Log ratio: width of the bins in which the lowest plane is searched, and its largest deviation.
_BIN, _PLANE = 0.05, 0.15
#: The lowest plane has at least this many samples, this fraction of all level samples, and this
#: fraction of the samples of the largest plane.
LEAST_LOOKS, LEAST_SHARE, LEAST_OF_LARGEST = 40, 0.15, 0.3
#: Largest log ratio of the lowest plane: a level object that hides the floor would be mistaken for
#: it, and all depth would seem too small. So the floor alone increases no depth by more than a
#: factor of 1.35. How much it decreases depth is not limited here.
LARGEST_RATIO = 0.3
#: Largest number of anchors on the floor, and their weight: their errors are not independent.
FLOOR_ANCHORS, FLOOR_WEIGHT = 48, 0.5


def floor_anchors(predicted: Array, camera: CameraModel, pose: CameraPose) -> Anchors:
    """Return pixels of the floor with their true depth; no anchors if the floor is not recognised.

    There are also no anchors if the camera's height is unknown or above HIGHEST_CAMERA.

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
    up = pose.rotation()[2]
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
    """Return whether the surface at each sample (n,) is level; False at the border and at edges."""
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
    """Return the log ratio of the lowest plane of level samples (n,); None if none is clear."""
    if len(ratio) < LEAST_LOOKS:
        return None
    bins = np.floor(ratio / _BIN).astype(int)
    counts = np.bincount(bins - bins.min())
    # A plane covers several bins.
    plane = np.convolve(counts, np.ones(5), 'same')
    enough = plane >= max(LEAST_LOOKS, LEAST_SHARE * len(ratio), LEAST_OF_LARGEST * plane.max())
    if not enough.any():
        return None
    first = int(np.argmax(enough))
    # From the first bin with enough samples, move on to the middle of the plane.
    while first + 1 < len(plane) and plane[first + 1] > plane[first]:
        first += 1
    low = (first + bins.min() - 2) * _BIN
    return float(np.median(ratio[(ratio >= low) & (ratio < low + 5 * _BIN)]))
