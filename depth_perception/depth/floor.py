# SPDX-License-Identifier: Apache-2.0
"""The floor as it is seen: it goes where it is known to be, and what stands on it with it.

Where a camera's height and tilt are known, so is the depth of the floor at each pixel below the
horizon. The log ratio of a depth to it,

    q = log(depth / depth of the floor),

is 0 on the floor, log(s) where a network takes everything for s times as far, and log(1 - h / H) on
a surface at the height h before a camera at H. So q is constant along any level surface, whatever
the factor: a rug that a network lifts, or a floor that it bends a little, is level and is floor.
Something that stands up makes q fall along its image column, upwards from its foot, and it keeps
its place on the floor: there the floor's depth is known, and so is its own.

`floor_layout` computes what belongs to a camera, `level_floor` corrects a depth image. It follows
the floor up each column of a coarse grid of pixels, at steps that are even in log depth, from the
image's lower edge: through level patches, and through jumps between them that have no face. At the
foot of what stands up the floor's level is kept until the floor comes back behind it. The depth is
then divided by exp(level). docs/obstacles.md has what it gains.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from depth_perception.camera.model import CameraModel
from depth_perception.depth.by_numpy import bands, by_numpy
from depth_perception.depth.scan import FLOOR_GROWTH, CameraPose, level_rays

#: A numpy array, or a tensor on any device.
Array = Any

#: Log depth of the floor from row to row of the grid; but this is no more rows than so many in an
#: image, and no more columns.
_LOG_STEP, _ROWS, _COLUMNS = 0.03, 120, 160
#: Rows of the grid on the image's lower edge, whose floor is what a thing on it is seen against.
_EDGE = 4
#: A floor that is level in a smaller share of the grid than this has no level of its own.
_LEAST_FLOOR = 0.05
#: Rows of the image above the grid in which its last level becomes that of all that is above.
_ABOVE = 6
#: Metres as far as the floor is followed, and up to which its level counts where it is averaged.
_FARTHEST, _NEAR = 10.0, 3.5
#: A floor seen by fewer rows of the grid is not followed.
_LEAST_ROWS = 8
#: Degrees: a surface that is steeper than the first begins to stand up, than the second does so.
#: Far from a low camera less has to do: the depth is blurred over a steep face of a few pixels.
_SLOPES, _LEAST_SLOPES, _GRAZING = (12.0, 22.0), (5.0, 9.0), 2.0
#: Degrees: a patch that is less steep is level; the lower edge shows a face if that is steeper.
_LEVEL, _FACE = 25.0, 30.0
#: A jump is a fall of q by more than so many times what an upright face has in the same rows.
_JUMP = 2.0
#: A level patch is floor unless it lies higher than this, metres and share of the camera's height.
_RAISED, _RAISED_SHARE = 0.25, 0.5
#: Log depth that the floor's level can be above the middle of all: beyond is a hole, or outdoors.
_SUNK = 0.7
#: Nor if it is off by more than so many times the spread of the whole floor's level, which is as
#: much as a network errs; with true depth it is next to none. At least so much, in log depth.
#: The second ones are those of anchored depth.
_SPREADS, _LEAST_SPREAD = (10.0, 3.6), (0.1, 0.05)
#: This share of the least height of an obstacle is what stands up: depth is blurred over its edges.
#: Whether it is high enough is told by its own pixels.
_RISEN = 0.75
#: What stands up begins where it has risen by this share of the least height of an obstacle.
_FOOT = 0.3
#: Rows of the grid before a foot over which the floor's level is averaged, and by how much more
#: than at the foot it can be: blur lowers it there.
_BEFORE, _MORE = 6, 0.3
#: Log depth: where the level changes by more from one place of the grid to the next there is the
#: edge of a patch, somewhere between them. Both get the lower level: no pixel of it stands up then.
_EDGE_STEP = 0.05
#: Things with floor between them that are told apart in one column.
_THINGS = 2
#: Metres: a smaller tolerance is not asked of the floor that a network sees.
_LEAST_TOLERANCE = 0.03


@dataclass(frozen=True, eq=False)
class FloorLayout:
    """Where a camera sees the floor. Grids are (n, k), the first row is the lowest in the image.

    Attributes:
        size: (rows, columns) of the depth image.
        height: metres of the camera above the floor.
        rows: int64 (n,), of the image.
        columns: of the image.
        nearness: 1 / depth of the floor.
        log_step: (n - 1, k), log depth of the floor from row to row.
        distance: metres on the ground for each metre of depth.
        rise: (n, k), the fall of q by which the lowest obstacle rises (negative).
        slopes: (n - 1, k) twice: tangents between which a surface begins to stand up.
        near: bool, whether the floor's level counts there.
        window: rows over which an obstacle rises at most.
        raised: the q of the highest patch that can be floor (negative).
        across, along: for each column and each row of the image the grid's line before it, int64,
            and the share of the next one, float32. Line 0 along is above the whole grid.
        above: rows of the image that are above line 0.
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
    """The layout of a camera's floor: a few milliseconds of work, to be kept.

    Args:
        camera: of the depth image.
        pose: of the camera.
        tolerance: metres above the floor that are floor; grows by `scan.FLOOR_GROWTH`.
        device: where the depth images will be; 'numpy' for arrays.

    Returns:
        None where the camera's height is unknown or too little of the floor can be seen.
    """
    height = pose.height
    if height is None or height <= 0:
        return None
    rays = level_rays(camera, pose).numpy()
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
def level_floor(depth: Array, layout: FloorLayout, anchored: bool = False) -> Array:
    """Depth (H, W) whose floor is where it is known to be.

    Args:
        depth: metres, before any limits; NaN stays NaN. A numpy array, or a tensor on the layout's
            device; nothing waits for the device.
        layout: of its camera. For tensors on a CPU it is of kind 'numpy'.
        anchored: whether the distances are true already, from other sensors: then the floor alone
            is corrected, otherwise what stands on it is taken along.

    Raises:
        ValueError: the depth is not of the camera's size.
    """
    if tuple(depth.shape) != layout.size:
        raise ValueError(
            f'the depth is {tuple(depth.shape)}, '
            f'the camera {layout.size[0]} rows x {layout.size[1]} columns'
        )
    factor = _xp(depth).exp(-_floor_level(depth, layout, anchored))
    return _times_grid(depth, factor, layout)


