# SPDX-License-Identifier: Apache-2.0
"""What the demo plays."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_perception.io.bag import COMPRESSED, Bag, Topic


@dataclass(frozen=True)
class Plan:
    """What is played, and how fast.

    Attributes:
        bag: folder.
        image: topic of the images.
        info: topic of camera_info, or None.
        frames: number of images.
        hertz: of the recorded images.
        size: (width, height) of the images.
        rate: of the replay; below 1 where this machine could not follow.
        anchors: topic of points that correct the depth, or ''.
    """

    bag: Path
    image: Topic
    info: Topic | None
    frames: int
    hertz: float
    size: tuple[int, int]
    rate: float = 1.0
    anchors: str = ''

    @property
    def compressed(self) -> bool:
        """Whether images are compressed."""
        return self.image.type == COMPRESSED


def make_plan(path: Path, image: str | None) -> Plan:
    """Choose the topics of a bag."""
    from depth_perception.io.image_messages import decode

    with Bag(path) as bag:
        topic = bag.image_topic(image)
        info = bag.camera_info_topic(topic)
        rgb = decode(bag.deserialize(next(iter(bag.messages([topic.name])))))
        return Plan(path, topic, info, topic.count, bag.rate(topic.name),
                    (rgb.shape[1], rgb.shape[0]))
