# SPDX-License-Identifier: Apache-2.0
"""Judge networks and baselines on the same pictures: plain, aligned, and with simulated anchors.

All by the protocol `whole_frame`; the anchors of a picture are the same for every network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors, anchor_depth
from depth_perception.depth.simulated_anchors import SENSORS, sensed
from depth_perception.progress import tracked
from depth_training.data import DepthDataset, Sample, good_samples
from depth_training.evaluate import protocols
from depth_training.evaluate.baselines import best_constant
from depth_training.evaluate.distance_bins import DistanceBands
from depth_training.evaluate.metrics import Metrics
from depth_training.evaluate.protocols import WHOLE_FRAME

CONSTANT, MEAN_MAP = 'best constant', 'mean depth map'
PLAIN, ALIGNED = 'plain', 'aligned'
#: How a baseline is used: as it is, and scaled to the median of the truth.
_BASELINE_WAYS = (PLAIN, ALIGNED)
#: How a network is used: the same, and corrected by each sensor.
WAYS = (*_BASELINE_WAYS, *SENSORS)
_PROTOCOLS = {ALIGNED: replace(WHOLE_FRAME, align='median')}

Depth = NDArray[np.float32]
Contender = Callable[[Sample], Depth]


@dataclass
class Errors:
    """Errors over all pictures, and by true distance."""

    metrics: Metrics = field(default_factory=Metrics)
    bands: DistanceBands = field(default_factory=DistanceBands)


@dataclass
class Judged:
    """Evaluation of one data set.

    Attributes:
        name: name of the data set in the table.
        pairs: its pairs.
        errors: errors of each contender in each way; the first is the network of the page.
            Baselines are not corrected by anchors.
        absrel: the first network's metric AbsRel of each evaluated pair, by its index.
        cameras: cameras of the evaluated pairs; None if unknown.
    """

    name: str
    pairs: DepthDataset
    errors: dict[str, dict[str, Errors]]
    absrel: dict[int, float] = field(default_factory=dict)
    cameras: list[CameraModel | None] = field(default_factory=list)


def judge(
    name: str, pairs: DepthDataset, networks: Mapping[str, Contender], mean: Contender
) -> Judged:
    """Evaluate networks and both baselines on all pairs; skip bad ones."""
    constant = np.full((1, 1), best_constant(s.depth for s in good_samples(pairs)), np.float32)
    baselines: dict[str, Contender] = {CONSTANT: lambda sample: constant, MEAN_MAP: mean}
    result = Judged(
        name,
        pairs,
        {key: _errors(WAYS) for key in networks}
        | {key: _errors(_BASELINE_WAYS) for key in baselines},
    )
    first = result.errors[next(iter(networks))][PLAIN].metrics
    for index in tracked(range(len(pairs)), name, ' pairs'):
        for sample in good_samples(pairs, [index]):
            for key, contender in baselines.items():
                _add(result.errors[key], dict.fromkeys(_BASELINE_WAYS, contender(sample)), sample)
            anchors = sensed(sample.depth, sample.camera, index)
            for key, contender in networks.items():
                _add(result.errors[key], _used(contender(sample), anchors), sample)
            if len(first.sums) > len(result.absrel):  # a pair without usable pixels does not count
                count, abs_rel = first.sums[-1][:2]
                result.absrel[index] = float(abs_rel / count)
                result.cameras.append(sample.camera)
    return result


def _errors(ways: Iterable[str]) -> dict[str, Errors]:
    return {way: Errors() for way in ways}


def _used(depth: Depth, anchors: Mapping[str, Anchors]) -> dict[str, Depth]:
    """Return the depth of each of WAYS."""
    anchored = {sensor: anchor_depth(depth, seen)[0] for sensor, seen in anchors.items()}
    return {**dict.fromkeys(_BASELINE_WAYS, depth), **anchored}


def _add(errors: dict[str, Errors], depths: dict[str, Depth], sample: Sample) -> None:
    """Add the depth of each way."""
    for way, depth in depths.items():
        count = protocols.counted(_PROTOCOLS.get(way, WHOLE_FRAME), depth, sample.depth)
        errors[way].metrics.add(*count)
        errors[way].bands.add(count.depth, count.truth)
