# SPDX-License-Identifier: Apache-2.0
"""Write serialized messages into a rosbag2 folder (mcap) without ROS."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from depth_perception.io.bag import BagError


class BagWriter:
    """A new bag; a context manager that completes the bag at its end.

    Raises:
        BagError: the folder exists already or cannot be created.
    """

    def __init__(self, path: str | Path) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.rosbag2.errors import WriterError

        self._store = _types()
        self._topics: dict[str, Any] = {}
        try:
            self._writer = Writer(Path(path), version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f'bag {path} cannot be written: {error}') from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, topic: str, kind: str, time: int, data: bytes) -> None:
        """Write a serialized message (CDR) of a type such as sensor_msgs/msg/Image; time in ns."""
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(
                topic,
                kind,
                typestore=self._store,
                offered_qos_profiles=[_latched()] if topic.endswith('/tf_static') else [],
            )
        self._writer.write(self._topics[topic], time, data)


def canonical(data: bytes, kind: str) -> bytes:
    """The same serialized message with zeros between fields, where ROS leaves what was there."""
    store = _types()
    return bytes(store.serialize_cdr(store.deserialize_cdr(data, kind), kind))


def serialized_rotation(stamp: int, parent: str, child: str, rotation: Sequence[float]) -> bytes:
    """A tf2_msgs/msg/TFMessage, which ROS need not have: a frame at its parent's origin.

    Args:
        stamp: nanoseconds.
        parent, child: names of the frames.
        rotation: the child's pose there, (x, y, z, w).
    """
    store = _types()
    of = store.types
    header = of['std_msgs/msg/Header'](
        stamp=of['builtin_interfaces/msg/Time'](*divmod(stamp, 10**9)), frame_id=parent
    )
    transform = of['geometry_msgs/msg/Transform'](
        translation=of['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0),
        rotation=of['geometry_msgs/msg/Quaternion'](*rotation),
    )
    stamped = of['geometry_msgs/msg/TransformStamped'](
        header=header, child_frame_id=child, transform=transform
    )
    message = of['tf2_msgs/msg/TFMessage'](transforms=[stamped])
    return bytes(store.serialize_cdr(message, 'tf2_msgs/msg/TFMessage'))


@functools.cache
def _types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def _latched() -> Any:
    """Return the transient-local QoS of static transforms, also for late subscribers."""
    from rosbags import interfaces as rosbags

    unlimited = rosbags.QosTime(2147483647, 4294967295)
    return rosbags.Qos(
        rosbags.QosHistory.KEEP_LAST,
        100,
        rosbags.QosReliability.RELIABLE,
        rosbags.QosDurability.TRANSIENT_LOCAL,
        unlimited,
        unlimited,
        rosbags.QosLiveliness.AUTOMATIC,
        unlimited,
        False,
    )
