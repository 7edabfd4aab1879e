# SPDX-License-Identifier: Apache-2.0
"""Score how well a scan shows obstacles, beam by beam, as defined in docs/obstacles.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from depth_perception.camera.model import CameraModel
    from depth_perception.demo.plan import Mounting
    from depth_perception.demo.recorder import FrameRecord

#: Largest distance of an obstacle that counts, metres.
WITHIN = 3.0
#: A range is right if its error is at most this fraction of the true range or this many metres,
#: whichever is larger.
SHARE, METRES = 0.25, 0.15
#: The possible verdicts on a beam.
NAMES = ('found', 'missed', 'hidden', 'invented', 'unknown')
PROTOCOL = (
    'beams of the scan that meet an obstacle within 3 m; found: right within 25 % or '
    '0.15 m, missed: too far, hidden: behind a false nearer one; invented: other beams '
    'with a false one'
)


def verdicts(found: NDArray[Any], true: NDArray[Any]) -> NDArray[np.str_]:
    """Return a verdict on each beam from its range and the true range: one of NAMES, or ''.

    If there is an obstacle within WITHIN: `found` if the range is right, `missed` if it is too long
    or free, `hidden` if it is too short, `unknown` if it is NaN. If there is no obstacle:
    `invented` if the range is within WITHIN and too short.
    """
    tolerance = np.where(np.isinf(true), 0, np.maximum(SHARE * true, METRES))
    is_obstacle = true <= WITHIN
    too_short = found < true - tolerance
    return np.select(
        [
            is_obstacle & np.isnan(found),
            is_obstacle & too_short,
            is_obstacle & (found > true + tolerance),
            is_obstacle,
            too_short & (found <= WITHIN),
        ],
        ['unknown', 'hidden', 'missed', 'found', 'invented'],
        '',
    )


def counts(frames: list[NDArray[np.str_]]) -> dict[str, float]:
    """Return the number of beams by verdict, and the fractions of the true obstacles."""
    tally = Counter(name for frame in frames for name in frame.tolist() if name)
    obstacles = sum(tally[name] for name in ('found', 'missed', 'hidden', 'unknown'))
    share = {
        f'{name}_percent': round(100 * tally[name] / max(1, obstacles), 1)
        for name in ('found', 'missed', 'hidden', 'unknown')
    }
    return {'obstacles': obstacles, **{name: tally[name] for name in NAMES}, **share}


def obstacle_scores(
    frames: Iterable[FrameRecord],
    truths: list[NDArray[np.float32]],
    camera: CameraModel,
    mounting: Mounting,
    far: float,
) -> dict[str, Any]:
    """Return counts over all frames with a scan, compared with the scan of the true depth."""
    from depth_perception.depth.products import ProductMaker

    make, settings = ProductMaker(far), mounting.settings(edge_threshold=0.0, floor_model=False)
    by_frame = []
    for frame in frames:
        truth = truths[frame.index] if frame.index < len(truths) else None
        if frame.scan is None or truth is None or truth.shape != (camera.height, camera.width):
            continue
        true = make(None, camera, np.where(truth > 0, truth, np.float32('nan')), settings).scan()
        if len(true.ranges) == len(frame.scan.ranges):
            by_frame.append(verdicts(frame.scan.ranges, np.asarray(true.ranges, float)))
    return {**counts(by_frame), 'protocol': PROTOCOL} if by_frame else {}
