# SPDX-License-Identifier: Apache-2.0
"""Store camera_info messages, and return the camera of each image."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

from sensor_msgs.msg import CameraInfo

from depth_perception.camera.model import CameraError
from depth_perception.camera.rectification import Rectifier, is_uncalibrated
from depth_perception.ros.conversions.camera_info import (
    ImageCamera,
    field_of_view_camera,
    image_camera,
)
from depth_perception.ros.conversions.stamps import nanoseconds

#: Seconds that the first image of each size waits for its camera_info: the two are published one
#: after the other, and either may arrive first.
GRACE = 0.2
#: Number of stamps whose camera_info is kept: enough for a zoom camera while a slow network
#: processes one image.
STAMPS = 64
#: The problem reported for an image before any camera_info has arrived.
NO_CAMERA_INFO = 'no camera_info'


@dataclass(frozen=True)
class CameraState:
    """The camera of an image, or why it is unknown."""

    camera: ImageCamera | None
    problem: str = ''


@dataclass(frozen=True)
class _Info:
    """A camera_info, its contents, and the cameras derived from it by image size."""

    message: CameraInfo
    key: tuple[Any, ...]
    states: dict[tuple[int, int], CameraState]


class InfoTopic(Protocol):
    """The source of camera_info."""

    @property
    def has_info_publisher(self) -> bool:
        """Whether it has a publisher."""


class Calibrations:
    """Store camera_info, and return the cameras of images. Thread-safe.

    An image uses the camera_info with the same stamp if there is one, because a lens may zoom.
    Otherwise it uses the newest, because most cameras never change their camera_info.

    Args:
        rectify: `auto`, `on` or `off`.
        horizontal_fov_deg: used if camera_info is missing or uncalibrated; 0 = off.
        rectified_topic: whether the images are already rectified.
        info_topic: while it has a publisher, an image without camera_info waits up to GRACE.
    """

    def __init__(
        self,
        rectify: str = 'auto',
        horizontal_fov_deg: float = 0.0,
        rectified_topic: bool = False,
        info_topic: InfoTopic | None = None,
    ) -> None:
        self._rectify = rectify
        self._horizontal_fov_deg = horizontal_fov_deg
        self._rectified_topic = rectified_topic
        self._info_topic = info_topic
        self._newest: _Info | None = None
        self._by_stamp: OrderedDict[int, _Info] = OrderedDict()
        self._rectifiers: dict[tuple[int, int], Rectifier] = {}
        self._waited_in_vain: set[tuple[int, int]] = set()
        self._is_paired = False
        self._without_info: dict[tuple[int, int], CameraState] = {}
        self._arrived = threading.Condition()

    @property
    def has_info(self) -> bool:
        """Whether any camera_info was received."""
        return self._newest is not None

    def update(self, info: CameraInfo) -> None:
        """Store a message; rebuild the cameras only if its contents changed."""
        key = _content(info)
        with self._arrived:
            if self._newest is None or key != self._newest.key:
                self._newest = _Info(info, key, {})
                self._waited_in_vain.clear()
            stamp = nanoseconds(info.header.stamp)
            self._by_stamp[stamp] = self._newest
            self._by_stamp.move_to_end(stamp)
            if len(self._by_stamp) > STAMPS:
                self._by_stamp.popitem(last=False)
            self._arrived.notify_all()

    def for_image(self, width: int, height: int, stamp: int | None = None) -> CameraState:
        """Return the camera of an image of this size.

        If camera_info has a publisher but no usable message has arrived, wait up to GRACE. If the
        wait fails, it is not repeated for this size.

        Args:
            width, height: size of the image, pixels.
            stamp: stamp of the image, nanoseconds.
        """
        size = (width, height)
        with self._arrived:
            self._wait_for_own(stamp)
            state = self._state(size, stamp)
            if state.camera is None and size not in self._waited_in_vain and self._is_expected():
                self._arrived.wait_for(lambda: self._state(size, stamp).camera is not None, GRACE)
                self._waited_in_vain.add(size)
                state = self._state(size, stamp)
        return state

    def _is_expected(self) -> bool:
        """Whether camera_info has a publisher; the answer takes longer than all else here."""
        return self._info_topic is not None and self._info_topic.has_info_publisher

    def _wait_for_own(self, stamp: int | None) -> None:
        """Wait for the stamp if calibrations change: the newest may be of the previous image."""
        changes = any(info is not self._newest for info in self._by_stamp.values())
        if changes and self._is_paired and self._is_expected():
            self._arrived.wait_for(lambda: stamp in self._by_stamp, GRACE)
        # Do not wait for drivers that give image and camera_info different stamps.
        self._is_paired = stamp in self._by_stamp

    def rectifier(self, camera: ImageCamera) -> Rectifier | None:
        """Return the rectifier of the camera's images, or None if they need none.

        Its maps are computed once per camera.
        """
        if not camera.rectify:
            return None
        size = (camera.camera.width, camera.camera.height)
        rectifier = self._rectifiers.get(size)
        if rectifier is None or rectifier.calibration is not camera.calibration:
            rectifier = self._rectifiers[size] = Rectifier(camera.calibration)
        return rectifier

    def _state(self, size: tuple[int, int], stamp: int | None) -> CameraState:
        info = self._newest if stamp is None else self._by_stamp.get(stamp, self._newest)
        states = self._without_info if info is None else info.states
        if size not in states:
            states[size] = self._new_state(info.message if info else None, *size)
        return states[size]

    def _new_state(self, info: CameraInfo | None, width: int, height: int) -> CameraState:
        substitute = self._horizontal_fov_deg > 0
        if substitute and (info is None or is_uncalibrated(info)):
            return CameraState(field_of_view_camera(width, height, self._horizontal_fov_deg))
        if info is None:
            return CameraState(None, NO_CAMERA_INFO)
        try:
            return CameraState(
                image_camera(info, width, height, self._rectify, self._rectified_topic)
            )
        except CameraError as error:
            return CameraState(None, str(error))


def _content(info: CameraInfo) -> tuple[Any, ...]:
    """Return all fields except the header."""
    roi = info.roi
    return (
        info.width,
        info.height,
        info.distortion_model,
        tuple(info.d),
        tuple(info.k),
        tuple(info.r),
        tuple(info.p),
        info.binning_x,
        info.binning_y,
        roi.x_offset,
        roi.y_offset,
        roi.width,
        roi.height,
    )
