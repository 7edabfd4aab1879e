# SPDX-License-Identifier: Apache-2.0
"""The node that watches a depth node's outputs for `replay_check`."""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from depth_perception.bag_writer import BagWriter
from depth_perception.ros.stamps import serialized_stamp
from depth_perception.ros.topics import DEPTH, INFO, POINTS, PREVIEW, SCAN

#: What is watched; publishers.TYPES is the same, but its module imports torch.
OUTPUTS = {DEPTH: Image, INFO: CameraInfo, POINTS: PointCloud2, PREVIEW: Image, SCAN: LaserScan}
#: Seconds without a message after which the outputs of the last image are taken to be complete.
SETTLED = 1.0
#: Seconds that the node has for the last image after the replay's end.
PATIENCE = 60.0


class OutputWatcher(Node):
    """Counts the node's outputs by stamp, and writes them into a bag if one is given."""

    def __init__(self, images: str, writer: BagWriter | None) -> None:
        super().__init__('replay_check', start_parameter_services=False)
        self.stamps: dict[str, Counter[int]] = {topic: Counter() for topic in OUTPUTS}
        self._images = images
        self._writer = writer
        self._replay_seen = False
        self._last_sign = time.monotonic()
        for topic, kind in OUTPUTS.items():
            self.create_subscription(
                kind, topic, self._recorder(topic, kind), QoSProfile(depth=100), raw=True)

    def watch(self, last: int) -> None:
        """Spin until the replay is over and the image of the last stamp has its outputs.

        The node has PATIENCE for it after the last sign of life.
        """
        while self.context.ok():
            rclpy.spin_once(self, timeout_sec=0.1)
            if self._waits_for_replay():
                self._last_sign = time.monotonic()
            quiet = time.monotonic() - self._last_sign
            if quiet > (SETTLED if self.stamps[DEPTH][last] else PATIENCE):
                return

    def _waits_for_replay(self) -> bool:
        """Whether it has not begun or is not over: it publishes images."""
        there = self.count_publishers(self._images) > 0
        self._replay_seen = self._replay_seen or there
        return there or not self._replay_seen

    def _recorder(self, topic: str, kind: type) -> Callable[[bytes], None]:
        name, type_name = self.resolve_topic_name(topic), f'sensor_msgs/msg/{kind.__name__}'

        def record(data: bytes) -> None:
            stamp = serialized_stamp(data)
            self.stamps[topic][stamp] += 1
            self._last_sign = time.monotonic()
            if self._writer is not None:
                self._writer.write(name, type_name, stamp, data)
        return record
