# SPDX-License-Identifier: Apache-2.0
"""Write serialized messages into a rosbag2 folder (mcap) without ROS."""
from __future__ import annotations

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
        from rosbags.typesys import Stores, get_typestore

        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._topics: dict[str, Any] = {}
        try:
            self._writer = Writer(Path(path), version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f'bag {path} cannot be written: {error}') from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._writer.close()

    def write(self, topic: str, kind: str, time: int, data: bytes) -> None:
        """Write a serialized message (CDR) of a type such as sensor_msgs/msg/Image; time in ns."""
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store,
                offered_qos_profiles=[_latched()] if topic.endswith('/tf_static') else [])
        self._writer.write(self._topics[topic], time, data)


def _latched() -> Any:
    """Return the transient-local QoS of static transforms, also for late subscribers."""
    from rosbags import interfaces as rosbags

    unlimited = rosbags.QosTime(2147483647, 4294967295)
    return rosbags.Qos(
        rosbags.QosHistory.KEEP_LAST, 100, rosbags.QosReliability.RELIABLE,
        rosbags.QosDurability.TRANSIENT_LOCAL, unlimited, unlimited,
        rosbags.QosLiveliness.AUTOMATIC, unlimited, False)
