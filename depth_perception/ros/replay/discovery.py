# SPDX-License-Identifier: Apache-2.0
"""Find out when the publishers of a topic have discovered a node's subscriptions."""

from __future__ import annotations

import time

from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

#: Seconds after which a publisher without parameter services counts as ready.
SILENT = 10.0


class Discovery:
    """Find out when the publishers of a topic have discovered a node's current subscriptions.

    Messages that a volatile publisher sends before it has discovered a subscription are lost, and
    the subscriber cannot detect this: `count_publishers` shows only its own side. But a participant
    announces its endpoints reliably and in order. So a node that answers a service call has
    discovered all endpoints that were created or destroyed before the client of that call.

    Args:
        node: the node with the subscriptions; the caller spins it.
        topic: resolved topic of the publishers.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._since = time.monotonic()
        self._clients: dict[str, Client] = {}
        self._answers: dict[str, Future] = {}

    def complete(self) -> bool:
        """Return whether there are publishers and all their nodes have answered.

        A node without parameter services counts as ready after SILENT seconds.
        """
        names = {
            f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            for info in self._node.get_publishers_info_by_topic(self._topic)
        }
        if not names:
            self._since = time.monotonic()
            return False
        answered = [self._has_answered(name) for name in names]
        return all(answered) or time.monotonic() - self._since > SILENT

    def _has_answered(self, name: str) -> bool:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(GetParameters, f'{name}/get_parameters')
        client = self._clients[name]
        if name not in self._answers and client.service_is_ready():
            self._answers[name] = client.call_async(GetParameters.Request())
        return name in self._answers and bool(self._answers[name].done())
