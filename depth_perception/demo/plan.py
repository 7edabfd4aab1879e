# SPDX-License-Identifier: Apache-2.0
"""The recording that the demo plays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_perception.depth.settings import DepthSettings, SettingError
from depth_perception.io.bag import COMPRESSED, Bag, BagError, Topic
from depth_perception.reading import read_text

#: File in a recording's folder that describes how the camera is mounted.
MOUNTING = 'mounting.json'


@dataclass(frozen=True)
class Mounting:
    """How a recording's camera is mounted.

    Attributes:
        pitch_deg: downward pitch of the camera, degrees.
        height_m: height above the floor, metres.
    """

    pitch_deg: float
    height_m: float

    def settings(self, **more: Any) -> DepthSettings:
        """Return depth settings with this mounting, together with other given settings."""
        return DepthSettings(camera_pitch=self.pitch_deg, camera_height=self.height_m, **more)


@dataclass(frozen=True)
class Plan:
    """The recording to play, its topics, and the speed.

    Attributes:
        bag: the recording.
        image: topic of the images.
        info: topic of camera_info, or None.
        frames: number of images.
        hertz: frequency of the recorded images.
        size: (width, height) of the images.
        rate: speed of the replay; below 1 if this machine could not keep up.
        anchors: topic of points that correct the depth, or ''.
        mounting: mounting of the camera; None if unknown.
        model: weights file; None for the bundled network.
    """

    bag: Path
    image: Topic
    info: Topic | None
    frames: int
    hertz: float
    size: tuple[int, int]
    rate: float = 1.0
    anchors: str = ''
    mounting: Mounting | None = None
    model: Path | None = None

    @property
    def compressed(self) -> bool:
        """Return whether the images are compressed."""
        return self.image.type == COMPRESSED


def make_plan(path: Path, image: str | None) -> Plan:
    """Choose the topics of a bag."""
    from depth_perception.io.image_messages import decode

    with Bag(path) as bag:
        topic = bag.image_topic(image)
        info = bag.camera_info_topic(topic)
        rgb = decode(bag.deserialize(next(iter(bag.messages([topic.name])))))
        return Plan(
            path,
            topic,
            info,
            topic.count,
            bag.rate(topic.name),
            (rgb.shape[1], rgb.shape[0]),
            mounting=read_mounting(path),
        )


def read_mounting(bag: Path) -> Mounting | None:
    """Return how the camera of a recording is mounted; None if the folder does not say.

    Raises:
        BagError: the description is invalid.
    """
    file = bag / MOUNTING
    if not file.is_file():
        return None
    try:
        said = json.loads(read_text(file))
        mounting = Mounting(said['pitch_deg'], said['height_m'])
        mounting.settings()
    except (ValueError, TypeError, KeyError, SettingError) as error:
        raise BagError(f'{file} is to have pitch_deg (down) and height_m: {error}') from error
    return mounting
