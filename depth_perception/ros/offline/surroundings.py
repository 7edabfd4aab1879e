# SPDX-License-Identifier: Apache-2.0
"""What surrounds the pipeline in a node, from a recording: calibrations, TF and other sensors.

Each image finds what was recorded before it. A calibration with its stamp, and transforms, may
come a little after it, as the node waits for them.
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
    TransformError,
    TransformListener,
    TransformPublisher,
)
from depth_perception.ros.node.anchor_inputs import AnchorInputs
from depth_perception.ros.node.calibrations import GRACE, Calibrations
from depth_perception.ros.node.scan_pose import PATIENCE
from depth_perception.ros.offline.arguments import NodeArguments

TF, TF_STATIC, TF_TYPE = '/tf', '/tf_static', 'tf2_msgs/msg/TFMessage'


class Ahead:
    """The messages of some topics, in the order of their recording, up to a time."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages
        self._waiting: list[Message] = []

    def until(self, time: int) -> Iterator[Message]:
        """Take those not later than this time, nanoseconds."""
        while (message := self._next()) is not None and message.time <= time:
            self._waiting.pop(0)
            yield message

    def peek(self, time: int) -> Iterator[Message]:
        """Look at those not later than this time; they stay."""
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
    """Feeds camera_info to the calibrations.

    Args:
        bag: with it.
        topic: of it; None: the recording has none.
        cameras: take it in.
    """

    def __init__(self, bag: Bag, topic: str | None, cameras: Calibrations) -> None:
        self._infos = Ahead(bag.messages([topic] if topic else []))
        self._cameras = cameras
        self._stamps: set[int] = set()

    def feed(self, image: Message) -> None:
        """Give what the node would have for this image."""
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


class BagTransforms(TransformListener):
    """Has the transforms of a recording.

    Args:
        bag: with them.
        purpose: the parameter for which they are needed.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, bag: Bag, purpose: str) -> None:
        try:
            import tf2_ros
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            raise TransformError(
                f'{purpose} needs tf2_ros (ros-$ROS_DISTRO-tf2-ros-py): {error}'
            ) from error
        self._failure = tf2_ros.TransformException
        self._too_late_or_early = tf2_ros.ExtrapolationException
        self._buffer = tf2_ros.Buffer()
        self._kind = TFMessage
        for message in bag.messages([TF_STATIC]):  # whoever joins late gets all of them
            for transform in self._transforms(message):
                self._buffer.set_transform_static(transform, 'bag')
        self._moving = Ahead(bag.messages([TF]))

    def feed(self, image: Message) -> None:
        """Give what the node would have for this image."""
        for message in self._moving.until(image.time + round(PATIENCE * 1e9)):
            for transform in self._transforms(message):
                self._buffer.set_transform(transform, 'bag')

    def at(
        self, target: str, source: str, stamp: Stamp, patience: float
    ) -> TransformStamped | None:
        """As the node's, which never has to wait here."""
        return super().at(target, source, stamp, 0.0)

    def destroy(self) -> None:
        """Nothing is heard."""

    def _transforms(self, message: Message) -> list[TransformStamped]:
        return list(deserialize_message(message.data, self._kind).transforms)


class LevelFrames(TransformPublisher):
    """Writes the frame of a scan instead of publishing it; one that never changes once.

    Args:
        write: takes topic, type and serialized message.
        known: static transforms that are written already.
    """

    def __init__(self, write: Callable[[str, str, bytes], None], known: list[str]) -> None:
        self.known = known
        self._write = write
        #: Of the image in hand.
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
        """There is nothing to take down."""


@dataclass
class _Sensor:
    """A topic of a sensor, in place of a subscription."""

    topic: str
    kind: type
    callback: Callable[[Any], None]
    publishers: int
    misfit: str = ''

    def adapt(self) -> None:
        """Nothing changes."""

    def destroy(self) -> None:
        """There is nothing to take down."""


class BagAnchors(AnchorInputs):
    """The other sensors of a recording.

    Args:
        bag: with their topics.
        names: the parameter `anchors`.
        listener: has TF, with `base_frame`.
        arguments: with the remappings of the topics.

    Raises:
        AnchorTopicError: a topic is one of the outputs.
        BagError: a topic is not in the bag, or of another type.
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
        """Give what the node would have for this image."""
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
