# SPDX-License-Identifier: Apache-2.0
"""Who must be there before a replay begins."""
from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import rclpy
from rclpy.node import Node

#: Seconds without a new subscriber after which all are taken to be there.
SETTLED = 1.0
#: Seconds after which it is said what is waited for, and after which it is said again.
FIRST_WORD, NEXT_WORD = 5.0, 30.0


class Audience:
    """Waits until the topics of a replay have subscribers.

    Args:
        node: the player's; is spun while waiting.
        publishers: by topic.
        each: topics that need a subscriber each.
        one_of: topics of which one needs a subscriber, where `each` is empty.
        nodes: full names of nodes that must be there.
        more: what else is missing, in words.
        answers: topics between others; none of their ends may have come for SETTLED seconds.
    """

    def __init__(self, node: Node, publishers: Mapping[str, Any], each: Collection[str],
                 one_of: Collection[str], nodes: Collection[str],
                 more: Callable[[], list[str]], answers: Collection[str] = ()) -> None:
        self._node = node
        self._publishers = publishers
        self._each = each
        self._one_of = one_of
        self._nodes = nodes
        self._more = more
        self._answers = answers

    def wait(self, seconds: float) -> list[str]:
        """Until all are there and none has come for SETTLED seconds, or the time is over.

        Returns:
            What is missing, in words; empty where nothing is, or where ROS was shut down.
        """
        start = changed = time.monotonic()
        word, counts, missing = start + FIRST_WORD, None, self.missing()
        while time.monotonic() - start < seconds and self._node.context.ok():
            missing = self.missing()
            now = self._counts()
            if now != counts:
                counts, changed = now, time.monotonic()
            if not missing and time.monotonic() - changed > SETTLED:
                break
            if missing and time.monotonic() > word:
                word = time.monotonic() + NEXT_WORD
                self._node.get_logger().info(
                    f'waiting for {", ".join(missing)}; for at most '
                    f'{seconds - (time.monotonic() - start):.0f} s more')
            rclpy.spin_once(self._node, timeout_sec=0.05)
        return missing if self._node.context.ok() else []

    def missing(self) -> list[str]:
        """What is missing now, in words."""
        silent = [topic for topic in self._each if not self._heard(topic)]
        words = [f'a subscriber of {topic}' for topic in silent]
        if not self._each and self._one_of and not any(map(self._heard, self._one_of)):
            words.append(f'a subscriber of {" or ".join(self._one_of)}')
        there = {f'{namespace.rstrip("/")}/{name}'
                 for name, namespace in self._node.get_node_names_and_namespaces()}
        words += [f'the node {name}' for name in self._nodes if name not in there]
        return words + self._more()

    def _heard(self, topic: str) -> bool:
        return bool(self._publishers[topic].get_subscription_count() > 0)

    def _counts(self) -> list[int]:
        return [publisher.get_subscription_count() for publisher in self._publishers.values()] \
            + [count(topic) for topic in self._answers
               for count in (self._node.count_publishers, self._node.count_subscribers)]
