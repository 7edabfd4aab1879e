# SPDX-License-Identifier: Apache-2.0
"""Less flicker from frame to frame: each depth is drawn towards the last where both nearly agree.

An exponential moving average that stops at a change, as the temporal filters of depth cameras do
(librealsense's `temporal_filter`: alpha and delta). There is no optical flow: what moves changes
its depth by more than noise does, and there the new frame stands as it is.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Relative change of a depth from which on the last frame has no say; its weight falls linearly up
#: to there, so that no pixel jumps between filtered and not. docs/filters.md has the measurements.
CHANGE_LIMIT = 0.2
#: Frames farther apart than so many seconds have nothing to do with each other.
LONGEST_GAP = 1.0
#: Images less correlated than this show different places. Neighbouring frames of the bundled clip
#: are at 0.93 or more, frames a second apart at 0.68; of views of different parts of one room 19
#: in 20 are below 0.45.
SAME_SCENE = 0.5
#: Every so many pixels of both axes are looked at for that.
THINNING = 16


class TemporalFilter:
    """Remembers the last filtered depth of one camera.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from depth_perception.depth.temporal import TemporalFilter
        >>> rgb = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        >>> calm = TemporalFilter()
        >>> for time, metres in ((0.0, 2.0), (0.1, 2.1)):  # the same scene, noise of 5 %
        ...     depth = calm(torch.full((240, 320), metres), rgb, time, strength=0.8)
        >>> round(float(depth[0, 0]), 2)
        2.04
    """

    def __init__(self) -> None:
        self._depth: Tensor | None = None
        self._thumbnail = np.zeros((0, 0), np.float32)
        self._time = 0.0

    def reset(self) -> None:
        """Forget the last frame."""
        self._depth = None

    def memory(self) -> dict[str, NDArray[Any]]:
        """What it knows of the last frame, for `remember`; empty where that is nothing."""
        if self._depth is None:
            return {}
        return {'depth': self._depth.cpu().numpy(), 'thumbnail': self._thumbnail,
                'time': np.array([self._time])}

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Go on where another filter was, see `memory`."""
        self.reset()
        if memory:
            self._depth = torch.as_tensor(memory['depth'])
            self._thumbnail, self._time = memory['thumbnail'], float(memory['time'][0])

    def __call__(self, depth: Tensor, rgb: NDArray[np.uint8], time: float,
                 strength: float) -> Tensor:
        """The filtered depth of a frame, on the depth's device.

        It starts anew, with the depth as it is, on a cut, another size, a time that goes back
        and after a long gap.

        Args:
            depth: (H, W), metres, finite.
            rgb: the image that it belongs to, uint8 (H, W, 3).
            time: stamp of the image, seconds.
            strength: weight of the last frame where the depth did not change, in [0, 1); 0 is off.

        Returns:
            (H, W) metres.
        """
        if strength <= 0:
            self.reset()
            return depth
        thumbnail = _thumbnail(rgb)
        last = None if self._depth is None else self._depth.to(depth.device)
        if last is not None and self._continues(last, depth, thumbnail, time):
            depth = blend(last, depth, strength)
        else:
            # A copy: the network's output may be a buffer that the next frame is written to.
            depth = depth.clone()
        self._depth, self._thumbnail, self._time = depth, thumbnail, time
        return depth

    def _continues(self, last: Tensor, depth: Tensor, thumbnail: NDArray[np.float32],
                   time: float) -> bool:
        return (last.shape == depth.shape
                and 0 <= time - self._time <= LONGEST_GAP
                and _correlation(self._thumbnail, thumbnail) >= SAME_SCENE)


def blend(last: Tensor, depth: Tensor, strength: float) -> Tensor:
    """The depth d + w (last - d), with w = strength (1 - change / CHANGE_LIMIT), never negative.

    The change is |last - depth| / min(last, depth). All tensors are (H, W), metres.
    """
    difference = last - depth
    change = difference.abs() / torch.minimum(last, depth).clamp_min(1e-6)
    weight = strength * (1 - change / CHANGE_LIMIT).clamp(0, 1)
    return torch.addcmul(depth, weight, difference)


def _thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A few grey pixels about their mean, (ceil(H / 16), ceil(W / 16))."""
    grey: NDArray[np.float32] = rgb[::THINNING, ::THINNING].mean(-1, dtype=np.float32)
    grey -= grey.mean()
    return grey


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's correlation of two thumbnails of one size; 0 where one is uniform."""
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0
