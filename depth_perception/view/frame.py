# SPDX-License-Identifier: Apache-2.0
"""What is shown, whoever made it: the one thing that sources and the viewer agree on."""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel


class Level(IntEnum):
    """How grave a remark is; the numbers of diagnostic_msgs/DiagnosticStatus."""

    OK, WARN, ERROR = range(3)


@dataclass(frozen=True)
class Remark:
    """One line on how things are, such as `input: no image for 3.0 s`."""

    level: Level
    subject: str
    text: str


@dataclass(frozen=True)
class Stand:
    """How the camera stands.

    Attributes:
        pitch: radians, positive looks down.
        roll: radians about the viewing direction, positive raises the left side.
        height: metres above the floor; None is unknown.
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
        colours: uint8 of the same shape, RGB; None where there are none.
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
    """The newest of everything; None stands for what there is not, or not yet.

    A part that did not change since the last frame is the same object as there.

    Attributes:
        image: the camera's, uint8 (H, W, 3) RGB.
        depth: the depth in colours (`visualise.colourise`), uint8 (H, W, 3) RGB.
        depth_range: (nearest, farthest) of those colours, metres.
        cloud, scan, camera: see there.
        stand: of the camera.
        remarks: how things are, in the order to be shown.
        label: which frame it is, such as `frame 13, 1.20 s`.
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
    """A source that can be told how the camera stands."""

    @property
    def stand(self) -> Stand:
        """How it stands now."""

    def restand(self, stand: Stand) -> Frame:
        """The newest frame of a camera that stands like that."""


class Source(Protocol):
    """Where frames come from; asked only while somebody watches."""

    def next(self, timeout: float) -> Frame | None:
        """The newest frame; None where nothing new came within the timeout (seconds)."""

    def rest(self) -> None:
        """Nobody watches: stop working until `next` is called again."""

    def close(self) -> None:
        """Give everything back."""
