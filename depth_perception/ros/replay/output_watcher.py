# SPDX-License-Identifier: Apache-2.0
"""The node that watches a depth node's outputs for `replay_check`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import Empty

from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.topics import CHECK, DEPTH, INFO, POINTS, PREVIEW, READY, SCAN
from depth_perception.ros.replay.discovery import Discovery
from depth_perception.ros.replay.frame_counters import FrameCounters
from depth_perception.ros.replay.record import TF_STATIC, ReplayRecord

#: The watched outputs: all except the compressed ones, which are made from the same depth, and the
#: confidence, which not every network gives, and which costs time.
OUTPUTS = {DEPTH: Image, INFO: CameraInfo, POINTS: PointCloud2, PREVIEW: Image, SCAN: LaserScan}
#: Seconds without a message after which the outputs of the last image count as complete.
SETTLED = 1.0
#: Seconds that the node has for the last image after the end of the replay.
PATIENCE = 60.0


class OutputWatcher(Node):
    """Node that counts the outputs of the depth node by stamp, and records them if asked to."""

    def __init__(self, images: str, record: ReplayRecord | None) -> None:
        super().__init__(CHECK, start_parameter_services=False)
        self.stamps: dict[str, Counter[int]] = {topic: Counter() for topic in OUTPUTS}
        self.counters = FrameCounters(self, self.resolve_topic_name(DEPTH))
        self._images = self.resolve_topic_name(images)
        self._record = record
        self._replay_seen = False
        self._published_before: Counter[str] | None = None
        self._last_sign = time.monotonic()
        for topic, kind in OUTPUTS.items():
            self.create_subscription(
                kind, topic, self._recorder(topic, kind), QoSProfile(depth=100), raw=True
            )
        if record is not None:
            self._keep_static_transforms(record)
        self._discovery = Discovery(self, self.resolve_topic_name(DEPTH))
        self._ready: Publisher | None = None

    def watch(self, last: int) -> bool:
        """Spin until the replay is over and the node has finished the image with the last stamp.

        Give up after PATIENCE seconds without any output.

        Returns:
            Whether the node has finished.
        """
        while self.context.ok():
            rclpy.spin_once(self, timeout_sec=0.1)
            if self._ready is None and self._discovery.complete():
                self._ready = self.create_publisher(Empty, READY, 1)
            self._note_beginning()
            if self._waits_for_replay():
                self._last_sign = time.monotonic()
            quiet = time.monotonic() - self._last_sign
            # Without depth the image was dropped, which the diagnostics show.
            if quiet > SETTLED and (
                self.stamps[DEPTH][last] or self.counters.quiet_for(self._last_sign) > SETTLED
            ):
                return True
            if quiet > PATIENCE:
                return False
        return False

    def missed(self) -> dict[str, int]:
        """Return the number of published outputs that did not arrive here, by topic, if known."""
        if self._published_before is None:
            return {}
        published = self.counters.published - self._published_before
        missed = published - Counter(
            {topic: stamps.total() for topic, stamps in self.stamps.items()}
        )
        return {topic: count for topic, count in missed.items() if topic in OUTPUTS}

    def _note_beginning(self) -> None:
        """Store what the node has published before the first output arrives here."""
        if (
            self._published_before is None
            and self.counters.heard_at is not None
            and not any(self.stamps.values())
        ):
            self._published_before = self.counters.published

    def _waits_for_replay(self) -> bool:
        """Return whether the replay has not started, or still publishes images."""
        there = self.count_publishers(self._images) > 0
        self._replay_seen = self._replay_seen or there or any(self.stamps.values())
        return there or not self._replay_seen

    def _recorder(self, topic: str, kind: type) -> Callable[[bytes], None]:
        name, type_name = self.resolve_topic_name(topic), f'sensor_msgs/msg/{kind.__name__}'

        def record(data: bytes) -> None:
            stamp = serialized_stamp(data)
            self.stamps[topic][stamp] += 1
            self._last_sign = time.monotonic()
            if self._record is not None:
                self._record.output(name, type_name, stamp, data)

        return record

    def _keep_static_transforms(self, record: ReplayRecord) -> None:
        """Record the node's own static transform: the level frame of a tilted camera."""
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return  # without tf2_msgs the node does not publish it either
        self.create_subscription(
            TFMessage,
            TF_STATIC,
            record.static_transforms,
            QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            raw=True,
        )
