# SPDX-License-Identifier: Apache-2.0
"""Read a rosbag2 folder (sqlite3 or mcap) without ROS."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'


class BagError(ValueError):
    """A bag that cannot be used; the text names it and says what to do."""


@dataclass(frozen=True)
class Topic:
    """A recorded topic.

    Attributes:
        name, type: such as `/camera/image_raw` and `sensor_msgs/msg/Image`.
        count: recorded messages.
        reliable, transient_local: the QoS it was offered with; None where the bag does not say.
    """

    name: str
    type: str
    count: int
    reliable: bool | None = None
    transient_local: bool | None = None


@dataclass(frozen=True)
class Message:
    """A recorded message: serialized `data` (CDR) and when it was recorded, nanoseconds."""

    topic: str
    time: int
    data: bytes


class Bag:
    """A rosbag2 folder, opened for reading; a context manager.

    Raises:
        BagError: it is missing, not a rosbag2 folder, damaged or empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self.topics = {topic.name: topic for topic in map(_topic, self._reader.connections)}
        if not any(topic.count for topic in self.topics.values()):
            self.close()
            raise BagError(f'bag {self.path} holds no messages')

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Messages of these topics in the order of their recording.

        Raises:
            BagError: the file is damaged.
        """
        chosen = [c for c in self._reader.connections if c.topic in topics]
        try:
            for connection, time, data in self._reader.messages(connections=chosen):
                yield Message(connection.topic, time, bytes(data))
        except Exception as error:  # the storage libraries raise whatever they like
            raise BagError(f'bag {self.path} is damaged: {_one_line(error)}') from error

    def deserialize(self, message: Message) -> Any:
        """The message as an object with the fields of its type."""
        return self._reader.deserialize(message.data, self.topics[message.topic].type)

    def rate(self, topic: str) -> float:
        """Mean frequency of a topic, Hz; 0 with fewer than two messages."""
        times = [message.time for message in self.messages([topic])]
        return (len(times) - 1) * 1e9 / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def image_topic(self, wanted: str | None = None) -> Topic:
        """The topic of camera images: the wanted one, or the one that looks most like it.

        Raises:
            BagError: the wanted topic is not there, or no topic holds images; lists what is.
        """
        images = {name: topic for name, topic in self.topics.items()
                  if topic.type in (RAW, COMPRESSED) and topic.count}
        if wanted is not None and wanted in images:
            return images[wanted]
        if wanted is not None or not images:
            what = f'no images on {wanted}' if wanted else 'no image topic'
            raise BagError(f'bag {self.path} has {what}; it has {self._listing()}')
        return max(images.values(), key=lambda topic: (_colour_likeness(topic.name), topic.count))

    def camera_info_topic(self, image: Topic) -> Topic | None:
        """The image's sibling `camera_info`, or the only one there is."""
        folder = image.name.removesuffix('/compressed').rsplit('/', 1)[0]
        infos = [topic for topic in self.topics.values()
                 if topic.type == CAMERA_INFO and topic.count]
        siblings = [topic for topic in infos if topic.name == f'{folder}/camera_info']
        return next(iter(siblings or (infos if len(infos) == 1 else [])), None)

    def _listing(self) -> str:
        return ', '.join(f'{topic.name} ({topic.type})' for topic in self.topics.values())


def _open(path: Path) -> Any:
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise BagError('reading bags needs the package rosbags: pip install rosbags') from error
    if not (path / 'metadata.yaml').is_file():
        raise BagError(f'{path} is not a rosbag2 folder: it has no metadata.yaml')
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:  # the storage libraries raise whatever they like
        raise BagError(f'bag {path} cannot be opened: {_one_line(error)}') from error
    return reader


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _topic(connection: Any) -> Topic:
    profiles = getattr(connection.ext, 'offered_qos_profiles', None) or []
    reliable = transient_local = None
    if profiles and not isinstance(profiles, str):
        reliable = profiles[0].reliability.name != 'BEST_EFFORT'
        transient_local = profiles[0].durability.name == 'TRANSIENT_LOCAL'
    return Topic(connection.topic, connection.msgtype, connection.msgcount, reliable,
                 transient_local)


def _colour_likeness(name: str) -> int:
    """Cameras' names for their colour images win, depth and infrared images lose."""
    words = name.lower()
    return (any(word in words for word in ('rgb', 'color', 'colour', 'image_raw'))
            - 2 * any(word in words for word in ('depth', 'infra', '/ir', 'disparity', 'theora')))