def _floor_level(depth: Array, layout: FloorLayout, anchored: bool) -> Array:
    """(n + 1, k): q of the floor, the first row above the grid, the last one the image's lowest."""
    xp = _xp(depth)
    seen = depth[:, layout.columns][layout.rows] * layout.nearness
    ratio = _filled(seen)
    q = xp.log(ratio)
    level, standing, middle, limit = _followed(q, ratio, layout, anchored)
    level = xp.minimum(xp.maximum(level, middle + limit), middle + _SUNK)
    near = layout.near & ~standing
    mean = xp.where(near, level, xp.zeros_like(level)).sum(0) / near.sum(0).clip(1)
    mean = xp.where(near.any(0), mean, xp.zeros_like(mean) + middle)
    above = xp.where(standing[-1], level[-1], mean * (not anchored))
    lower = _lowest_around(level)
    is_edge = (level - lower > _EDGE_STEP) & ~_any_around(standing)
    return _joined(above[None], _upside_down(xp.where(is_edge, lower, level)))


def _followed(
    q: Array, ratio: Array, layout: FloorLayout, anchored: bool
) -> tuple[Array, Array, Array, Array]:
    """The floor's level (n, k), whether something stands there, and the middle of all levels.

    The last is by how much a level patch of the floor can be below the middle (negative).
    """
    xp = _xp(q)
    fall, level_steps, rising, middle, limit = _steps(q, ratio, layout, anchored)
    start = _start(q, level_steps, rising, middle, limit, layout)
    # A row before the image's lowest, where the floor is that something on the lower edge hides.
    q = _joined((q[0] - start)[None], q)
    relief = _joined(xp.zeros_like(start)[None], start[None], start + xp.cumsum(fall, 0))
    rise = _joined(layout.rise[:1], layout.rise)
    number = _row_numbers(q)
    level, standing = q, xp.zeros_like(q) > 0
    begin = xp.zeros_like(number[0])
    before = _mean_before(q)
    for _ in range(_THINGS):
        foot, top, foot_level = _thing(q, relief, rise, before, number, begin, layout.window)
        thing = (number > foot) & (number < top)
        level = xp.where(thing, foot_level * (not anchored), level)
        standing = standing | thing
        begin = top
    return level[1:], standing[1:], middle, limit


