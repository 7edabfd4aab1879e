# SPDX-License-Identifier: Apache-2.0
"""Move the floor in a depth image to its known height, together with the objects on it.

If a camera's height and tilt are known, the depth of the floor is known at each pixel below the
horizon. The log ratio of the predicted depth to the floor's depth,

    q = log(depth / depth of the floor),

is 0 on the floor, log(s) if the network predicts everything s times too far away, and
log(1 - h / H) on a level surface at height h, with the camera at height H. So q is constant along
any level surface, whatever the factor s: a rug that the network lifts, or a floor that it bends
slightly, is level and counts as floor. Along the image column of an upright object, q decreases
upwards from the object's foot. The foot stands on the floor, whose depth is known; this gives the
depth of the object.

`floor_layout` computes the constants of a camera, `level_floor` corrects a depth image. It follows
the floor upwards from the image's lower edge in each column of a coarse grid of pixels, in equal
steps of log depth. The floor continues through level patches, and through jumps between patches
that have no upright face. At the foot of an object, the floor's level is kept until the floor
appears again behind the object. Networks see the faces of near objects leaning away: where a face
recedes upwards without being level, its level increases by as much, so that it stands upright.
Neighbouring columns of objects get the mean of their levels. Then the depth is divided by
exp(level). docs/obstacles.md has the measured gains.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.arrays import is_tensor, namespace, on_device
from depth_perception.depth.by_numpy import bands, by_numpy
from depth_perception.depth.floor_memory import FloorMemory
from depth_perception.depth.scan import FLOOR_GROWTH, CameraPose, level_rays

if TYPE_CHECKING:
    import torch

#: A NumPy array, or a tensor on any device.
Array = Any
#: `FloorMemory.recalled` at the time of the frame.
Recall = Callable[[bool, tuple[Array, Array], tuple[Array, Array]], tuple[Array, Array]]

#: Step between the grid's rows in log depth of the floor. The spacing in pixels is at least the
#: image's height / _ROWS for rows and its width / _COLUMNS for columns, rounded down.
_LOG_STEP, _ROWS, _COLUMNS = 0.03, 120, 160
#: Rows of the grid at the image's lower edge: their floor is the reference for an object there.
_EDGE = 4
#: If a smaller fraction of the grid is level floor, the floor's level is not estimated.
_LEAST_FLOOR = 0.05
#: Rows of the image above the grid over which its last level changes to the level used above.
_ABOVE = 6
#: Metres: largest distance at which the floor is followed, and at which it counts in averages.
_FARTHEST, _NEAR = 10.0, 3.5
#: If fewer rows of the grid show the floor, it is not followed.
_LEAST_ROWS = 8
#: Degrees: a surface begins to stand up at the first slope, and stands up at the second. Far from
#: a low camera a steep face has only a few pixels, over which depth is blurred. So there the slopes
#: are _GRAZING and 2 _GRAZING times the angle at which the floor is seen, but at least
#: _LEAST_SLOPES.
_SLOPES, _LEAST_SLOPES, _GRAZING = (12.0, 22.0), (5.0, 9.0), 2.0
#: Degrees: a patch below the first slope is level; above the second, an upright face.
_LEVEL, _FACE = 25.0, 30.0
#: A decrease of q is a jump if it exceeds this multiple of an upright face's in the same rows.
_JUMP = 2.0
#: A level patch is not floor if it is higher than these metres or this fraction of the camera's
#: height.
_RAISED, _RAISED_SHARE = 0.25, 0.5
#: Log depth: largest level of the floor above the median level; more is a hole, or outdoors.
_SUNK = 0.7
#: Log depth: if the median level is lower, what seems level is not floor but a wall before the lens
#: that the network sees leaning. It would be moved away, and a scale below 0.5 is less likely.
_NEAREST = -0.7
#: A level patch is also not floor if it is above the median level by more than this multiple of the
#: spread of all levels. The spread shows the network's error; with true depth it is almost 0. The
#: smallest such limit is _LEAST_SPREAD, in log depth. The second values are for anchored depth.
_SPREADS, _LEAST_SPREAD = (10.0, 3.6), (0.1, 0.05)
#: A surface stands up if it rises by this fraction of the lowest obstacle's height, because depth
#: is blurred over its edges. Its own pixels decide whether it is high enough for an obstacle.
_RISEN = 0.75
#: An object begins where it has risen by this fraction of the lowest obstacle's height.
_FOOT = 0.3
#: Rows of the grid before a foot over which the floor's level is averaged, and the largest increase
#: over the level at the foot, in log depth: blur lowers the level at the foot.
_BEFORE, _MORE = 6, 0.3
#: Log depth: a larger change of the level between neighbours in the grid means that the edge of a
#: patch lies between them. Both get the lower level, so that no pixel of the patch stands up.
_EDGE_STEP = 0.05
#: Fraction of the image's width over which the levels of objects are averaged: a network's errors
#: are smooth, and a foot is found with an error of its own in each column.
_AVERAGED = 0.09
#: Number of objects, with floor between them, that are distinguished in one column.
_THINGS = 2
#: Metres: smallest tolerance; a network's floor is not more accurate.
_LEAST_TOLERANCE = 0.03


@dataclass(frozen=True, eq=False)
class FloorLayout:
    """Where a camera sees the floor. Grids are (n, k); the first row is the lowest in the image.

    Attributes:
        size: (rows, columns) of the depth image.
        height: metres of the camera above the floor.
        rows: int64 (n,), the grid's rows in the image.
        columns: the grid's columns in the image.
        nearness: (n, k), 1 / depth of the floor.
        log_step: (n - 1, k), increase of the floor's log depth from row to row.
        distance: (n, k), metres on the ground per metre of depth.
        rise: (n, k), the change of q from the floor to the top of the lowest obstacle (negative).
        slopes: two arrays (n - 1, k), tangents of the slopes at which a surface begins to stand up
            and at which it stands up.
        near: bool (n, k), whether the floor is near enough to count in averages of its level.
        window: largest number of rows over which an obstacle rises.
        raised: q of the highest patch that can be floor (negative).
        across, along: for each column and each row of the image, the index of the grid line before
            it, int64, and the weight of the next line, float32. Line 0 of `along` is above the
            whole grid.
        above: number of rows of the image above line 0.
    """

    size: tuple[int, int]
    height: float
    rows: Array
    columns: slice
    nearness: Array
    log_step: Array
    distance: Array
    rise: Array
    slopes: tuple[Array, Array]
    near: Array
    window: int
    raised: float
    across: tuple[Array, Array]
    along: tuple[Array, Array]
    above: int


def floor_layout(
    camera: CameraModel,
    pose: CameraPose,
    tolerance: float = 0.05,
    device: torch.device | str = 'numpy',
) -> FloorLayout | None:
    """Return the layout of a camera's floor; takes a few milliseconds, so keep it.

    Args:
        camera: of the depth image.
        pose: of the camera.
        tolerance: metres above the floor that still count as floor; grows by `scan.FLOOR_GROWTH`
            per metre of distance.
        device: where the depth images will be; 'numpy' for arrays.

    Returns:
        The layout; None if the camera's height is unknown or the camera sees too little floor.
    """
    height = pose.height
    if height is None or height <= 0:
        return None
    rays = level_rays(camera, pose)
    rows = _grid_rows(rays, camera, height)
    step = max(1, camera.width // _COLUMNS)
    columns = np.arange(step // 2, camera.width, step)
    if len(rows) < _LEAST_ROWS or len(columns) < 2:
        return None
    return _layout(
        camera,
        rays[:, rows][:, :, columns],
        rows,
        columns,
        height,
        max(tolerance, _LEAST_TOLERANCE),
        device,
    )


def _layout(
    camera: CameraModel,
    rays: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    height: float,
    tolerance: float,
    device: torch.device | str,
) -> FloorLayout:
    forward, left, up = rays
    nearness = np.maximum(-up, 1e-4) / height
    distance = np.hypot(forward, left)
    away = distance / nearness
    rise = np.log(max(height - tolerance, 0.1 * height) / (height + FLOOR_GROWTH * away))
    lines = np.concatenate([[rows[-1] - _ABOVE], rows[::-1]])
    arrays = (
        rows,
        nearness,
        np.diff(-np.log(nearness), axis=0),
        distance,
        rise,
        *_slopes(height, away[:-1]),
        away < _NEAR,
        *_between(columns, np.arange(camera.width)),
        *_between(lines, np.arange(camera.height)),
    )
    window = math.ceil(2.2 * abs(rise).max() / _LOG_STEP)
    rows_, nearness, log_step, distance, rise, low, high, near, *places = (
        _on(array, device) for array in arrays
    )
    return FloorLayout(
        (camera.height, camera.width),
        height,
        rows_,
        slice(int(columns[0]), None, int(columns[1] - columns[0])),
        nearness,
        log_step,
        distance,
        rise,
        (low, high),
        near,
        min(max(window, 6), len(rows)),
        math.log(1 - min(_RAISED_SHARE, _RAISED / height)),
        (places[0], places[1]),
        (places[2], places[3]),
        max(0, int(lines[0])),
    )


@by_numpy
def level_floor(
    depth: Array,
    layout: FloorLayout,
    anchored: bool = False,
    memory: FloorMemory | None = None,
    time: float | None = None,
) -> Array:
    """Return depth (H, W) with the floor at its known height.

    Args:
        depth: metres, before any limits; NaN stays NaN. A NumPy array, or a tensor on the layout's
            device; the function does not wait for the device.
        layout: of the depth's camera; of kind 'numpy' for tensors on a CPU.
        anchored: whether other sensors have already corrected the distances. If so, only the floor
            is moved; otherwise the objects on it are moved too.
        memory: of the camera's last frames; it takes note of this one. None: of no frame.
        time: of the frame, seconds. None: unrelated to the last frames.

    Raises:
        ValueError: the depth is not of the camera's size.
    """
    if tuple(depth.shape) != layout.size:
        raise ValueError(
            f'the depth is {tuple(depth.shape)}, '
            f'the camera {layout.size[0]} rows x {layout.size[1]} columns'
        )
    recall = None if memory is None or time is None else functools.partial(memory.recalled, time)
    factor = namespace(depth).exp(-_floor_level(depth, layout, anchored, recall))
    return _times_grid(depth, factor, layout)


def _floor_level(
    depth: Array, layout: FloorLayout, anchored: bool, recall: Recall | None = None
) -> Array:
    """Return q of the floor (n + 1, k), from a row above the grid to the image's lowest row."""
    xp = namespace(depth)
    seen = depth[:, layout.columns][layout.rows] * layout.nearness
    ratio = _filled(seen)
    q = xp.log(ratio)
    level, standing, middle, limit = _followed(q, ratio, layout, anchored, recall)
    level = xp.minimum(xp.maximum(level, middle + limit), middle + _SUNK)
    near = layout.near & ~standing
    mean = xp.where(near, level, xp.zeros_like(level)).sum(0) / near.sum(0).clip(1)
    mean = xp.where(near.any(0), mean, xp.zeros_like(mean) + middle)
    above = xp.where(standing[-1], level[-1], mean * (not anchored))
    lower = _lowest_around(level)
    is_edge = (level - lower > _EDGE_STEP) & ~_any_around(standing)
    return _joined(above[None], _upside_down(xp.where(is_edge, lower, level)))


