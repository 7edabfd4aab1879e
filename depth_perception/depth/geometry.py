# SPDX-License-Identifier: Apache-2.0
"""Compute masks, points and packed clouds from a depth image, with NumPy or torch.

Every function takes a NumPy array or a torch tensor on any device and returns the same kind on the
same device; on a CPU NumPy does the work (see `by_numpy`). Depth is along the optical axis, in
metres: NaN unknown, -Inf nearer than the sensor can see, +Inf farther (REP-117). The optical frame
has x right, y down, z forward (REP-103).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.arrays import is_tensor, namespace, on_device, place_of
from depth_perception.depth.by_numpy import bands, by_numpy, fill

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

#: Widest blur of an edge in pixels; a wider ramp counts as a slanted surface.
WIDEST_BLUR = 4
#: Number of pixels on each side that decide whether a pixel is flying.
_REACH = WIDEST_BLUR + 1
#: Fraction of an image up to which processing single pixels is faster than whole passes.
_FEW = 0.02


@by_numpy
def mask_range(depth: Array, min_depth: float, max_depth: float) -> Array:
    """Set depth (H, W) to -Inf below min_depth and +Inf above max_depth, and keep NaN (REP-117).

    0 is too near whatever min_depth is: no surface lies in the camera itself.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import mask_range
        >>> mask_range(np.array([[0.2, 1.5, 12.0]]), min_depth=0.3, max_depth=10.0)
        array([[-inf,  1.5,  inf]])
    """
    # Every depth below a positive minimum includes 0.
    too_near = depth < min_depth if min_depth > 0 else depth <= 0
    inf = float('inf')
    return _filled(_filled(depth, too_near, -inf), depth > max_depth, inf)


@by_numpy
def place_near(masked: Array, depth: Array, min_depth: float) -> Array:
    """Restore the depth of pixels that are too near: a near obstacle is still an obstacle.

    Args:
        masked: result of `mask_range` and `mask`: -Inf too near, +Inf too far, NaN unknown.
        depth: depth (H, W) before masking; values that are not above 0 become min_depth.
        min_depth: metres.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import mask_range
        >>> from depth_perception.depth.geometry import place_near
        >>> depth = np.array([[0.25, 2.0, 20.0, np.nan, 0.0]], np.float32)
        >>> place_near(mask_range(depth, 0.5, 10.0), depth, 0.5).tolist()
        [[0.25, 2.0, inf, nan, 0.5]]
    """
    too_near = masked == -float('inf')
    if is_tensor(masked):
        import torch

        return torch.where(too_near, torch.where(depth > 0, depth, min_depth), masked)
    if not too_near.any():
        return masked
    placed = masked.copy()
    near = depth[too_near]
    placed[too_near] = np.where(near > 0, near, min_depth)
    return placed


@by_numpy
def mask_edges(depth: Array, threshold: float) -> Array:
    """Set depth (H, W) to NaN at flying pixels, see `flying_pixels`; threshold 0 removes nothing.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import mask_edges
        >>> depth = np.array([[1.0] * 4 + [2.0] + [3.0] * 4])  # a box, a blurred edge, a wall
        >>> mask_edges(depth, threshold=0.05)
        array([[ 1.,  1.,  1.,  1., nan, nan,  3.,  3.,  3.]])
    """
    if threshold <= 0:
        return depth
    flying: Array = flying_pixels(depth, threshold) & namespace(depth).isfinite(depth)
    return mask(depth, flying)


@by_numpy
def scaled(depth: Array, factor: float) -> Array:
    """Multiply depth (H, W) by a factor; return the input unchanged if the factor is 1.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.geometry import scaled
        >>> scaled(np.array([[1.0, 2.0]]), 1.5)
        array([[1.5, 3. ]])
    """
    if factor == 1:
        return depth
    return depth * factor


@by_numpy
def all_finite(depth: Array) -> Array:
    """Return a bool (), whether all depths are finite; does not wait for the device.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.geometry import all_finite
        >>> bool(all_finite(np.array([[1.0, np.inf]])))
        False
    """
    return cast(Array, namespace(depth).isfinite(depth).all())


@by_numpy
def mask(depth: Array, unknown: Array, value: float = math.nan) -> Array:
    """Set depth (H, W) to NaN, or another value, where the mask, bool (H, W), is True.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.geometry import mask
        >>> mask(np.array([[1.0, 2.0]]), np.array([[True, False]]))
        array([[nan,  2.]])
    """
    return _filled(depth, unknown, value)


@by_numpy
def flying_pixels(depth: Array, threshold: float) -> Array:
    """Return the far side of each relative jump above threshold between neighbours, bool (H, W).

    At a blurred edge the far pixels lie between the two surfaces. The near side is kept, because an
    obstacle scan must not lose it. A jump between two pixels of a row or column is
    |a - b| / min(a, b), less the step of a slanted plane: 1 / depth is linear on a plane, so its
    step is the same a few pixels before and after. So a floor at a grazing angle is kept.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.geometry import flying_pixels
        >>> flying_pixels(np.array([[1.0] * 6 + [3.0] * 6]), threshold=0.05).nonzero()[1]
        array([6])
    """
    if is_tensor(depth):
        from torch.nn import functional as F

        # NaN around the image.
        nearness = F.pad(1 / depth, (0, _REACH, _REACH, _REACH), value=float('nan'))
        return _far_sides(nearness, threshold)
    height, width = depth.shape
    nearness = np.empty((height + 2 * _REACH, width + _REACH), depth.dtype)
    nearness[:_REACH] = nearness[-_REACH:] = nearness[:, width:] = np.nan
    with np.errstate(invalid='ignore', divide='ignore'):
        np.divide(1, depth, out=nearness[_REACH:-_REACH, :width])
        return _far_sides_by_numpy(nearness, threshold)


def _far_sides_by_numpy(nearness: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Compute `_far_sides`; check for planes only where there is a jump without the check."""
    far = _by_bands(_jumps, nearness, threshold)
    if np.count_nonzero(far) > far.size * _FEW:
        return _by_bands(_far_sides, nearness, threshold)
    found = np.flatnonzero(far)
    far.reshape(-1)[found] = _are_far_sides(nearness, found, threshold)
    return far


