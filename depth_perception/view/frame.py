# SPDX-License-Identifier: Apache-2.0
"""The frame that is shown: the interface between sources and the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel


class Level(IntEnum):
    """Severity of a remark, with the numbers of diagnostic_msgs/DiagnosticStatus."""

    OK, WARN, ERROR = range(3)


@dataclass(frozen=True)
class Remark:
    """One line of status, such as `input: no image for 3.0 s`."""

    level: Level
    subject: str
    text: str


@dataclass(frozen=True)
class Stand:
    """Pose of the camera.

    Attributes:
        pitch: radians, positive if the camera looks down.
        roll: radians about the viewing direction, positive if the left side is raised.
        height: metres above the floor; None if unknown.
    """

    pitch: float = 0.0
    roll: float = 0.0
    height: float | None = None


# Compared by identity: arrays have no truth value.
@dataclass(frozen=True, eq=False)
class Cloud:
    """Points in the camera's optical frame.

    Attributes:
        points: float32 (h, w, 3) or (N, 3), metres: x right, y down, z forward; NaN is unknown.
        colours: uint8 of the same shape, RGB; None for a cloud without colours.
    """

    points: NDArray[np.float32]
    colours: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """Obstacles in the level plane through the camera (REP-103: x forward, y left).

    Attributes:
        angles: (N,), radians, positive to the left.
        ranges: (N,), metres; +Inf free, NaN unknown.
    """

    angles: NDArray[np.floating]
    ranges: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Frame:
    """The newest data; parts that do not exist (yet) are None.

    A part that has not changed since the last frame is the same object.

    Attributes:
        image: camera image, uint8 (H, W, 3) RGB.
        depth: colour-coded depth (`visualise.colourise`), uint8 (H, W, 3) RGB.
        depth_range: (nearest, farthest) distance of the colours, metres.
        cloud: the point cloud.
        scan: the obstacle scan.
        camera: the camera model.
        stand: pose of the camera.
        remarks: status lines in the order to show them.
        label: identifies the frame, such as `frame 13, 1.20 s`.
    """

    image: NDArray[np.uint8] | None = None
    depth: NDArray[np.uint8] | None = None
    depth_range: tuple[float, float] | None = None
    cloud: Cloud | None = None
    scan: Scan | None = None
    camera: CameraModel | None = None
    stand: Stand = Stand()
    remarks: tuple[Remark, ...] = ()
    label: str = ''


@runtime_checkable
class Standing(Protocol):
    """A source whose camera pose can be changed."""

    @property
    def stand(self) -> Stand:
        """The current pose of the camera."""

    def restand(self, stand: Stand) -> Frame:
        """Change the pose of the camera, and return the newest frame for it."""


class Source(Protocol):
    """A source of frames; used only while a browser has the page open."""

    def next(self, timeout: float) -> Frame | None:
        """Return the newest frame; None if nothing new came within the timeout (seconds)."""

    def rest(self) -> None:
        """Stop working until `next` is called again, because no browser has the page open."""

    def close(self) -> None:
        """Release all resources."""
