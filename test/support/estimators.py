# SPDX-License-Identifier: Apache-2.0
"""Test estimators: a slow network, one that fails, one with known depth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from depth_perception.camera.model import CameraModel
from depth_perception.inference.protocol import Estimate, Sharing
from depth_perception.io.weights import WeightsInfo

INFO = WeightsInfo(
    network='efficientnet_sff',
    network_arguments={'uncertainty': True},
    input_height=60,
    input_width=80,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    output='metres',
    min_depth=0.1,
    max_depth=10.0,
    training_focal_length=64.0,
    training_image_width=80,
    training_data='none',
    licence='none',
    name='stand-in',
)
#: The confidence of depth in the left and in the right half of every picture.
CONFIDENCE = (0.75, 0.25)


class StandIn:
    """An `Estimator` whose depth comes from a function of the image.

    Args:
        depth: (rgb, camera) -> depth (H, W) in metres; may raise.
        seconds: duration of an inference.
    """

    def __init__(
        self,
        depth: Callable[[np.ndarray, CameraModel | None], np.ndarray] | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.info = INFO
        self.checksum = 'stand-in'
        self.device = torch.device('cpu')
        self.precision = 'fp32'
        self.backend = 'stand-in'
        self.remarks: tuple[str, ...] = ()
        self.sharing: Sharing | None = None
        self.prepared: list[tuple[int, int]] = []
        self.calls = 0
        self.asked: list[tuple[bool, bool]] = []
        self.confidence_prepared = False
        self.started: list[float] = []
        self.release = threading.Event()
        self.release.set()
        self._depth = depth or (lambda rgb, camera: np.full(rgb.shape[:2], 2.0, np.float32))
        self._seconds = seconds

    def __call__(self, *_load_arguments: str) -> StandIn:
        """Return itself, to serve as the node's `load_estimator`."""
        return self

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        self.prepared += sizes

    def prepare_confidence(self) -> None:
        self.confidence_prepared = True

    def estimate(
        self,
        rgb: np.ndarray | Tensor,
        camera: CameraModel | None = None,
        confidence: bool = False,
        wait: bool = True,
    ) -> Estimate:
        self.calls += 1
        self.asked.append((confidence, wait))
        self.started.append(time.monotonic())
        if self._seconds:  # sleep(0) would yield the core
            time.sleep(self._seconds)
        self.release.wait(30)
        depth = torch.from_numpy(np.asarray(self._depth(np.asarray(rgb), camera), np.float32))
        factor = 1.0 if camera is None else camera.fx / camera.width * 80 / 64
        if not confidence:
            return Estimate(depth, factor, None)
        sure = torch.full_like(depth, CONFIDENCE[0])
        sure[:, depth.shape[1] // 2 :] = CONFIDENCE[1]
        return Estimate(depth, factor, None, sure)
