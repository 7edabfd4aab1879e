# SPDX-License-Identifier: Apache-2.0
"""Replay in lockstep with the node: play the next image after the depth of the last one.

Every image is then processed, however slow the machine, so that each run has the same outputs. The
node's diagnostics report the images that it drops, and the replay goes on.
"""

from __future__ import annotations

import time
from collections import Counter

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.replay.frame_counters import LOSSES, RECEIVED, FrameCounters

#: Largest number of seconds for one image; the first one takes long on a slow machine.
PATIENCE = 120.0
#: Seconds without any change in the node after which an image counts as lost in transport.
LOST = 5.0
#: If this many images are dropped at the start, the rest is played without waiting.
HOPELESS = 5


class LockstepError(RuntimeError):
    """The depth of an image did not arrive; the text names the image."""


class Lockstep:
    """Wait for the depth of the image that was played last.

    Args:
        node: the node that subscribes to the depth; is spun while waiting.
        images: topic of the played images.
        depth: topic of the depth images.
        patience: seconds to wait for one depth image.
    """

    def __init__(self, node: Node, images: str, depth: str, patience: float = PATIENCE) -> None:
        self.images = images
        self.dropped = 0
        self._node = node
        self._patience = patience
        self._awaited: int | None = None
        self._played_at = 0.0
        self._played = self._answered = 0
        self._subscription = node.create_subscription(Image, depth, self._on_depth, 10, raw=True)
        self._counters = FrameCounters(node, self.depth)
        self._received_before: int | None = None
        self._lost_before: Counter[str] = Counter()

    @property
    def depth(self) -> str:
        """The topic of the depth images, resolved."""
        return str(self._subscription.topic_name)

    def missing(self) -> list[str]:
        """Return descriptions of what is still missing before the first image can be played."""
        if not self._node.count_publishers(self.depth):
            return [f'a publisher of {self.depth}']
        if self._counters.expected and self._counters.heard_at is None:
            return [f'/diagnostics of the node that publishes {self.depth}']
        return []

    def give_up(self, seconds: float) -> None:
        """Raise the error that nobody published depth in this time.

        Raises:
            LockstepError: always.
        """
        raise LockstepError(
            f'nobody publishes {self.depth} after {seconds:g} s: is the node active?'
        )

    def start(self) -> None:
        """Start a round of the bag."""
        first = self._played == 0
        # After a jump back in time the node resets its counters: later rounds can only detect a
        # dropped image by the time without change.
        has_counters = first and self._counters.heard_at is not None
        self._received_before = self._counters.totals[RECEIVED] if has_counters else None
        self._lost_before = self._counters.lost

    def played(self, data: bytes) -> None:
        """Register a serialized image that is about to be published."""
        self._awaited = serialized_stamp(data)
        self._played += 1
        self._played_at = time.monotonic()

    def wait(self) -> None:
        """Wait until the depth of the last image has arrived, or the node has dropped it.

        Raises:
            LockstepError: neither happened within `patience` seconds.
        """
        start = time.monotonic()
        while self._awaited is not None and self._node.context.ok():
            if not self._answered and self.dropped >= HOPELESS:
                self._awaited = None
            elif self._is_dropped():
                self._drop(self._awaited)
            elif time.monotonic() - start > self._patience:
                raise LockstepError(
                    f'no depth on {self.depth} within {self._patience:g} s for the image of '
                    f'{self._awaited / 1e9:.3f} s on {self.images}: see the log and /diagnostics '
                    'of the node'
                )
            else:
                rclpy.spin_once(self._node, timeout_sec=0.1)

    def _is_dropped(self) -> bool:
        if self._counters.quiet_for(self._played_at) > LOST:
            return True
        if self._received_before is None or not self._counters.settled:
            return False
        received = self._counters.totals[RECEIVED] - self._received_before
        return received >= self._played and bool(self._counters.lost - self._lost_before)

    def _drop(self, awaited: int) -> None:
        last = awaited / 1e9
        self._awaited = None
        self.dropped += 1
        lost = self._counters.lost
        reasons = [LOSSES[what] for what in lost - self._lost_before]
        reasons += [self._counters.error] if self._counters.error else []
        self._lost_before = lost
        self._node.get_logger().warning(
            f'no depth for the image of {last:.3f} s on {self.images}: '
            f'{"; ".join(reasons) or "the node did not receive it"}'
        )
        if not self._answered and self.dropped == HOPELESS:
            self._node.get_logger().error(
                f'the first {HOPELESS} images got no depth: the rest is played without waiting'
            )

    def _on_depth(self, data: bytes) -> None:
        self._answered += 1
        if serialized_stamp(data) == self._awaited:
            self._awaited = None
