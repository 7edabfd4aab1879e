# SPDX-License-Identifier: Apache-2.0
"""Inputs of the pipeline read from a recording: calibrations, TF and other sensors.

Each image uses the messages recorded before it. Transforms, and a calibration with the same stamp,
may be recorded slightly later, because the node waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from builtin_interfaces.msg import Time as Stamp
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo

from depth_perception.io.bag import Bag, BagError, Message
from depth_perception.io.bag_writer import serialized_rotation
from depth_perception.ros.conversions.stamps import nanoseconds, serialized_stamp
from depth_perception.ros.conversions.transforms import (
    TransformBuffer,
    TransformError,
    TransformPublisher,
)
from depth_perception.ros.node.anchor_inputs import AnchorInputs
from depth_perception.ros.node.calibrations import GRACE, Calibrations
from depth_perception.ros.node.scan_pose import PATIENCE
from depth_perception.ros.offline.arguments import NodeArguments

TF, TF_STATIC, TF_TYPE = '/tf', '/tf_static', 'tf2_msgs/msg/TFMessage'


class Ahead:
    """Read the messages of some topics in the order of recording, up to a given time."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages
        self._waiting: list[Message] = []

    def until(self, time: int) -> Iterator[Message]:
        """Remove and yield the messages up to this time (nanoseconds)."""
        while (message := self._next()) is not None and message.time <= time:
            self._waiting.pop(0)
            yield message

    def peek(self, time: int) -> Iterator[Message]:
        """Yield the messages up to this time (nanoseconds) without removing them."""
        at = 0
        while True:
            if at == len(self._waiting):
                message = next(self._messages, None)
                if message is None:
                    return
                self._waiting.append(message)
            if self._waiting[at].time > time:
                return
            yield self._waiting[at]
            at += 1

    def _next(self) -> Message | None:
        if not self._waiting:
            message = next(self._messages, None)
            if message is None:
                return None
            self._waiting.append(message)
        return self._waiting[0]


class BagCalibrations:
    """Feed camera_info to the calibrations.

    Args:
        bag: the recording.
        topic: the camera_info topic; None if the recording has none.
        cameras: the calibrations to feed.
    """

    def __init__(self, bag: Bag, topic: str | None, cameras: Calibrations) -> None:
        self._infos = Ahead(bag.messages([topic] if topic else []))
        self._cameras = cameras
        self._stamps: set[int] = set()

    def feed(self, image: Message) -> None:
        """Add the messages that the node would have received for this image."""
        for message in self._infos.until(image.time):
            self._take(message)
        stamp = serialized_stamp(image.data)
        if stamp in self._stamps:
            return
        soon = list(self._infos.peek(image.time + round(GRACE * 1e9)))
        own = [message for message in soon if serialized_stamp(message.data) == stamp]
        for message in own[:1] or ([] if self._cameras.has_info else soon[:1]):
            for each in self._infos.until(message.time):
                self._take(each)

    def _take(self, message: Message) -> None:
        self._stamps.add(serialized_stamp(message.data))
        self._cameras.update(deserialize_message(message.data, CameraInfo))


class BagTransforms(TransformBuffer):
    """Look up the transforms of a recording.

    Args:
        bag: the recording.
        purpose: the parameter that needs transforms.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, bag: Bag, purpose: str) -> None:
        super().__init__(purpose)
        from tf2_msgs.msg import TFMessage  # tf2_ros needs it too

        self._kind = TFMessage
        for message in bag.messages([TF_STATIC]):  # late subscribers get all of them
            for transform in self._transforms(message):
                self._buffer.set_transform_static(transform, 'bag')
        self._moving = Ahead(bag.messages([TF]))

    def feed(self, image: Message) -> None:
        """Add the messages that the node would have received for this image."""
        for message in self._moving.until(image.time + round(PATIENCE * 1e9)):
            for transform in self._transforms(message):
                self._buffer.set_transform(transform, 'bag')

    def at(
        self, target: str, source: str, stamp: Stamp, patience: float
    ) -> TransformStamped | None:
        """Look up a transform like the node's listener, but without waiting."""
        return super().at(target, source, stamp, 0.0)

    def _transforms(self, message: Message) -> list[TransformStamped]:
        return list(deserialize_message(message.data, self._kind).transforms)


class LevelFrames(TransformPublisher):
    """Write the frame of a scan to the bag instead of publishing it; write a static frame once.

    Args:
        write: called with topic, type and serialized message.
        known: static transforms that are already written.
    """

    def __init__(self, write: Callable[[str, str, bytes], None], known: list[str]) -> None:
        self.known = known
        self._write = write
        #: Stamp of the current image.
        self.stamp = Stamp()

    def publish(self, parent: str, child: str, rotation: Any, moment: Stamp | None = None) -> None:
        """See `TransformPublisher.publish`."""
        key = f'{parent} {child} {tuple(rotation)}'
        if moment is None and key in self.known:
            return
        if moment is None:
            self.known.append(key)
        self._write(
            TF if moment else TF_STATIC,
            TF_TYPE,
            serialized_rotation(nanoseconds(moment or self.stamp), parent, child, rotation),
        )

    def destroy(self) -> None:
        """Do nothing: there is nothing to destroy."""


@dataclass
class _Sensor:
    """A recorded sensor topic, used in place of a subscription."""

    topic: str
    kind: type
    callback: Callable[[Any], None]
    publishers: int
    misfit: str = ''

    def adapt(self) -> None:
        """Do nothing: the topic does not change."""

    def destroy(self) -> None:
        """Do nothing: there is nothing to destroy."""


class BagAnchors(AnchorInputs):
    """The other sensors of a recording.

    Args:
        bag: the recording.
        names: the parameter `anchors`.
        listener: the TF listener if `base_frame` is set, otherwise None.
        arguments: the arguments of the node, with the remappings.

    Raises:
        AnchorTopicError: a topic is one of the node's own outputs.
        BagError: a topic is not in the bag, or has another type.
    """

    def __init__(
        self, bag: Bag, names: str, listener: BagTransforms | None, arguments: NodeArguments
    ) -> None:
        self._bag = bag
        self._own_transforms: BagTransforms | None = None
        self._sensors: dict[str, _Sensor] = {}
        super().__init__(cast(Node, arguments), names, listener)
        self._messages_ahead = Ahead(bag.messages(list(self._sensors)))

    def feed(self, image: Message) -> None:
        """Add the messages that the node would have received for this image."""
        for message in self._messages_ahead.until(image.time):
            sensor = self._sensors[message.topic]
            sensor.callback(deserialize_message(message.data, sensor.kind))
        if self._own_transforms is not None:
            self._own_transforms.feed(image)

    def _listen_to_tf(self) -> None:
        try:
            self._listener = self._own_listener = self._own_transforms = BagTransforms(
                self._bag, 'anchors'
            )
        except TransformError as error:
            self._no_tf = str(error)

    def _subscribe(
        self, name: str, kind: type, topic: str, callback: Callable[[Any], None]
    ) -> None:
        full = self._node.resolve_topic_name(topic)
        recorded = self._bag.topics.get(full)
        wanted = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
        if recorded is None or recorded.type != wanted:
            have = [known.name for known in self._bag.topics.values() if known.type == wanted]
            raise BagError(
                f'anchors needs {full} of type {wanted}, and the bag has '
                f'{", ".join(have) or "no topic of that type"}: -r {topic}:=TOPIC'
            )
        sensor = _Sensor(full, kind, callback, 1)
        self._sensors[full] = sensor
        self._subscriptions[name] = cast(Any, sensor)
