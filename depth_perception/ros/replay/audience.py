# SPDX-License-Identifier: Apache-2.0
"""Wait for subscribers and nodes before a replay starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import rclpy
from rclpy.node import Node

#: Seconds without a new subscriber after which all are assumed to be there.
SETTLED = 1.0
#: Seconds until the first log message about what is missing, and between later ones.
FIRST_MESSAGE, NEXT_MESSAGE = 5.0, 30.0


class Audience:
    """Wait until the topics of a replay have subscribers.

    Args:
        node: the player's node; is spun while waiting.
        publishers: publishers by topic.
        each: topics that each need a subscriber.
        one_of: topics of which one needs a subscriber, if `each` is empty.
        nodes: full names of nodes that must be there.
        more: returns descriptions of what else is missing.
        answers: topics of other nodes, which must have no new publishers or subscribers for
            SETTLED seconds.
    """

    def __init__(
        self,
        node: Node,
        publishers: Mapping[str, Any],
        each: Collection[str],
        one_of: Collection[str],
        nodes: Collection[str],
        more: Callable[[], list[str]],
        answers: Collection[str] = (),
    ) -> None:
        self._node = node
        self._publishers = publishers
        self._each = each
        self._one_of = one_of
        self._nodes = nodes
        self._more = more
        self._answers = answers

    def wait(self, seconds: float) -> list[str]:
        """Wait until all are there and none is new for SETTLED seconds, or until the timeout.

        Returns:
            Descriptions of what is missing; empty if nothing is, or if ROS was shut down.
        """
        start = changed = time.monotonic()
        next_message, counts, missing = start + FIRST_MESSAGE, None, self.missing()
        while time.monotonic() - start < seconds and self._node.context.ok():
            missing = self.missing()
            now = self._counts()
            if now != counts:
                counts, changed = now, time.monotonic()
            if not missing and time.monotonic() - changed > SETTLED:
                break
            if missing and time.monotonic() > next_message:
                next_message = time.monotonic() + NEXT_MESSAGE
                self._node.get_logger().info(
                    f'waiting for {", ".join(missing)}; for at most '
                    f'{seconds - (time.monotonic() - start):.0f} s more'
                )
            rclpy.spin_once(self._node, timeout_sec=0.05)
        return missing if self._node.context.ok() else []

    def missing(self) -> list[str]:
        """Return descriptions of what is missing now."""
        unsubscribed = [topic for topic in self._each if not self._has_subscriber(topic)]
        found = [f'a subscriber of {topic}' for topic in unsubscribed]
        if not self._each and self._one_of and not any(map(self._has_subscriber, self._one_of)):
            found.append(f'a subscriber of {" or ".join(self._one_of)}')
        there = {
            f'{namespace.rstrip("/")}/{name}'
            for name, namespace in self._node.get_node_names_and_namespaces()
        }
        found += [f'the node {name}' for name in self._nodes if name not in there]
        return found + self._more()

    def _has_subscriber(self, topic: str) -> bool:
        return bool(self._publishers[topic].get_subscription_count() > 0)

    def _counts(self) -> list[int]:
        return [publisher.get_subscription_count() for publisher in self._publishers.values()] + [
            count(topic)
            for topic in self._answers
            for count in (self._node.count_publishers, self._node.count_subscribers)
        ]
