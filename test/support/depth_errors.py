# SPDX-License-Identifier: Apache-2.0
"""Simulated errors of a network: scale, smooth fields, blur, a near limit, lost frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: Number of waves of a smooth field, and their largest number of periods in the image.
WAVES, PERIODS = 6, 1.5


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth and of its timing.

    Attributes:
        scale: factor on every depth.
        field: standard deviation of log depth of a field that is smooth over the image and drifts
            from frame to frame.
        blur: standard deviation of a Gaussian over the depth in pixels.
        nearest: smallest predicted depth in metres.
        lost: share of lost frames.
        late: delay of the frames in seconds.
    """

    scale: float = 1.0
    field: float = 0.0
    blur: float = 0.0
    nearest: float = 0.0
    lost: float = 0.0
    late: float = 0.0

    def apply(self, depth: NDArray[np.float32], seconds: float, seed: int) -> NDArray[np.float32]:
        """Apply the errors to depth (H, W); return finite depth, like a network."""
        wrong = np.minimum(depth, 20.0) * np.float32(self.scale)
        if self.field:
            wrong = wrong * np.exp(self.field * smooth_field(depth.shape, seconds, seed))
        if self.blur:
            wrong = cv2.GaussianBlur(wrong, (0, 0), self.blur)
        return np.maximum(wrong, max(self.nearest, 1e-3)).astype(np.float32)


IDEAL = DepthErrors()


def smooth_field(shape: tuple[int, int], seconds: float, seed: int) -> NDArray[np.float32]:
    """Return a field (H, W) of standard deviation 1: a few long waves that drift over time."""
    random = np.random.default_rng(seed)
    v, u = np.meshgrid(
        *(np.linspace(0, 1, size, dtype=np.float32) for size in shape), indexing='ij'
    )
    field = np.zeros(shape, np.float32)
    for _ in range(WAVES):
        x, y = random.uniform(-PERIODS, PERIODS, 2)
        phase, drift = random.uniform(0, 2 * np.pi), random.uniform(-0.3, 0.3)
        field += np.cos(2 * np.pi * (x * u + y * v + drift * seconds) + phase).astype(np.float32)
    return field * np.float32(np.sqrt(2 / WAVES))
