# SPDX-License-Identifier: Apache-2.0
"""What the last frames of a camera showed of its floor.

One frame cannot tell a rug that a network lifts from the top of a box, and cannot tell the scale of
depth when an object hides the floor. But both change slowly from frame to frame, because the
network and the place stay the same:

* **the spread of the floor's level** shows how much the network errs about the floor. Its mean over
  the last frames decides how high a patch can be and still be floor; in single frames the spread
  jumps with the share of the image that a rug covers.
* **the floor's level at the lower edge of the image** is the reference for an object there. An
  object that hides the floor and is taken for it lowers this level, and so would be moved away from
  the robot. So the level may fall only slowly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import namespace, place_of

#: A NumPy array, or a tensor on any device.
Array = Any

#: Seconds: over which the spread is averaged (with 1 s, the closed loop hit a box), and after which
#: a frame is forgotten.
RECENT, LONGEST_GAP = 0.3, 1.0
#: Log depth per second by which the level at the lower edge may fall.
FALL = 0.1


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a frame.

    Attributes:
        time: seconds.
        frames: number of frames since the start.
        anchored: whether the depth was corrected by other sensors.
        spread, edge: arrays without axes, NaN while unknown.
    """

    time: float
    frames: int
    anchored: bool
    spread: Array
    edge: Array


class FloorMemory:
    """The floor in the frames of one camera.

    A frame that is given twice, for example for two poses, continues from the frame before it both
    times. After a gap in time, or a jump back, nothing is known.
    """

    def __init__(self) -> None:
        self._last: _Seen | None = None
        self._now: _Seen | None = None

    def reset(self) -> None:
        """Forget all frames."""
        self._last = self._now = None

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the data of the last frame, for `remember`; empty if there is none."""
        if self._now is None:
            return {}
        now = self._now
        values = (now.time, now.frames, now.anchored, float(now.spread), float(now.edge))
        return {'values': np.array(values)}

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue with the data of another object, see `memory`."""
        self.reset()
        if memory:
            time, frames, anchored, *levels = map(float, memory['values'])
            spread, edge = (np.asarray(level, np.float32) for level in levels)
            self._now = _Seen(time, int(frames), bool(anchored), spread, edge)

    def recalled(
        self,
        time: float,
        anchored: bool,
        spread: tuple[Array, Array],
        edge: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        """Return the spread of the floor's level and its level at the lower edge.

        Args:
            time: of the frame, seconds.
            anchored: whether other sensors have corrected the depth. If so, its level is not
                remembered, because their noise moves it from frame to frame.
            spread: of the levels in the frame, and whether there is enough floor to tell it.
            edge: level at the lower edge, and whether there is enough floor to tell it.
        """
        last = self._before(time, anchored, place_of(spread[0]))
        frames = 1 if last is None else last.frames + 1
        mean, level = (_where_known(value, is_known) for value, is_known in (spread, edge))
        if last is not None:
            since, xp = time - last.time, namespace(mean)
            share = max(1 / frames, -math.expm1(-since / RECENT))
            mixed = last.spread + share * (mean - last.spread)
            mean = _first_known(mixed, mean, last.spread)
            if not anchored:
                level = xp.fmax(level, last.edge - FALL * since)
        self._last, self._now = last, _Seen(time, frames, anchored, mean, level)
        return _first_known(mean, spread[0]), _first_known(level, edge[0])

    def _before(self, time: float, anchored: bool, place: Any) -> _Seen | None:
        """Return what is known before a frame; None if nothing is."""
        last = self._now
        if last is not None and last.time == time:
            last = self._last
        if last is None or not 0 < time - last.time <= LONGEST_GAP:
            return None
        return last if last.anchored == anchored and place_of(last.spread) == place else None


def _where_known(value: Array, is_known: Array) -> Array:
    """Return the value, or NaN if it is not known."""
    xp = namespace(value)
    return xp.where(is_known, value, xp.full_like(value, math.nan))


def _first_known(*values: Array) -> Array:
    """Return the first value that is not NaN."""
    xp = namespace(values[0])
    return functools.reduce(lambda found, value: xp.where(xp.isnan(found), value, found), values)
