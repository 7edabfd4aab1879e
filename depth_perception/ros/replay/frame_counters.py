# SPDX-License-Identifier: Apache-2.0
"""Read a depth node's frame counters from /diagnostics."""

from __future__ import annotations

import time
from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from depth_perception.ros.conversions.topics import diagnostics_name

RECEIVED, PROCESSED = 'received', 'processed'
#: Prefix of the counters of outputs.
PUBLISHED = 'published '
#: Counters of frames without depth, and their meaning.
LOSSES = {
    'bad': 'it is not a usable image',
    'failed': 'the network failed',
    'stale': 'it is older than max_age',
    'replaced': 'a newer one came first',
    'paused': 'the node is paused',
    'idle': 'nobody subscribes to the node',
}


class FrameCounters:
    """Subscriber to the diagnostics of the node that publishes a topic.

    That node publishes once a second, and resets its counters when time goes back.

    Args:
        node: the node that subscribes to /diagnostics; the caller spins it.
        depth: resolved topic of the depth images.
    """

    def __init__(self, node: Node, depth: str) -> None:
        self._node = node
        self._depth = depth
        self._before: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self.heard_at: float | None = None
        self.changed_at = 0.0
        self.error = ''
        self._subscription = node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, 10
        )

    @property
    def expected(self) -> bool:
        """Whether the node that publishes depth also publishes diagnostics."""
        return any(self._has_diagnostics(name, namespace) for namespace, name in self._nodes())

    @property
    def totals(self) -> Counter[str]:
        """Frames by counter, since this object was created or the node was activated."""
        return self._before + self._now

    @property
    def lost(self) -> Counter[str]:
        """Frames without depth, by the keys of LOSSES."""
        totals = self.totals
        return Counter({what: totals[what] for what in LOSSES if totals[what]})

    @property
    def published(self) -> Counter[str]:
        """Number of published messages by output."""
        return Counter(
            {
                what.removeprefix(PUBLISHED): count
                for what, count in self.totals.items()
                if what.startswith(PUBLISHED)
            }
        )

    @property
    def settled(self) -> bool:
        """Whether no frame was in progress at the node's last diagnostics."""
        done = self._now[PROCESSED] + sum(self._now[what] for what in LOSSES)
        return self.heard_at is not None and done >= self._now[RECEIVED]

    def quiet_for(self, since: float) -> float:
        """Return the seconds without change from a monotonic time to the last diagnostics."""
        if self.heard_at is None or not self.settled:
            return 0.0
        return self.heard_at - max(since, self.changed_at)

    def _nodes(self) -> set[tuple[str, str]]:
        return {
            (info.node_namespace, info.node_name)
            for info in self._node.get_publishers_info_by_topic(self._depth)
        }

    def _has_diagnostics(self, name: str, namespace: str) -> bool:
        try:
            topics = self._node.get_publisher_names_and_types_by_node(name, namespace)
        except RuntimeError:  # it has just gone
            return False
        return '/diagnostics' in dict(topics)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        names = {diagnostics_name(namespace, name) for namespace, name in self._nodes()}
        statuses = [status for status in message.status if status.name.partition(': ')[0] in names]
        if not statuses:
            return
        errors = [status.message for status in statuses if status.level == DiagnosticStatus.ERROR]
        self.error = errors[0] if errors else ''
        values = {value.key: value.value for status in statuses for value in status.values}
        counts = Counter(
            {
                what: int(value)
                for what, value in values.items()
                if _is_counter(what) and value.isdecimal()
            }
        )
        self.heard_at = time.monotonic()
        if counts != self._now:
            self.changed_at = self.heard_at
        if counts[RECEIVED] < self._now[RECEIVED]:
            self._before += self._now
        self._now = counts


def _is_counter(what: str) -> bool:
    return what in (RECEIVED, PROCESSED, *LOSSES) or what.startswith(PUBLISHED)
