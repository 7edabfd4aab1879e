# SPDX-License-Identifier: Apache-2.0
"""Simulate the anchors of cheap sensors from a true depth image: noise, gaps and outliers.

Used to measure and show the benefit of anchors (`benchmarks.anchors_real`, model cards, the demo).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors

#: Standard deviation of a distance: this fraction of it plus these metres.
NOISE_SHARE, NOISE_METRES = 0.03, 0.02
#: Fraction of outliers, and the range of their random distances in metres.
OUTLIERS, OUTLIER_RANGE = 0.1, (0.3, 8.0)
#: Degrees between two beams of a scanner, and across one zone of a sensor with ZONES x ZONES zones.
BEAM_DEG, ZONE_DEG, ZONES = 0.5, 5.0, 8
#: Fraction of a zone that must be known.
_KNOWN = 0.5
#: Field of view assumed for an unknown camera.
USUAL_FOV_DEG = 60.0
#: The sensors of `sensed`: `lidar_row` and `zones`.
SENSORS = (ROW, GRID) = ('one row', f'{ZONES}x{ZONES}')


def sensed(
    truth: NDArray[Any], camera: CameraModel | None, seed: int, pitch: float = 0.0
) -> dict[str, Anchors]:
    """Simulate each of SENSORS; a seed always gives the same noise.

    Args:
        truth: (H, W) metres; values that are not finite or not positive are unknown.
        camera: of the image; None assumes USUAL_FOV_DEG.
        seed: of the noise.
        pitch: see `lidar_row`.
    """
    height, width = truth.shape
    camera = camera or CameraModel.from_field_of_view(width, height, USUAL_FOV_DEG)
    random = np.random.default_rng(seed)
    return {
        ROW: lidar_row(truth, camera, random, pitch),
        GRID: zones(truth, camera, random),
    }


def lidar_row(
    truth: NDArray[Any], camera: CameraModel, random: np.random.Generator, pitch: float = 0.0
) -> Anchors:
    """Simulate a scanner at the camera's height that measures in a level plane.

    Args:
        truth: (H, W) metres; values that are not finite or not positive are unknown.
        camera: of the image.
        random: generator of the noise.
        pitch: radians by which the camera looks down; this moves the plane up from the image's
            middle.
    """
    across = math.atan(camera.width / 2 / camera.fx)
    angles = np.arange(-across, across, math.radians(BEAM_DEG))
    # Points (tan, 0, 1) of the level plane in the frame of a camera that looks down.
    depth = math.cos(pitch)
    u = camera.cx + camera.fx * np.tan(angles) / depth
    v = np.full(len(u), camera.cy - camera.fy * math.tan(pitch))
    inside = (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
    u, v = np.rint(u[inside]).astype(int), np.rint(v[inside]).astype(int)
    return _measured(u, v, truth[v, u], 0.0, random)


def zones(truth: NDArray[Any], camera: CameraModel, random: np.random.Generator) -> Anchors:
    """Simulate a time-of-flight sensor at the camera: ZONES x ZONES means over ZONE_DEG each.

    The arguments are the same as for `lidar_row`.
    """
    middles = np.tan(np.radians(ZONE_DEG * (np.arange(ZONES) - (ZONES - 1) / 2)))
    radius = math.tan(math.radians(ZONE_DEG / 2)) * camera.fx
    rows, columns = (
        grid.ravel()
        for grid in np.meshgrid(
            camera.cy + camera.fy * middles, camera.cx + camera.fx * middles, indexing='ij'
        )
    )
    means = np.array([_mean(truth, u, v, radius) for u, v in zip(columns, rows)])
    return _measured(columns, rows, means, radius, random)


def _mean(truth: NDArray[Any], u: float, v: float, radius: float) -> float:
    """Return the mean depth of a zone; NaN if too little of it is known or inside the image."""
    top, left = (max(0, round(middle - radius)) for middle in (v, u))
    zone = truth[top : max(0, round(v + radius)) + 1, left : max(0, round(u + radius)) + 1]
    known = zone[np.isfinite(zone) & (zone > 0)]
    return float(known.mean()) if len(known) > _KNOWN * (2 * radius + 1) ** 2 else math.nan


def _measured(
    u: NDArray[Any],
    v: NDArray[Any],
    depth: NDArray[Any],
    radius: float,
    random: np.random.Generator,
) -> Anchors:
    """Return anchors of true depths with noise and outliers; unknown depths are left out."""
    known = np.isfinite(depth) & (depth > 0)
    depth = np.asarray(depth, np.float64)[known]
    noisy = depth + (NOISE_SHARE * depth + NOISE_METRES) * random.standard_normal(len(depth))
    wrong = random.random(len(depth)) < OUTLIERS
    return Anchors.of(
        u[known],
        v[known],
        np.where(wrong, random.uniform(*OUTLIER_RANGE, len(depth)), noisy),
        radius,
    )
