# SPDX-License-Identifier: Apache-2.0
"""What the node needs of TF: a transform between two frames at a time, and one of its own.

tf2_ros and tf2_msgs are imported here and only when they are used: the node runs without them.
"""
from __future__ import annotations

import time
from collections.abc import Sequence

from builtin_interfaces.msg import Time as Stamp
from geometry_msgs.msg import Quaternion, TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

#: Seconds between two looks for a transform that is waited for.
POLL = 0.005


class TransformError(RuntimeError):
    """A transform that cannot be had; the text says why."""


class TransformListener:
    """Hears /tf and /tf_static in the node's executor.

    Args:
        node: whose executor that is.
        purpose: the parameter for which it is needed.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, purpose: str = 'base_frame') -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise TransformError(
                f'{purpose} needs tf2_ros (ros-$ROS_DISTRO-tf2-ros-py): {error}') from error
        self._failure = tf2_ros.TransformException
        self._too_late_or_early = tf2_ros.ExtrapolationException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def latest(self, target: str, source: str) -> TransformStamped:
        """From source to target, the newest that is known; never waits. Static ones have stamp 0.

        Raises:
            TransformError: there is none.
        """
        try:
            # lookup_transform would wait for a transform that is missing.
            return self._buffer.lookup_transform_core(target, source, Time())
        except self._failure as error:
            raise TransformError(f'no transform from {source} to {target}: {error}') from error

    def at(self, target: str, source: str, stamp: Stamp,
           patience: float) -> TransformStamped | None:
        """From source to target at a time; None where TF does not reach to that time.

        Waits for at most `patience` seconds, which is for another thread than the executor's.

        Raises:
            TransformError: the frames are not connected.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._buffer.lookup_transform_core(target, source, Time.from_msg(stamp))
            except self._too_late_or_early:
                if time.monotonic() >= deadline:
                    return None
            except self._failure as error:
                raise TransformError(f'no transform from {source} to {target}: {error}') from error
            time.sleep(POLL)

    def clear(self) -> None:
        """Forget transforms that change, as after a jump back in time; static ones stay."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Hear no more."""
        self._listener.unregister()


class TransformPublisher:
    """Publishes one rotation: on /tf_static, and again when it changes, or of a moment on /tf.

    Not tf2_ros.StaticTransformBroadcaster: it keeps repeating the first transform of a frame.

    Raises:
        TransformError: tf2_msgs is not installed.
    """

    def __init__(self, node: Node) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            raise TransformError(f'tf2_msgs is not installed: {error}') from error
        self._node = node
        self._message = TFMessage
        self._publishers: dict[str, Publisher] = {}

    def publish(self, parent: str, child: str, rotation: Sequence[float],
                moment: Stamp | None = None) -> None:
        """The child frame has the parent's origin; rotation (x, y, z, w) is its pose there.

        Args:
            parent, child, rotation: the transform.
            moment: when it holds; None is always.
        """
        x, y, z, w = rotation
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp = moment or self._node.get_clock().now().to_msg()
        transform.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
        topic = '/tf' if moment else '/tf_static'
        if topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(
                self._message, topic, _moving() if moment else _static())
        self._publishers[topic].publish(self._message(transforms=[transform]))

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)


def _static() -> QoSProfile:
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _moving() -> QoSProfile:
    return QoSProfile(depth=100)  # as tf2_ros has it
