# SPDX-License-Identifier: Apache-2.0
"""Subscribers to all outputs and diagnostics with negligible cost."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.topics import DEPTH
from depth_perception.ros.node.publishers import TYPES

LEVELS = {
    DiagnosticStatus.OK: 'OK',
    DiagnosticStatus.WARN: 'WARN',
    DiagnosticStatus.ERROR: 'ERROR',
    DiagnosticStatus.STALE: 'STALE',
}


@dataclass
class Heard:
    """Messages since the last query.

    Attributes:
        counts: messages by topic.
        latencies_of: seconds from stamp to arrival, by topic, in order of arrival.
    """

    counts: Counter[str] = field(default_factory=Counter)
    latencies_of: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def latencies(self) -> list[float]:
        """Latencies of the depth images."""
        return self.latencies_of[DEPTH]


class Listener:
    """Subscribe to every output; read only the stamps of the serialized messages.

    `topics` may also name a raw image.

    Attributes:
        last: monotonic time of the last message in seconds, by topic.
        diagnostics: number of occurrences of each text, with digits replaced by #.
        values: newest diagnostic values, by key.
    """

    def __init__(
        self, namespace: str = '', name: str = 'listener', topics: Collection[str] = tuple(TYPES)
    ) -> None:
        self._context = Context()
        self._context.init()
        self.node = Node(
            name, context=self._context, namespace=namespace, start_parameter_services=False
        )
        self.last: dict[str, float] = {}
        self.diagnostics: Counter[str] = Counter()
        self.values: dict[str, str] = {}
        self._heard = Heard()
        self._lock = threading.Lock()
        for topic in topics:
            self.node.create_subscription(
                TYPES.get(topic, Image),
                topic,
                lambda data, topic=topic: self._on_output(topic, data),
                QoSProfile(depth=10),
                raw=True,
            )
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, QoSProfile(depth=10)
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def is_matched(self) -> bool:
        """True if every output has a publisher."""
        return all(self.node.count_publishers(topic) for topic in TYPES)

    def take(self) -> Heard:
        """Return what arrived since the last call."""
        with self._lock:
            heard, self._heard = self._heard, Heard()
        return heard

    def close(self) -> None:
        """Unsubscribe."""
        self._executor.shutdown()
        self._thread.join(10)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_output(self, topic: str, data: bytes) -> None:
        with self._lock:
            self._heard.counts[topic] += 1
            self.last[topic] = time.monotonic()
            self._heard.latencies_of[topic].append(time.time() - serialized_stamp(data) / 1e9)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._lock:
            self.last['/diagnostics'] = time.monotonic()
            for status in message.status:
                text = re.sub(r'\d+(\.\d+)?', '#', status.message)
                self.diagnostics[f'{status.name}: {LEVELS[status.level]} {text}'] += 1
                self.values.update({value.key: value.value for value in status.values})
