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

#: What is watched: the outputs but for the compressed ones, which are made of the same depth.
OUTPUTS = {DEPTH: Image, INFO: CameraInfo, POINTS: PointCloud2, PREVIEW: Image, SCAN: LaserScan}
#: Seconds without a message after which the outputs of the last image are taken to be complete.
SETTLED = 1.0
#: Seconds that the node has for the last image after the replay's end.
PATIENCE = 60.0


class OutputWatcher(Node):
    """Counts the node's outputs by stamp, and keeps them if there is a record."""

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
                kind, topic, self._recorder(topic, kind), QoSProfile(depth=100), raw=True)
        if record is not None:
            self._keep_static_transforms(record)
        self._discovery = Discovery(self, self.resolve_topic_name(DEPTH))
        self._ready: Publisher | None = None

    def watch(self, last: int) -> bool:
        """Spin until the replay is over and the node has done with the image of the last stamp.

        The node has PATIENCE for it after the last sign of life.

        Returns:
            Whether it has.
        """
        while self.context.ok():
            rclpy.spin_once(self, timeout_sec=0.1)
            if self._ready is None and self._discovery.complete():
                self._ready = self.create_publisher(Empty, READY, 1)
            self._note_beginning()
            if self._waits_for_replay():
                self._last_sign = time.monotonic()
            quiet = time.monotonic() - self._last_sign
            # An image without depth was dropped; that the diagnostics tell.
            if quiet > SETTLED and (self.stamps[DEPTH][last]
                                    or self.counters.quiet_for(self._last_sign) > SETTLED):
                return True
            if quiet > PATIENCE:
                return False
        return False

    def missed(self) -> dict[str, int]:
        """Outputs that were published and did not arrive here, by topic, as far as is known."""
        if self._published_before is None:
            return {}
        published = self.counters.published - self._published_before
        missed = published - Counter({topic: stamps.total()
                                      for topic, stamps in self.stamps.items()})
        return {topic: count for topic, count in missed.items() if topic in OUTPUTS}

    def _note_beginning(self) -> None:
        """What the node has published before the first output that was heard."""
        if self._published_before is None and self.counters.heard_at is not None \
                and not any(self.stamps.values()):
            self._published_before = self.counters.published

    def _waits_for_replay(self) -> bool:
        """Whether it has not begun or is not over: it publishes images."""
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
        """The node's own: the level frame of a tilted camera."""
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return  # without it the node publishes none either
        self.create_subscription(
            TFMessage, TF_STATIC, record.static_transforms,
            QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL), raw=True)
