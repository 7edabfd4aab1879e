# SPDX-License-Identifier: Apache-2.0
"""The publishers of the outputs, which are computed only while they have subscribers."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_perception.ros.conversions.topics import (
    CONFIDENCE,
    DEPTH,
    DEPTH_PNG,
    INFO,
    POINTS,
    PREVIEW,
    PREVIEW_JPEG,
    SCAN,
)
from depth_perception.ros.node.qos import overrides

#: Number of messages kept for retransmission. An old image is of no use; a few small messages cost
#: nothing, and large images can push them out of a receive buffer (docs/dds.md).
KEPT = {
    INFO: 5,
    DEPTH: 1,
    POINTS: 1,
    PREVIEW: 1,
    SCAN: 5,
    DEPTH_PNG: 1,
    PREVIEW_JPEG: 1,
    CONFIDENCE: 1,
}
TYPES = {
    INFO: CameraInfo,
    DEPTH: Image,
    POINTS: PointCloud2,
    PREVIEW: Image,
    SCAN: LaserScan,
    DEPTH_PNG: CompressedImage,
    PREVIEW_JPEG: CompressedImage,
    CONFIDENCE: Image,
}


class DepthPublishers:
    """The output publishers; they publish while the node is active.

    Args:
        node: the node.
        has_confidence: whether the network gives confidence; without it there is no such topic.

    Raises:
        QosError: a QoS override of a topic cannot be used.
    """

    def __init__(self, node: LifecycleNode, has_confidence: bool = True) -> None:
        self._node = node
        kinds = {
            topic: kind for topic, kind in TYPES.items() if has_confidence or topic != CONFIDENCE
        }
        for topic in kinds:  # check all before creating any publisher
            overrides(node, topic, 'publisher')
        self._publishers = {topic: self._create(topic, kind) for topic, kind in kinds.items()}

    def _create(self, topic: str, kind: type) -> LifecyclePublisher:
        # One profile per topic: rclpy writes the overrides of a topic into the given profile.
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=KEPT[topic],
            reliability=ReliabilityPolicy.RELIABLE,
        )
        publisher: LifecyclePublisher = self._node.create_lifecycle_publisher(
            kind,
            topic,
            profile,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        return publisher

    def wanted(self) -> frozenset[str]:
        """Return the topics that have subscribers."""
        return frozenset(
            topic
            for topic, publisher in self._publishers.items()
            if publisher.get_subscription_count() > 0
        )

    def subscribers(self) -> frozenset[bytes]:
        """Return the identities of all subscribers to the outputs, by the middleware."""
        return frozenset(
            bytes(info.endpoint_gid)
            for publisher in self._publishers.values()
            for info in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
        )

    def rivals(self) -> tuple[str, ...]:
        """Return the resolved names of output topics that also have other publishers."""
        names = [publisher.topic_name for publisher in self._publishers.values()]
        return tuple(name for name in names if self._node.count_publishers(name) > 1)

    def publish(self, topic: str, message: Any) -> None:
        """Publish one message; do nothing while the node is not active."""
        self._publishers[topic].publish(message)

    def destroy(self) -> None:
        """Destroy the publishers."""
        publishers, self._publishers = self._publishers, {}
        for publisher in publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