def _followed(
    q: Array, ratio: Array, layout: FloorLayout, anchored: bool, recall: Recall | None
) -> tuple[Array, Array, Array, Array]:
    """Follow the floor upwards.

    Returns:
        The floor's level (n, k); whether an object stands there; the median of all levels; and the
        lowest level of a patch of floor relative to this median (negative).
    """
    xp = namespace(q)
    fall, lean, rising, middle, limit, edge = _steps(q, ratio, layout, anchored, recall)
    start = _start(q, rising, middle, limit, edge, layout)
    # Add a row below the image: the floor that an object at the lower edge hides.
    q = _joined((q[0] - start)[None], q)
    none = xp.zeros_like(start)[None]
    relief = _joined(none, start[None], start + xp.cumsum(fall, 0))
    leant = _joined(none, none, xp.cumsum(lean, 0))
    rise = _joined(layout.rise[:1], layout.rise)
    number = _row_numbers(q)
    level, standing = q, xp.zeros_like(q) > 0
    begin = xp.zeros_like(number[0])
    before = _mean_before(q)
    for _ in range(_THINGS):
        foot, top, foot_level = _thing(q, relief, rise, before, number, begin, layout.window)
        thing = (number > foot) & (number < top)
        upright = foot_level + leant - _at(leant, foot.clip(0, len(q) - 1))
        level = xp.where(thing, upright * (not anchored), level)
        standing = standing | thing
        begin = top
    level, standing = level[1:], standing[1:]
    if not anchored:
        level = xp.where(standing, _mean_across(level, standing), level)
    return level, standing, middle, limit


