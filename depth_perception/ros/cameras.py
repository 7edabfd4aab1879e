# SPDX-License-Identifier: Apache-2.0
"""The latest camera_info, and from it the camera of each image."""
from __future__ import annotations

import threading
from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo

from depth_perception.camera import CameraError
from depth_perception.rectification import Rectifier, is_uncalibrated
from depth_perception.ros.camera_info import ImageCamera, field_of_view_camera, image_camera

#: How long the first frame of a size waits for its camera_info, seconds: the two are published
#: one after the other, and either may arrive first.
GRACE = 0.2
#: The problem of an image before any camera_info came.
NO_CAMERA_INFO = 'no camera_info'


@dataclass(frozen=True)
class CameraState:
    """The camera of an image, or why there is none."""

    camera: ImageCamera | None
    problem: str = ''


class CameraSource:
    """Keeps the newest camera_info; hands out cameras by image size. Thread-safe.

    Args:
        rectify: `auto`, `on` or `off`.
        horizontal_fov_deg: stands in where camera_info is missing or uncalibrated; 0 = nothing.
        rectified_topic: whether the images are rectified already.
    """

    def __init__(self, rectify: str = 'auto', horizontal_fov_deg: float = 0.0,
                 rectified_topic: bool = False) -> None:
        self._rectify = rectify
        self._horizontal_fov_deg = horizontal_fov_deg
        self._rectified_topic = rectified_topic
        self._info: CameraInfo | None = None
        self._key: tuple = ()
        self._states: dict[tuple[int, int], CameraState] = {}
        self._rectifiers: dict[tuple[int, int], Rectifier] = {}
        self._waited_in_vain: set[tuple[int, int]] = set()
        self._arrived = threading.Condition()

    @property
    def has_info(self) -> bool:
        """Whether any camera_info came."""
        return self._info is not None

    def update(self, info: CameraInfo) -> None:
        """Take in a message; cameras are rebuilt only when its content changed."""
        key = _content(info)
        with self._arrived:
            if key != self._key:
                self._info, self._key = info, key
                self._forget_sizes()
            self._arrived.notify_all()

    def for_image(self, width: int, height: int, expected: bool = False) -> CameraState:
        """The camera of an image of that size.

        Args:
            width, height: of the image, pixels.
            expected: whether somebody publishes camera_info, so that a short wait is worth while
                when none fits yet; a wait in vain is not repeated.
        """
        size = (width, height)
        with self._arrived:
            state = self._state(size)
            if state.camera is None and expected and size not in self._waited_in_vain:
                self._arrived.wait_for(lambda: self._state(size).camera is not None, GRACE)
                self._waited_in_vain.add(size)
                state = self._state(size)
        return state

    def rectifier(self, camera: ImageCamera) -> Rectifier | None:
        """What makes images fit the camera's model, or None where they do already.

        Its maps are computed once a camera.
        """
        if not camera.rectify:
            return None
        size = (camera.camera.width, camera.camera.height)
        rectifier = self._rectifiers.get(size)
        if rectifier is None or rectifier.calibration is not camera.calibration:
            rectifier = self._rectifiers[size] = Rectifier(camera.calibration)
        return rectifier

    def _state(self, size: tuple[int, int]) -> CameraState:
        if size not in self._states:
            self._states[size] = self._new_state(*size)
        return self._states[size]

    def _new_state(self, width: int, height: int) -> CameraState:
        substitute = self._horizontal_fov_deg > 0
        if substitute and (self._info is None or is_uncalibrated(self._info)):
            return CameraState(field_of_view_camera(width, height, self._horizontal_fov_deg))
        if self._info is None:
            return CameraState(None, NO_CAMERA_INFO)
        try:
            return CameraState(image_camera(
                self._info, width, height, self._rectify, self._rectified_topic))
        except CameraError as error:
            return CameraState(None, str(error))

    def _forget_sizes(self) -> None:
        self._states.clear()
        self._rectifiers.clear()
        self._waited_in_vain.clear()


def _content(info: CameraInfo) -> tuple:
    """Everything but the header."""
    roi = info.roi
    return (info.width, info.height, info.distortion_model, tuple(info.d), tuple(info.k),
            tuple(info.r), tuple(info.p), info.binning_x, info.binning_y,
            roi.x_offset, roi.y_offset, roi.width, roi.height)