def _steps(
    q: Array, ratio: Array, layout: FloorLayout, anchored: bool
) -> tuple[Array, Array, Array, Array, Array]:
    """What happens from row to row (n - 1, k).

    Returns:
        The change of q where something stands up or comes down, 0 along the floor; whether the
        surface is level; whether it is a face; the middle of the floor's levels; and by how much a
        level patch can be below it.
    """
    xp = _xp(q)
    away = ratio / layout.nearness * layout.distance
    change, rise, ahead = _diff(q), -layout.height * _diff(ratio), _diff(away)
    level = abs(rise) < math.tan(math.radians(_LEVEL)) * ahead
    jump = change < -_JUMP * layout.log_step
    face = (rise > math.tan(math.radians(_FACE)) * ahead) & (change < 0) & ~jump
    middle, spread = _middle(q[:-1], level & layout.near[:-1])
    limit = -(spread * _SPREADS[anchored]).clip(_LEAST_SPREAD[anchored], -layout.raised)
    low, high = layout.slopes
    part = (rise - low * ahead) / ((high - low) * ahead.clip(0) + 1e-6)
    part = xp.where(change > 0, xp.ones_like(part), part.clip(0, 1))
    is_patch = jump & _level_follows(level) & (_sum_around(change * jump) > limit)
    return xp.where(is_patch, xp.zeros_like(change), change * part), level, face, middle, limit


def _start(
    q: Array, level: Array, face: Array, middle: Array, limit: Array, layout: FloorLayout
) -> Array:
    """(k,): q of the image's lowest row above the floor's, 0 where that is the floor."""
    xp = _xp(q)
    floor, _ = _middle(q[:_EDGE], level[:_EDGE], thin=1)
    is_patch = q[0] - middle >= xp.minimum(limit, layout.rise[0])
    above = (q[0] - xp.where(_most(face[:3]), floor, middle)).clip(None, 0)
    return xp.where(is_patch & ~_most(face[:3]), xp.zeros_like(above), above)


def _thing(
    q: Array, relief: Array, rise: Array, before: Array, number: Array, begin: Array, window: int
) -> tuple[Array, Array, Array]:
    """The first thing of each column from the row `begin` (k,) on: what stands up far enough.

    Returns:
        The last row of the floor before it, the first one behind it (the row after the last where
        there is none), and the floor's level there, each (k,).
    """
    xp = _xp(q)
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
    """Whether three level steps in a row begin one to three steps after each one."""
    count = level.shape[0]
    padded = _joined(level, *[level[-1:]] * 6)
    three = padded[:-2] & padded[1:-1] & padded[2:]
    return three[1 : 1 + count] | three[2 : 2 + count] | three[3 : 3 + count]


def _sum_around(values: Array) -> Array:
    """The sum of each value and its three neighbours to either side in its column."""
    none = _xp(values).zeros_like(values[:1])
    padded = _joined(*[none] * 3, values, *[none] * 3)
    # A sum along columns takes longer than all of these.
    return functools.reduce(operator.add, (padded[k : k + len(values)] for k in range(7)))


def _mean_before(q: Array) -> Array:
    """The mean of the _BEFORE values before each one in its column."""
    padded = _joined(*[q[:1]] * _BEFORE, q[:-1])
    total = functools.reduce(operator.add, (padded[k : k + len(q)] for k in range(_BEFORE)))
    return total / _BEFORE


def _most(bools: Array) -> Array:
    """(k,): whether more than half of a column are true."""
    return bools.sum(0) * 2 > len(bools)


# What numpy and PyTorch name differently.


def _xp(array: Array) -> Any:
    return torch if isinstance(array, Tensor) else np


def _joined(*arrays: Array) -> Array:
    return torch.cat(arrays) if isinstance(arrays[0], Tensor) else np.concatenate(arrays)


def _diff(array: Array) -> Array:
    return array[1:] - array[:-1]


def _upside_down(array: Array) -> Array:
    return array.flip(0) if isinstance(array, Tensor) else array[::-1]


def _row_numbers(array: Array) -> Array:
    """(n, k), the number of each row."""
    if isinstance(array, Tensor):
        return torch.arange(len(array), device=array.device)[:, None].expand(array.shape)
    return np.broadcast_to(np.arange(len(array))[:, None], array.shape)


def _first(where: Array, number: Array, none: int) -> Array:
    """The first row (k,) where a column is true; `none` where it is nowhere."""
    if isinstance(where, Tensor):
        return torch.where(where, number, none).amin(0)
    return np.where(where.any(0), where.argmax(0), none)


def _last(where: Array, number: Array) -> Array:
    """The last row (k,) where a column is true; 0 where it is nowhere."""
    if isinstance(where, Tensor):
        return torch.where(where, number, 0).amax(0)
    return np.where(where, number, 0).max(0)


