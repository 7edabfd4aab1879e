# SPDX-License-Identifier: Apache-2.0
"""Read a rosbag2 recording (sqlite3 or mcap) without ROS: a folder, or one of its files."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
#: File name endings of rosbag2's storage files.
STORAGES = ('.mcap', '.db3')
#: Suffix of image_transport's topics of depth images, also part of their field `format`.
COMPRESSED_DEPTH = 'compressedDepth'


class BagError(ValueError):
    """A bag cannot be used; the message names it and says what to do."""


@dataclass(frozen=True)
class Topic:
    """A recorded topic.

    Attributes:
        name: such as `/camera/image_raw`.
        type: such as `sensor_msgs/msg/Image`.
        count: number of recorded messages.
        reliable: QoS reliability; None if the bag does not store it.
        transient_local: QoS durability; None if the bag does not store it.
    """

    name: str
    type: str
    count: int
    reliable: bool | None = None
    transient_local: bool | None = None


@dataclass(frozen=True)
class Message:
    """A recorded message: serialized `data` (CDR) and the recording `time` in nanoseconds."""

    topic: str
    time: int
    data: bytes


class Bag:
    """A rosbag2 recording, opened for reading; a context manager.

    Args:
        path: a folder, with or without metadata.yaml, or a single .mcap or .db3 file.

    Raises:
        BagError: the path is missing, damaged, empty or not a recording.

    Examples:
        >>> from depth_perception.io.bag import Bag
        >>> with Bag('data/clip_bag') as bag:  # the recording in the repository
        ...     topic = bag.image_topic()
        ...     print(topic.name, topic.count, round(bag.rate(topic.name)))
        ...     first = bag.deserialize(next(bag.messages([topic.name])))
        /camera/image_raw/compressed 40 10
        >>> first.format
        'rgb8; jpeg compressed bgr8'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._files = _open(self.path)
        self.topics = _topics(connection for file in self._files for connection in file.connections)
        if not any(topic.count for topic in self.topics.values()):
            self.close()
            raise BagError(f'bag {self.path} holds no messages')

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Yield the messages of these topics in the order of recording.

        Raises:
            BagError: the file is damaged.
        """
        try:
            for connection, time, data in heapq.merge(
                *(_messages(file, topics) for file in self._files), key=lambda found: found[1]
            ):
                yield Message(connection.topic, time, bytes(data))
        except Exception as error:  # the storage libraries raise all kinds of errors
            raise BagError(f'bag {self.path} is damaged: {_one_line(error)}') from error

    def deserialize(self, message: Message) -> Any:
        """Return the message as an object with the fields of its type.

        Raises:
            BagError: the bytes are not a message of this type.
        """
        kind = self.topics[message.topic].type
        try:
            return _types().deserialize_cdr(message.data, kind)
        except Exception as error:  # a damaged message fails in many ways
            raise BagError(
                f'bag {self.path}: a message on {message.topic} is not a valid {kind}: '
                f'{_one_line(error)}'
            ) from error

    def rate(self, topic: str) -> float:
        """Return the mean frequency of a topic in Hz; 0 with fewer than two messages."""
        times = [message.time for message in self.messages([topic])]
        return (len(times) - 1) * 1e9 / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def image_topic(self, wanted: str | None = None) -> Topic:
        """Return the wanted topic, or the one most likely to have the colour camera's images.

        Raises:
            BagError: the wanted topic is missing, or no topic has camera images; the message lists
                the topics of the bag.
        """
        images = self.image_topics()
        if wanted is None and images:
            return images[0]
        found = next((topic for topic in images if topic.name == wanted), None)
        if found is not None:
            return found
        what = f'no camera images on {wanted}' if wanted else 'no topic of camera images'
        remarks = [
            f'{topic.name} holds depth'
            for topic in self.topics.values()
            if wanted in (None, topic.name) and self._is_depth(topic)
        ]
        remark = f' ({", ".join(remarks)})' if remarks else ''
        raise BagError(f'bag {self.path} has {what}{remark}; it has {self._listing()}')

    def image_topics(self) -> list[Topic]:
        """Return the topics of camera images, the most likely colour camera first."""
        images = [
            topic
            for topic in self.topics.values()
            if topic.type in (RAW, COMPRESSED) and topic.count and not self._is_depth(topic)
        ]
        return sorted(
            images, reverse=True, key=lambda topic: (_colour_likeness(topic.name), topic.count)
        )

    def _is_depth(self, topic: Topic) -> bool:
        """Return whether a topic has depth images, which cannot be used as camera images."""
        if topic.type not in (RAW, COMPRESSED) or not topic.count:
            return False
        if topic.name.endswith(f'/{COMPRESSED_DEPTH}'):
            return True
        try:
            first = self.deserialize(next(self.messages([topic.name])))
        except (BagError, StopIteration):
            return False  # the error is reported when the topic is read
        if topic.type == COMPRESSED:
            return COMPRESSED_DEPTH in first.format
        return first.encoding == '32FC1' or (
            first.encoding in ('16UC1', 'mono16') and _names_depth(topic.name)
        )

    def camera_info_topic(self, image: Topic) -> Topic | None:
        """Return the `camera_info` next to the image topic, or the only one in the bag."""
        folder = image.name.removesuffix('/compressed').rsplit('/', 1)[0]
        infos = [
            topic for topic in self.topics.values() if topic.type == CAMERA_INFO and topic.count
        ]
        siblings = [topic for topic in infos if topic.name == f'{folder}/camera_info']
        return next(iter(siblings or (infos if len(infos) == 1 else [])), None)

    def _listing(self) -> str:
        return ', '.join(f'{topic.name} ({topic.type})' for topic in self.topics.values())


def is_recording(path: Path) -> bool:
    """Return whether a path looks like a rosbag2 folder or one of its storage files."""
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or bool(_storage_files(path))
    return path.suffix in STORAGES


def _open(path: Path) -> list[Any]:
    """Open readers for the files of a bag.

    rosbags' AnyReader is not used: it parses the definitions of all types, and refuses the whole
    bag if it does not understand one of them.
    """
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise BagError('reading bags needs the package rosbags: pip install rosbags') from error
    files = _files(path)
    try:
        with ExitStack() as opened:
            readers = [_opened(Reader(file), opened) for file in files]
            if files == [path] and path.is_dir() and not readers[0].compression_mode:
                parts = [_opened(Reader(file), opened) for file in _storage_files(path)]
                readers, unused = (readers, parts) if _fits(readers[0], parts) else (parts, readers)
                for reader in unused:
                    reader.close()
            opened.pop_all()
            return readers
    except Exception as error:  # the storage libraries raise all kinds of errors
        raise BagError(
            f'bag {path} cannot be opened: {_one_line(error).rstrip(".")}. If its recorder was '
            f'killed, `ros2 bag reindex` or `mcap recover` may repair it'
        ) from error


def _opened(reader: Any, until: ExitStack) -> Any:
    reader.open()
    until.callback(reader.close)
    return reader


def _fits(described: Any, parts: Collection[Any]) -> bool:
    """Return whether metadata.yaml describes the topics, including QoS, as the files do.

    If it does not, rosbags silently finds no messages of a topic.
    """
    known = [
        (connection.topic, connection.msgtype, connection.ext)
        for part in parts
        for connection in part.connections
    ]
    return all(
        (connection.topic, connection.msgtype, connection.ext) in known
        for connection in described.connections
        if connection.msgcount
    )


def _messages(reader: Any, topics: Collection[str]) -> Iterator[Any]:
    chosen = [connection for connection in reader.connections if connection.topic in topics]
    # Without connections, rosbags would return the messages of all topics.
    return reader.messages(connections=chosen) if chosen else iter(())


@functools.cache
def _types() -> Any:
    """Return the message types of ROS 2; images and camera_info are equal in all releases."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def _files(path: Path) -> list[Path]:
    """Return what to open: a folder that has a metadata.yaml, otherwise the storage files."""
    if path.is_dir():
        files = [path] if (path / 'metadata.yaml').is_file() else _storage_files(path)
        if not files:
            raise BagError(
                f'{path} is not a rosbag2 folder: it has no metadata.yaml and no .mcap or .db3 file'
            )
        return files
    if not path.exists():
        raise BagError(f'there is no bag {path}')
    if path.suffix == '.bag':
        raise BagError(
            f'{path} is a bag of ROS 1: convert it first, with '
            f'rosbags-convert --src {path} --dst {path.with_suffix("")}'
        )
    if path.suffix not in STORAGES:
        raise BagError(f'{path} is not a bag: give a rosbag2 folder, or its .mcap or .db3 file')
    return [path]


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder; only one kind, so that converted copies are ignored."""
    kinds = (sorted(folder.glob(f'*{suffix}')) for suffix in STORAGES)
    return next(filter(None, kinds), [])


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _topics(connections: Iterable[Any]) -> dict[str, Topic]:
    """Return the topics by name; a recording in several files has a connection in each."""
    found: dict[str, Topic] = {}
    for topic in map(_topic, connections):
        before = found.get(topic.name)
        count = topic.count + (before.count if before else 0)
        found[topic.name] = replace(before or topic, count=count)
    return found


def _topic(connection: Any) -> Topic:
    profiles = getattr(connection.ext, 'offered_qos_profiles', None) or []
    reliable = transient_local = None
    if profiles and not isinstance(profiles, str):
        reliable = profiles[0].reliability.name != 'BEST_EFFORT'
        transient_local = profiles[0].durability.name == 'TRANSIENT_LOCAL'
    return Topic(
        connection.topic, connection.msgtype, connection.msgcount, reliable, transient_local
    )


def _colour_likeness(name: str) -> int:
    """Return a score that is high for names of colour topics, low for depth and infrared."""
    words = name.lower()
    return any(word in words for word in ('rgb', 'color', 'colour', 'image_raw')) - 2 * (
        _names_depth(name) or any(word in words for word in ('infra', '/ir', 'theora'))
    )


def _names_depth(name: str) -> bool:
    return any(word in name.lower() for word in ('depth', 'disparity'))