def _by_bands(
    found: Callable[[NDArray[Any], float], NDArray[np.bool_]],
    nearness: NDArray[Any],
    threshold: float,
) -> NDArray[np.bool_]:
    height, width = nearness.shape[0] - 2 * _REACH, nearness.shape[1]
    far = np.empty((height, width - _REACH), bool)
    for rows in bands(height, width):
        far[rows] = found(nearness[rows.start : rows.stop + 2 * _REACH], threshold)
    return far


def _jumps(nearness: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Return `_far_sides` without the check for planes, exactly, in half the time.

    Rounding is monotonic, so the largest neighbour alone decides whether a jump is large enough.
    """
    width = nearness.shape[1]
    flat = nearness.reshape(-1)
    start, stop = _REACH * width, len(flat) - _REACH * width
    largest = np.fmax(flat[start + 1 : stop + 1], flat[start - 1 : stop - 1])
    for step in (width, -width):
        np.fmax(largest, flat[start + step : stop + step], out=largest)
    own = flat[start:stop]
    np.subtract(largest, own, out=largest)
    far: NDArray[np.bool_] = largest > own * threshold
    return far.reshape(-1, width)[:, : width - _REACH]


def _far_sides(nearness: Array, threshold: float) -> Array:
    """Return the far side of each jump, bool (h, w), of 1 / depth with a margin.

    Args:
        nearness: 1 / depth, (h + 2 _REACH, w + _REACH), with a margin of NaN or other rows above,
            below and on the right. In memory the right margin also precedes the next row.
        threshold: relative size of a jump.
    """
    xp = namespace(nearness)
    width = nearness.shape[1]
    flat = nearness.reshape(-1)
    size = len(flat) - 2 * _REACH * width
    limit = flat[_REACH * width :][:size] * threshold
    opposite = -limit
    far: Array | None = None
    # Distance in memory to the next pixel of a row and of a column.
    for step in (1, width):
        around = flat[_REACH * (width - step) :][: size + 2 * _REACH * step]
        change = around[step:] - around[:-step]
        # From the pixel before each one to itself, and from the last one to the next.
        pairs = change[WIDEST_BLUR * step :][: size + step]
        sizes = abs(change)
        plane = xp.fmin(sizes[: len(pairs)], sizes[-len(pairs) :])
        up, down = pairs - plane, pairs + plane
        jumps = (up[step:] > limit) | (down[:size] < opposite)
        far = jumps if far is None else far | jumps
    assert far is not None
    return far.reshape(-1, width)[:, : width - _REACH]


def _are_far_sides(
    nearness: NDArray[Any], found: NDArray[np.intp], threshold: float
) -> NDArray[np.bool_]:
    """Return `_far_sides` for some pixels, given by their flat indices: bool (n,)."""
    width = nearness.shape[1]
    row, column = np.divmod(found, width - _REACH)
    pixel = (row + _REACH) * width + column
    flat = nearness.reshape(-1)
    limit = flat[pixel] * threshold
    far = np.zeros(len(pixel), bool)
    for step in (1, width):
        change = np.diff(flat[pixel[:, None] + step * np.arange(-_REACH, _REACH + 1)])
        sizes = abs(change)
        before, after = WIDEST_BLUR, WIDEST_BLUR + 1
        far |= change[:, after] - np.fmin(sizes[:, 1], sizes[:, -1]) > limit
        far |= change[:, before] + np.fmin(sizes[:, 0], sizes[:, -2]) < -limit
    return far


@by_numpy
def back_project(depth: Array, camera: CameraModel, stride: int = 1) -> Array:
    """Return points (ceil(H / stride), ceil(W / stride), 3) in the optical frame, NaN if unknown.

    x = (u - cx) z / fx, y = (v - cy) z / fy for every stride-th pixel (u, v) of depth (H, W).

    Raises:
        ValueError: the sizes of depth and camera differ.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, back_project
        >>> camera = CameraModel(3, 1, fx=2.0, fy=2.0, cx=1.0, cy=0.0)
        >>> back_project(np.array([[4.0, 4.0, np.nan]]), camera)
        array([[[-2.,  0.,  4.],
                [ 0.,  0.,  4.],
                [nan, nan, nan]]], dtype=float32)
    """
    return cast(Array, namespace(depth).stack(_points(depth, camera, stride), -1))


@by_numpy
def pack_cloud(
    depth: Array, camera: CameraModel, rgb: Array | None = None, stride: int = 1
) -> Array:
    """Return an organized cloud (h, w, 4) float32: x, y, z and the colour's bits (0 without rgb).

    The layout of sensor_msgs/PointCloud2 with point_step 16, as depth_image_proc writes it: the
    colour is 0x00RRGGBB reinterpreted as float32. Depth is (H, W), rgb uint8 (H, W, 3).

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, pack_cloud
        >>> camera = CameraModel(2, 1, fx=2.0, fy=2.0, cx=0.0, cy=0.0)
        >>> rgb = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
        >>> cloud = pack_cloud(np.array([[4.0, 4.0]], np.float32), camera, rgb)
        >>> cloud[0, 1, :3]
        array([2., 0., 4.], dtype=float32)
        >>> hex(cloud.view(np.uint32)[0, 0, 3])  # the colour of the first point
        '0xff0000'
    """
    points: tuple[Any, ...] = _points(depth, camera, stride)
    if is_tensor(depth):
        import torch

        colour = _packed_colour(rgb, stride) if rgb is not None else torch.zeros_like(points[0])
        return torch.stack((*points, colour), -1)
    colour = _packed_colour_by_opencv(rgb, stride) if rgb is not None else np.zeros_like(points[0])
    cloud: NDArray[np.float32] = cv2.merge((*points, colour))
    return cloud


def _packed_colour(rgb: Tensor, stride: int) -> Tensor:
    """Return 0x00RRGGBB of every stride-th pixel, as float32 (h, w)."""
    import torch

    red, green, blue = rgb[::stride, ::stride].int().unbind(-1)
    return (red << 16 | green << 8 | blue).view(torch.float32)


def _packed_colour_by_opencv(rgb: NDArray[np.uint8], stride: int) -> NDArray[np.float32]:
    """Compute `_packed_colour` with OpenCV."""
    # Copying three bytes at a time is slow; OpenCV adds a fourth byte, 255.
    bgra = cv2.cvtColor(rgb[::stride], cv2.COLOR_RGB2BGRA).view('<u4')[:, ::stride, 0]
    colour: NDArray[np.float32] = (bgra & 0xFFFFFF).view(np.float32)
    return colour


def _points(depth: Array, camera: CameraModel, stride: int) -> tuple[Array, Array, Array]:
    """Return x, y and z of every stride-th pixel, each (h, w) float32, NaN where unknown."""
    _check_size(depth, camera)
    xp = namespace(depth)
    z = depth[::stride, ::stride]
    z = z.contiguous() if is_tensor(depth) else np.ascontiguousarray(z, np.float32)
    z = mask(z, ~xp.isfinite(z))
    x, y = _rays(camera, stride, place_of(depth))
    return z * x, z * y, z


@functools.lru_cache(maxsize=64)
def _rays(camera: CameraModel, stride: int, place: str | torch.device) -> tuple[Any, Any]:
    """Return (u - cx) / fx as a row (w,) and (v - cy) / fy as a column (h, 1), float32."""
    x = ((np.arange(0, camera.width, stride) - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(0, camera.height, stride) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    return on_device(x, place), on_device(y, place)


def _check_size(depth: Array, camera: CameraModel) -> None:
    if tuple(depth.shape) != (camera.height, camera.width):
        raise ValueError(
            f'the depth is {tuple(depth.shape)}, '
            f'the camera {camera.height} rows x {camera.width} columns'
        )


def _filled(array: Array, where: Array, value: float) -> Array:
    """Set an array to a value where the mask is True; return the input if the mask is empty."""
    if is_tensor(array):
        return array.masked_fill(where, value)
    if not where.any():
        return array
    filled = array.copy()
    fill(filled, where, value)
    return filled
