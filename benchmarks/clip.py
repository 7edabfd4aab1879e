# SPDX-License-Identifier: Apache-2.0
"""The bundled clip with its ground truth, and a network's predictions for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage
from torch import Tensor

from benchmarks.camera import CLIP
from depth_perception.camera.model import CameraModel
from depth_perception.demo.scores import read_truth
from depth_perception.inference.protocol import Estimate, Estimator, Sharing
from depth_perception.io.bag import Bag
from depth_perception.io.image_messages import decode_compressed
from depth_perception.io.weights import WeightsInfo
from depth_perception.ros.conversions.stamps import seconds

#: Pose of the clip's camera: it looks 7 degrees down from 0.49 to 0.51 m above the floor.
PITCH_DEG, HEIGHT = 7.0, 0.5


@dataclass(frozen=True)
class Frame:
    """A recorded image and its ground truth.

    Attributes:
        image, info: the messages.
        rgb: uint8 (H, W, 3).
        camera: the camera of `info`.
        truth: float32 (H, W), metres; NaN if unknown.
    """

    image: CompressedImage
    info: CameraInfo
    rgb: NDArray[np.uint8]
    camera: CameraModel
    truth: NDArray[np.float32]

    @property
    def time(self) -> float:
        """Time stamp in seconds."""
        return seconds(self.image.header.stamp)


def read_clip(folder: Path = CLIP) -> list[Frame]:
    """Return all frames in order."""
    with Bag(folder) as bag:
        topic = bag.image_topic()
        images = [
            deserialize_message(message.data, CompressedImage)
            for message in bag.messages([topic.name])
        ]
        infos = [
            deserialize_message(message.data, CameraInfo)
            for message in bag.messages([bag.camera_info_topic(topic).name])
        ]
    return [_frame(*parts) for parts in zip(images, infos, read_truth(folder / 'truth'))]


def _frame(image: CompressedImage, info: CameraInfo, truth: NDArray[np.float32]) -> Frame:
    return Frame(
        image,
        info,
        decode_compressed(image),
        CameraModel.from_matrix(info.width, info.height, info.k),
        np.where(truth > 0, truth, np.nan).astype(np.float32),
    )


def predictions(estimator: Estimator, frames: list[Frame]) -> list[Tensor]:
    """Predict the depth (H, W) of each frame in metres, on a CPU, as the node does."""
    return [torch.as_tensor(estimator.estimate(frame.rgb, frame.camera).depth) for frame in frames]


class Recorded:
    """An `Estimator` that returns precomputed depths, one per image.

    Args:
        depths: each (H, W), metres, corrected for the focal length.
        info: metadata of the network that predicted them.
    """

    checksum, precision, backend = '', 'fp32', 'recorded'
    device = torch.device('cpu')
    remarks: tuple[str, ...] = ()
    sharing: Sharing | None = None

    def __init__(self, depths: list[Tensor], info: WeightsInfo) -> None:
        self.info = info
        self._depths = iter(depths)

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Do nothing: the depths are already computed."""

    def prepare_confidence(self) -> None:
        """Raise an error: only depths are recorded."""
        raise ValueError('recorded depths have no confidence')

    def estimate(
        self,
        rgb: NDArray[np.uint8] | Tensor,
        camera: CameraModel | None = None,
        confidence: bool = False,
        wait: bool = True,
    ) -> Estimate:
        """Return the next depth."""
        return Estimate(next(self._depths))
