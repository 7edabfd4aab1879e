# SPDX-License-Identifier: Apache-2.0
"""Reduce flicker: average each depth with the last one where both nearly agree.

This is an exponential moving average that stops at changes, like the temporal filters of depth
cameras (librealsense's `temporal_filter`: alpha and delta). There is no optical flow: the depth of
moving objects changes by more than noise, and there the new frame is kept unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor, like, namespace, on_host
from depth_perception.depth.by_numpy import by_numpy

#: A NumPy array, or a tensor on any device.
Array = Any

#: Relative change of depth above which the last frame has no weight. The weight falls linearly up
#: to this limit, so that pixels do not jump between filtered and unfiltered. See docs/filters.md.
CHANGE_LIMIT = 0.2
#: Frames that are more seconds apart are not averaged.
LONGEST_GAP = 1.0
#: Images less correlated than this show different places. Neighbouring frames of the bundled clip
#: are at 0.93 or more, frames a second apart at 0.68; of views of different parts of one room 19
#: in 20 are below 0.45.
SAME_SCENE = 0.5
#: The correlation uses every n-th pixel of both axes.
THINNING = 16


class TemporalFilter:
    """Temporal filter for the depth of one camera.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.temporal import TemporalFilter
        >>> rgb = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        >>> calm = TemporalFilter()
        >>> for time, metres in ((0.0, 2.0), (0.1, 2.1)):  # the same scene, noise of 5 %
        ...     depth = calm(np.full((240, 320), metres), rgb, time, strength=0.8)
        >>> round(float(depth[0, 0]), 2)
        2.04
    """

    def __init__(self) -> None:
        self._depth: Any = None
        self._thumbnail = np.zeros((0, 0), np.float32)
        self._time = 0.0

    def reset(self) -> None:
        """Forget the last frame."""
        self._depth = None

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the data of the last frame, for `remember`; empty if there is none."""
        if self._depth is None:
            return {}
        return {
            'depth': on_host(self._depth),
            'thumbnail': self._thumbnail,
            'time': np.array([self._time]),
        }

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue with the data of another filter, see `memory`."""
        self.reset()
        if memory:
            self._depth = memory['depth']
            self._thumbnail, self._time = memory['thumbnail'], float(memory['time'][0])

    def __call__(self, depth: Array, rgb: NDArray[np.uint8], time: float, strength: float) -> Array:
        """Return the filtered depth of a frame, on the depth's device.

        The filter starts again, with the unfiltered depth, after a cut, a change of size, a jump
        back in time or a long gap.

        Args:
            depth: (H, W), metres, finite; a NumPy array, or a tensor on any device.
            rgb: the image that it belongs to, uint8 (H, W, 3).
            time: stamp of the image, seconds.
            strength: weight of the last frame where the depth did not change, in [0, 1); 0 = off.

        Returns:
            (H, W) metres.
        """
        if strength <= 0:
            self.reset()
            return depth
        thumbnail = _thumbnail(rgb)
        last = None if self._depth is None else like(self._depth, depth)
        if last is not None and self._continues(last, depth, thumbnail, time):
            depth = blend(last, depth, strength)
        else:
            # A copy, because the network's output may be a buffer that the next frame overwrites.
            depth = depth.clone() if is_tensor(depth) else depth.copy()
        self._depth, self._thumbnail, self._time = depth, thumbnail, time
        return depth

    def _continues(
        self, last: Array, depth: Array, thumbnail: NDArray[np.float32], time: float
    ) -> bool:
        return (
            last.shape == depth.shape
            and 0 <= time - self._time <= LONGEST_GAP
            and _correlation(self._thumbnail, thumbnail) >= SAME_SCENE
        )


@by_numpy
def blend(last: Array, depth: Array, strength: float) -> Array:
    """Return d + w (last - d), with w = max(0, strength (1 - change / CHANGE_LIMIT)).

    The change is |last - depth| / min(last, depth). All are (H, W), metres.
    """
    difference = last - depth
    change = abs(difference) / namespace(depth).minimum(last, depth).clip(1e-6, math.inf)
    weight = strength * (1 - change / CHANGE_LIMIT).clip(0, 1)
    return depth + weight * difference


def _thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return every 16th grey pixel less their mean, (ceil(H / 16), ceil(W / 16))."""
    grey: NDArray[np.float32] = rgb[::THINNING, ::THINNING].mean(-1, dtype=np.float32)
    grey -= grey.mean()
    return grey


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return Pearson's correlation of two thumbnails of the same size; 0 if one is uniform."""
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0
