# SPDX-License-Identifier: Apache-2.0
"""When the publishers of a topic know a node's subscriptions."""
from __future__ import annotations

import time

from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

#: Seconds after which a publisher without parameter services is taken to know them.
SILENT = 10.0


class Discovery:
    """Finds out when the publishers of a topic know the subscriptions that a node has now.

    What a volatile publisher sends before it has discovered a subscription never arrives, and the
    subscriber cannot see that: `count_publishers` tells its own side alone. But a participant
    announces its endpoints reliably and in order, so a node that answers a service call has
    discovered everything that was made or destroyed before the client of that call.

    Args:
        node: has made its subscriptions; is spun by others.
        topic: of the publishers, resolved.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._since = time.monotonic()
        self._clients: dict[str, Client] = {}
        self._answers: dict[str, Future] = {}

    def complete(self) -> bool:
        """Whether there is a publisher and the node of each has answered.

        One whose parameter services do not come within SILENT seconds counts as well.
        """
        names = {f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                 for info in self._node.get_publishers_info_by_topic(self._topic)}
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
