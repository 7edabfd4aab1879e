# SPDX-License-Identifier: Apache-2.0
"""What the node needs of TF: the newest transform between two frames, and a static one of its own.

tf2_ros and tf2_msgs are imported here and only when they are used: the node runs without them.
"""
from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import Quaternion, TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time


class TransformError(RuntimeError):
    """A transform that cannot be had; the text says why."""


class TransformListener:
    """Hears /tf and /tf_static in the node's executor.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, node: Node) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise TransformError(
                f'base_frame needs tf2_ros (ros-$ROS_DISTRO-tf2-ros-py): {error}') from error
        self._failure = tf2_ros.TransformException
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

    def clear(self) -> None:
        """Forget transforms that change, as after a jump back in time; static ones stay."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Hear no more."""
        self._listener.unregister()


class StaticTransformPublisher:
    """Publishes one rotation on /tf_static, and again when it changes.

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
        self._publisher = node.create_publisher(
            TFMessage, '/tf_static',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def publish(self, parent: str, child: str, rotation: Sequence[float]) -> None:
        """The child frame has the parent's origin; rotation (x, y, z, w) is its pose there."""
        x, y, z, w = rotation
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp = self._node.get_clock().now().to_msg()
        transform.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
        self._publisher.publish(self._message(transforms=[transform]))

    def destroy(self) -> None:
        """Take the topic down."""
        self._node.destroy_publisher(self._publisher)
