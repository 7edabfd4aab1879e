# SPDX-License-Identifier: Apache-2.0
"""Read images only while somebody needs them.

rclpy converts every image that arrives, and its camera_info, even if nobody subscribes to an
output. So after a while without need the node unsubscribes from both, as the lazy nodes of
image_transport do, and subscribes again as soon as an output has a subscriber. From a camera that
sends nothing it does not unsubscribe: this costs nothing, and diagnostics can tell of the silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

from depth_perception.ros.node.health import Health
from depth_perception.ros.node.inputs import Inputs

#: Seconds without need after which images are no longer read. Consumers that restart should not
#: have to wait, and diagnostics should have judged the images.
LINGER = 5.0
#: Seconds between two looks for a subscriber while no image is read. The middleware could report
#: one (event "matched"), but its seven event handlers would cost more while the node works.
LOOK = 0.1


class LazyImages:
    """Subscribe to images while they are needed; call all methods in the executor's thread.

    Args:
        node: the subscribing node.
        inputs: the inputs, which are subscribed.
        health: knows when images arrived.
        need: returns why no image is needed, or ''.

    Attributes:
        resting: why no image is read; '' while images are read.
        since: time of the last subscription, steady seconds.
    """

    def __init__(self, node: Node, inputs: Inputs, health: Health, need: Callable[[], str]) -> None:
        self._node = node
        self._inputs = inputs
        self._health = health
        self._need = need
        self._told = False
        self._timer: Timer | None = None
        self.resting = ''
        self.since = self._needed_at = time.monotonic()

    def check(self) -> None:
        """Subscribe or unsubscribe as needed."""
        why, now = self._need(), time.monotonic()
        if not why:
            self._needed_at = now
            if self.resting:
                self._wake()
        elif self.resting:
            self.resting = why
        elif now - self._needed_at > LINGER and self._health.image_within(LINGER):
            self._rest(why)

    def destroy(self) -> None:
        """Stop looking for subscribers."""
        timer, self._timer = self._timer, None
        if timer is not None:
            self._node.destroy_timer(timer)

    def _rest(self, why: str) -> None:
        self.resting = why
        self._inputs.suspend()
        if not self._told:
            self._told = True
            self._node.get_logger().info(f'{why}: no image is read until it is needed')
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(LOOK, self.check, clock=steady)

    def _wake(self) -> None:
        self.destroy()
        self.resting, self.since = '', time.monotonic()
        self._inputs.resume()
