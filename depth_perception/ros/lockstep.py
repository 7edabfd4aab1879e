# SPDX-License-Identifier: Apache-2.0
"""A replay that keeps step with the node: the next image waits for the depth of the last one.

Every image is then processed, however slow the machine: the same outputs at every run.
"""
from __future__ import annotations

import time

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from depth_perception.ros.stamps import serialized_stamp

#: Seconds that one image may take; the first one on a slow machine needs many.
PATIENCE = 120.0


class LockstepError(RuntimeError):
    """The depth of an image did not come; the text says which."""


class Lockstep:
    """Waits for the depth of the image that was played last.

    Args:
        node: subscribes to the depth; is spun while waiting.
        images: topic of the played images.
        depth: topic of the depth images.
        patience: seconds to wait for one.
    """

    def __init__(self, node: Node, images: str, depth: str, patience: float = PATIENCE) -> None:
        self.images = images
        self._node = node
        self._patience = patience
        self._awaited: int | None = None
        self._subscription = node.create_subscription(Image, depth, self._on_depth, 10, raw=True)

    def has_publisher(self) -> bool:
        """Whether somebody publishes depth."""
        return self._node.count_publishers(self._subscription.topic_name) > 0

    def give_up(self, seconds: float) -> None:
        """Nobody published depth in that time.

        Raises:
            LockstepError: always.
        """
        raise LockstepError(f'nobody publishes {self._subscription.topic_name} after {seconds:g} s:'
                            f' is the node active?')

    def played(self, data: bytes) -> None:
        """A serialized image was published."""
        self._awaited = serialized_stamp(data)

    def wait(self) -> float:
        """Until the depth of the last image is there; the seconds that it took.

        Raises:
            LockstepError: the patience is over.
        """
        start = time.monotonic()
        while self._awaited is not None and self._node.context.ok():
            if time.monotonic() - start > self._patience:
                raise LockstepError(
                    f'no depth on {self._subscription.topic_name} within {self._patience:g} s for '
                    f'the image of {self._awaited / 1e9:.3f} s on {self.images}: see the log and '
                    f'/diagnostics of the node')
            rclpy.spin_once(self._node, timeout_sec=0.1)
        return time.monotonic() - start

    def _on_depth(self, data: bytes) -> None:
        if serialized_stamp(data) == self._awaited:
            self._awaited = None