def _at(array: Array, row: Array) -> Array:
    """The value (k,) of each column in its own row."""
    if isinstance(array, Tensor):
        return array.gather(0, row[None])[0]
    return np.take_along_axis(array, row[None], 0)[0]


def _highest(values: Array, window: int) -> Array:
    """The largest of each value and those before it in its column, `window` in all."""
    if isinstance(values, Tensor):
        padded = F.pad(values.T[None], (window - 1, 0), value=-math.inf)
        return F.max_pool1d(padded, window, 1)[0].T
    return cv2.dilate(values, np.ones((window, 1), np.uint8), anchor=(0, window - 1))


def _lowest_around(values: Array) -> Array:
    """The smallest of each value and its eight neighbours."""
    if isinstance(values, Tensor):
        return -F.max_pool2d(-values[None], 3, 1, 1)[0]
    return cv2.erode(values, np.ones((3, 3), np.uint8))


def _any_around(values: Array) -> Array:
    """Whether any of two neighbours to each side, or itself, is true."""
    if isinstance(values, Tensor):
        return F.max_pool2d(values[None].float(), 5, 1, 2)[0] > 0
    return cv2.dilate(values.view(np.uint8), np.ones((5, 5), np.uint8)).view(bool)


def _filled(ratio: Array) -> Array:
    """Each unknown value as the one before it in its column, or the first one; or 1."""
    xp = _xp(ratio)
    known = xp.isfinite(ratio) & (ratio > 0)
    if not isinstance(ratio, Tensor) and known.all():
        return ratio
    number = _row_numbers(ratio)
    source = xp.where(known, number, xp.zeros_like(number) - 1)
    source = source.cummax(0).values if isinstance(ratio, Tensor) else np.maximum.accumulate(source)
    first = _first(known, number, len(ratio)).clip(None, len(ratio) - 1)
    source = xp.where(source < 0, first[None], source)
    values = (
        ratio.gather(0, source)
        if isinstance(ratio, Tensor)
        else np.take_along_axis(ratio, source, 0)
    )
    return xp.where(known.any(0)[None], values, xp.ones_like(values))


def _middle(q: Array, floor: Array, thin: int = 2) -> tuple[Array, Array]:
    """Median of q where there is floor, and the spread about it; 0 and 1 where there is little."""
    q, floor = q[::thin, ::thin], floor[::thin, ::thin]
    least = _LEAST_FLOOR * floor.shape[0] * floor.shape[1]
    if isinstance(q, Tensor):
        known = torch.where(floor, q, math.nan).reshape(-1)
        middle = known.nanmedian()
        spread = 1.4826 * (known - middle).abs().nanmedian()
        is_seen = floor.sum() > least
        return torch.where(is_seen, middle, 0.0), torch.where(is_seen, spread, 1.0)
    values = np.sort(q[floor])
    if len(values) <= least:
        return q.dtype.type(0), q.dtype.type(1)
    # Of an even number the lower one, as PyTorch has it.
    middle = values[(len(values) - 1) // 2]
    return middle, 1.4826 * np.sort(abs(values - middle))[(len(values) - 1) // 2]


def _times_grid(depth: Array, factor: Array, layout: FloorLayout) -> Array:
    """The depth times a grid (n + 1, k), interpolated; its first row is the image's upper one."""
    column, share = layout.across
    wide = factor[:, column] + (factor[:, column + 1] - factor[:, column]) * share
    line, share = layout.along
    step = _joined(_diff(wide), _xp(wide).zeros_like(wide[:1]))
    if isinstance(depth, Tensor):
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
    """The rows of the grid, the lowest first: in the middle column they are even in log depth."""
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
    """Tangents of the slopes between which a surface begins to stand up, at metres away."""
    grazing = _GRAZING * np.degrees(np.arctan2(height, away))
    low = np.clip(grazing, _LEAST_SLOPES[0], _SLOPES[0])
    high = np.clip(2 * grazing, _LEAST_SLOPES[1], _SLOPES[1])
    return np.tan(np.radians(low)), np.tan(np.radians(high))


def _between(lines: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """For each place the line before it, and the share of the next; constant beyond the ends."""
    before = np.clip(np.searchsorted(lines, places, 'right') - 1, 0, len(lines) - 2)
    share = (places - lines[before]) / (lines[before + 1] - lines[before])
    return before, np.clip(share, 0, 1)


def _on(array: NDArray[Any], device: torch.device | str) -> Array:
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array)
    return array if device == 'numpy' else torch.from_numpy(array).to(device)
