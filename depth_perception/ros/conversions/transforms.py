# SPDX-License-Identifier: Apache-2.0
"""Look up transforms between frames at a given time, and publish the node's own transform.

tf2_ros and tf2_msgs are imported only here and only when used: the node also runs without them.
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

from depth_perception.extras import ros_remedy

#: Seconds between two lookups while waiting for a transform.
POLL = 0.005


class TransformError(RuntimeError):
    """A transform is not available; the text says why."""


class TransformBuffer:
    """Transforms by frames and time, whatever fills it.

    Args:
        purpose: the parameter that needs TF, for the error.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, purpose: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise TransformError(f'{purpose} needs tf2_ros: {ros_remedy("tf2_ros")}') from error
        self._failure = tf2_ros.TransformException
        self._too_late_or_early = tf2_ros.ExtrapolationException
        self._buffer = tf2_ros.Buffer()

    def latest(self, target: str, source: str) -> TransformStamped:
        """Return the newest transform from source to target without waiting.

        Static transforms have stamp 0.

        Raises:
            TransformError: there is no transform.
        """
        try:
            # lookup_transform would wait for a missing transform.
            return self._buffer.lookup_transform_core(target, source, Time())
        except self._failure as error:
            raise TransformError(f'no transform from {source} to {target}: {error}') from error

    def at(
        self, target: str, source: str, stamp: Stamp, patience: float
    ) -> TransformStamped | None:
        """Return the transform from source to target at a time, or None if TF lacks that time.

        Waits for at most `patience` seconds; must not be called in the executor's thread.

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
        """Forget all transforms except static ones, for example after a jump back in time."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Release what fills it."""


class TransformListener(TransformBuffer):
    """Listener of /tf and /tf_static in the node's executor.

    Args:
        node: the node that subscribes.
        purpose: the parameter that needs TF, for the error.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, purpose: str = 'base_frame') -> None:
        super().__init__(purpose)
        import tf2_ros

        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._listener.unregister()


class TransformPublisher:
    """Publisher of one rotation: on /tf_static whenever it changes, or with a stamp on /tf.

    tf2_ros.StaticTransformBroadcaster is not used, because it keeps repeating the first transform
    of a frame.

    Raises:
        TransformError: tf2_msgs is not installed.
    """

    def __init__(self, node: Node) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            raise TransformError(f'tf2_msgs is not installed: {ros_remedy("tf2_msgs")}') from error
        self._node = node
        self._message = TFMessage
        self._publishers: dict[str, Publisher] = {}

    def publish(
        self, parent: str, child: str, rotation: Sequence[float], moment: Stamp | None = None
    ) -> None:
        """Publish a transform without translation.

        Args:
            parent: the parent frame.
            child: the child frame.
            rotation: orientation (x, y, z, w) of the child frame in the parent frame.
            moment: stamp for /tf; None publishes on /tf_static.
        """
        x, y, z, w = rotation
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp = moment or self._node.get_clock().now().to_msg()
        transform.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
        topic = '/tf' if moment else '/tf_static'
        if topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(
                self._message, topic, _moving() if moment else _static()
            )
        self._publishers[topic].publish(self._message(transforms=[transform]))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)


def _static() -> QoSProfile:
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _moving() -> QoSProfile:
    return QoSProfile(depth=100)  # as in tf2_ros
