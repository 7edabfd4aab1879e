# SPDX-License-Identifier: Apache-2.0
"""The interface of everything that turns images into metric depth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.inference.device import Device
from depth_perception.io.weights import WeightsInfo

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """The depth of one image, with what is known about how it was computed.

    Attributes:
        depth: float32 (H, W), metres along the optical axis, not masked: on a CPU a NumPy array, on
            a GPU a tensor there.
        focal_factor: the factor on the network's metres that corrects for the focal length.
        network_seconds: the time the network alone took; None on a GPU, where the work has only
            been started.
        confidence: float32 (H, W), 0 to 1, of the depth's kind: the probability that the depth is
            within 25 % of the truth, as the network estimates it; None if it was not asked for, or
            is not compiled yet.
    """

    depth: Any
    focal_factor: float = 1.0
    network_seconds: float | None = None
    confidence: Any = None


@dataclass(frozen=True)
class Sharing:
    """Who uses a shared network.

    Attributes:
        users: the names of all who share it, sorted.
        turn: the user whose image the network is processing; '' while it is idle.
    """

    users: tuple[str, ...]
    turn: str = ''


class Estimator(Protocol):
    """Estimate metric depth of images: `DepthEstimator`, or one user's share of it."""

    @property
    def info(self) -> WeightsInfo:
        """Metadata of the weights file."""

    @property
    def checksum(self) -> str:
        """The checksum of the weights file."""

    @property
    def device(self) -> Device:
        """Device of the inference, and of the depth that `estimate` returns."""

    @property
    def precision(self) -> str:
        """Precision of the network: `fp16`, `bf16` or `fp32`."""

    @property
    def backend(self) -> str:
        """Backend that runs the network: `torch` or `openvino`."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for each problem that makes inference slower than it could be."""

    @property
    def sharing(self) -> Sharing | None:
        """Who shares the network; None if it has only one user."""

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Prepare for images of these (height, width), and wait until that is done.

        Raises:
            CompileError: the network cannot be compiled for one of them.
        """

    def prepare_confidence(self) -> None:
        """Make the confidence ready for images of the training's size, and wait for that.

        Raises:
            ValueError: the network gives no confidence.
            CompileError: the network cannot be compiled.
        """

    def estimate(
        self,
        rgb: NDArray[np.uint8] | Tensor,
        camera: CameraModel | None = None,
        confidence: bool = False,
        wait: bool = True,
    ) -> Estimate:
        """Estimate the depth of one image.

        Args:
            rgb: uint8 (H, W, 3); a tensor may be on the device already, see `transfer.Upload`.
            camera: camera of the image, for focal-length correction; None keeps the network's
                metres, which are correct for a camera like that of the training data.
            confidence: estimate the confidence too.
            wait: if the confidence must first be compiled for, wait for seconds instead of going
                on without it meanwhile.

        Raises:
            ValueError: type or shape of the image is wrong, its size differs from the camera's, or
                the network gives no confidence.
        """