def _steps(
    q: Array, ratio: Array, layout: FloorLayout, anchored: bool, recall: Recall | None
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Classify the step from each row to the next (n - 1, k).

    Returns:
        The change of q if the surface rises or falls, 0 along the floor; the increase of its log
        distance if it stands up and leans away from the camera, else 0; whether it is an upright
        face; the median of the floor's levels; the lowest level of a patch of floor relative to
        this median (negative); and the floor's level at the image's lower edge.
    """
    xp = namespace(q)
    away = ratio / layout.nearness * layout.distance
    change, rise, ahead = _diff(q), -layout.height * _diff(ratio), _diff(away)
    level = abs(rise) < math.tan(math.radians(_LEVEL)) * ahead
    jump = change < -_JUMP * layout.log_step
    face = (rise > math.tan(math.radians(_FACE)) * ahead) & (change < 0) & ~jump
    middle, spread, is_seen = _middle(q[:-1], level & layout.near[:-1])
    edge, _, is_edge_seen = _middle(q[:_EDGE], level[:_EDGE], thin=1)
    if recall is not None:
        spread, edge = recall(anchored, (spread, is_seen), (edge, is_edge_seen))
    limit = -(spread * _SPREADS[anchored]).clip(_LEAST_SPREAD[anchored], -layout.raised)
    low, high = layout.slopes
    part = (rise - low * ahead) / ((high - low) * ahead.clip(0) + 1e-6)
    part = xp.where(change > 0, xp.ones_like(part), part.clip(0, 1))
    lean = part * (change < 0) * (ahead / away[:-1]).clip(0)
    is_patch = jump & _level_follows(level) & (_sum_around(change * jump) > limit)
    fall = xp.where(is_patch, xp.zeros_like(change), change * part)
    return fall, lean, face, middle, limit, edge


def _start(
    q: Array, face: Array, middle: Array, limit: Array, edge: Array, layout: FloorLayout
) -> Array:
    """Return q of the image's lowest row minus q of the floor (k,); 0 if that row is floor."""
    xp = namespace(q)
    is_patch = q[0] - middle >= xp.minimum(limit, layout.rise[0])
    above = (q[0] - xp.where(_most(face[:3]), edge, middle)).clip(None, 0)
    return xp.where(is_patch & ~_most(face[:3]), xp.zeros_like(above), above)


def _thing(
    q: Array, relief: Array, rise: Array, before: Array, number: Array, begin: Array, window: int
) -> tuple[Array, Array, Array]:
    """Find the first object of each column from the row `begin` (k,) on that rises far enough.

    Returns:
        The last row of the floor before the object; the first row of the floor behind it, or the
        number of rows if there is none; and the floor's level at the object's foot. Each is (k,).
    """
    xp = namespace(q)
    last = q.shape[0]
    ahead = number >= begin
    highest = _highest(xp.where(ahead, relief, xp.full_like(relief, -99.0)), window)
    found = _first((relief - highest < _RISEN * rise) & ahead, number, last)
    at = found.clip(None, last - 1)
    base, least = _at(highest, at), _at(rise, at)
    on_floor = (relief >= base + _FOOT * least) & ahead & (number <= found)
    foot = xp.where(found < last, _last(on_floor, number), number[-1] + 1)
    at = foot.clip(0, last - 1)
    level = _at(q, at) - (_at(relief, at) - base).clip(None, 0)
    mean = _at(before, at)
    level = xp.where(at > _BEFORE, xp.maximum(level, xp.minimum(mean, level + _MORE)), level)
    top = _first((number > found) & (q - level > 0.5 * rise), number, last)
    return foot, top, level


def _level_follows(level: Array) -> Array:
    """Return whether three consecutive level steps begin one to three steps after each step."""
    count = level.shape[0]
    padded = _joined(level, *[level[-1:]] * 6)
    three = padded[:-2] & padded[1:-1] & padded[2:]
    return three[1 : 1 + count] | three[2 : 2 + count] | three[3 : 3 + count]


def _sum_around(values: Array) -> Array:
    """Return the sum of each value and its three neighbours on each side in its column."""
    none = namespace(values).zeros_like(values[:1])
    padded = _joined(*[none] * 3, values, *[none] * 3)
    # These additions are faster than a sum along columns.
    return functools.reduce(operator.add, (padded[k : k + len(values)] for k in range(7)))


def _mean_before(q: Array) -> Array:
    """Return the mean of the _BEFORE values before each value in its column."""
    padded = _joined(*[q[:1]] * _BEFORE, q[:-1])
    total = functools.reduce(operator.add, (padded[k : k + len(q)] for k in range(_BEFORE)))
    return total / _BEFORE


def _most(bools: Array) -> Array:
    """Return whether more than half of each column is True, (k,)."""
    return bools.sum(0) * 2 > len(bools)


# Functions that differ between NumPy and PyTorch.


def _joined(*arrays: Array) -> Array:
    xp = namespace(arrays[0])
    joined: Array = xp.concatenate(arrays)
    return joined


def _diff(array: Array) -> Array:
    return array[1:] - array[:-1]


def _upside_down(array: Array) -> Array:
    return array.flip(0) if is_tensor(array) else array[::-1]


def _row_numbers(array: Array) -> Array:
    """Return an array (n, k) that contains the number of each row."""
    if is_tensor(array):
        return namespace(array).arange(len(array), device=array.device)[:, None].expand(array.shape)
    return np.broadcast_to(np.arange(len(array))[:, None], array.shape)


def _first(where: Array, number: Array, none: int) -> Array:
    """Return the first row (k,) in which each column is True; `none` if there is no such row."""
    if is_tensor(where):
        return namespace(where).where(where, number, none).amin(0)
    return np.where(where.any(0), where.argmax(0), none)


def _last(where: Array, number: Array) -> Array:
    """Return the last row (k,) in which each column is True; 0 if there is no such row."""
    if is_tensor(where):
        return namespace(where).where(where, number, 0).amax(0)
    return np.where(where, number, 0).max(0)


def _at(array: Array, row: Array) -> Array:
    """Return the value (k,) of each column in the row given for that column."""
    if is_tensor(array):
        return array.gather(0, row[None])[0]
    return np.take_along_axis(array, row[None], 0)[0]


def _highest(values: Array, window: int) -> Array:
    """Return the maximum of each value and the window - 1 values before it in its column."""
    if is_tensor(values):
        from torch.nn import functional as F

        padded = F.pad(values.T[None], (window - 1, 0), value=-math.inf)
        return F.max_pool1d(padded, window, 1)[0].T
    return cv2.dilate(values, np.ones((window, 1), np.uint8), anchor=(0, window - 1))


def _lowest_around(values: Array) -> Array:
    """Return the minimum of each value and its eight neighbours."""
    if is_tensor(values):
        from torch.nn import functional as F

        return -F.max_pool2d(-values[None], 3, 1, 1)[0]
    return cv2.erode(values, np.ones((3, 3), np.uint8))


def _mean_across(values: Array, where: Array) -> Array:
    """Return the mean of the values around each value in its row, of those that are selected."""
    width = 2 * round(_AVERAGED * values.shape[1] / 2) + 1
    weight = where * namespace(values).ones_like(values)
    if is_tensor(values):
        from torch.nn import functional as F

        means = [F.avg_pool1d(x[None], width, 1, width // 2)[0] for x in (values * weight, weight)]
    else:
        means = [
            cv2.blur(x, (width, 1), borderType=cv2.BORDER_CONSTANT)
            for x in (values * weight, weight)
        ]
    return means[0] / means[1].clip(1e-3)


def _any_around(values: Array) -> Array:
    """Return whether any value in the 5 x 5 neighbourhood of each value is True."""
    if is_tensor(values):
        from torch.nn import functional as F

        return F.max_pool2d(values[None].float(), 5, 1, 2)[0] > 0
    return cv2.dilate(values.view(np.uint8), np.ones((5, 5), np.uint8)).view(bool)


def _filled(ratio: Array) -> Array:
    """Replace unknown values by the last known value before them in their column.

    Use the first known value if none is before, and 1 if the whole column is unknown.
    """
    xp = namespace(ratio)
    known = xp.isfinite(ratio) & (ratio > 0)
    if not is_tensor(ratio) and known.all():
        return ratio
    number = _row_numbers(ratio)
    source = xp.where(known, number, xp.zeros_like(number) - 1)
    source = source.cummax(0).values if is_tensor(ratio) else np.maximum.accumulate(source)
    first = _first(known, number, len(ratio)).clip(None, len(ratio) - 1)
    source = xp.where(source < 0, first[None], source)
    values = ratio.gather(0, source) if is_tensor(ratio) else np.take_along_axis(ratio, source, 0)
    return xp.where(known.any(0)[None], values, xp.ones_like(values))


def _middle(q: Array, floor: Array, thin: int = 2) -> tuple[Array, Array, Array]:
    """Return the median of q on the floor, its spread, and whether there is enough floor.

    If there is too little, or the median is that of a wall, the median is 0 and the spread 1.
    """
    q, floor = q[::thin, ::thin], floor[::thin, ::thin]
    least = _LEAST_FLOOR * floor.shape[0] * floor.shape[1]
    if is_tensor(q):
        import torch

        known = torch.where(floor, q, math.nan).reshape(-1)
        middle = known.nanmedian()
        spread = 1.4826 * (known - middle).abs().nanmedian()
        is_seen = (floor.sum() > least) & (middle > _NEAREST)
        return torch.where(is_seen, middle, 0.0), torch.where(is_seen, spread, 1.0), is_seen
    values = np.sort(q[floor])
    if len(values) <= least:
        return q.dtype.type(0), q.dtype.type(1), False
    # For an even number of values take the lower median, as PyTorch does.
    middle = values[(len(values) - 1) // 2]
    if middle <= _NEAREST:
        return q.dtype.type(0), q.dtype.type(1), False
    spread = q.dtype.type(1.4826) * np.sort(abs(values - middle))[(len(values) - 1) // 2]
    return middle, spread, True


def _times_grid(depth: Array, factor: Array, layout: FloorLayout) -> Array:
    """Multiply the depth by an interpolated grid (n + 1, k); the grid's first row is at the top."""
    column, share = layout.across
    wide = factor[:, column] + (factor[:, column + 1] - factor[:, column]) * share
    line, share = layout.along
    step = _joined(_diff(wide), namespace(wide).zeros_like(wide[:1]))
    if is_tensor(depth):
        return depth * (wide[line] + step[line] * share[:, None])
    above = layout.above
    out = np.empty(depth.shape, np.float32)
    np.multiply(depth[:above], wide[0], out=out[:above])
    for band in bands(depth.shape[0] - above, depth.shape[1]):
        rows = slice(above + band.start, above + band.stop)
        values = step[line[rows]]
        values *= share[rows, None]
        values += wide[line[rows]]
        np.multiply(depth[rows], values, out=out[rows])
    return out


# The layout.


def _grid_rows(rays: NDArray[np.float64], camera: CameraModel, height: float) -> NDArray[np.int64]:
    """Return the grid's rows, lowest first, in equal steps of log depth in the middle column."""
    middle = min(max(round(camera.cx), 0), camera.width - 1)
    forward, left, up = rays[:, :, middle]
    with np.errstate(divide='ignore'):
        depth = np.where(up < 0, height / -up, np.inf)
    away = depth * np.hypot(forward, left)
    rows, step = [camera.height - 1], max(1, camera.height // _ROWS)
    for row in range(camera.height - 1, -1, -1):
        if not away[row] < _FARTHEST:
            break
        if rows[-1] - row >= step and math.log(depth[row] / depth[rows[-1]]) >= _LOG_STEP:
            rows.append(row)
    return np.array(rows, np.int64) if np.isfinite(depth[-1]) else np.empty(0, np.int64)


def _slopes(height: float, away: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return `FloorLayout.slopes` for a camera's height and distances on the ground, metres."""
    grazing = _GRAZING * np.degrees(np.arctan2(height, away))
    low = np.clip(grazing, _LEAST_SLOPES[0], _SLOPES[0])
    high = np.clip(2 * grazing, _LEAST_SLOPES[1], _SLOPES[1])
    return np.tan(np.radians(low)), np.tan(np.radians(high))


def _between(lines: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the line before each place and the weight of the next line; constant at the ends."""
    before = np.clip(np.searchsorted(lines, places, 'right') - 1, 0, len(lines) - 2)
    share = (places - lines[before]) / (lines[before + 1] - lines[before])
    return before, np.clip(share, 0, 1)


def _on(array: NDArray[Any], device: torch.device | str) -> Array:
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return on_device(np.ascontiguousarray(array), device)
