# SPDX-License-Identifier: Apache-2.0
"""Record the depth node's inputs and outputs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors
from depth_perception.io.image_messages import decode
from depth_perception.ros.conversions.stamps import nanoseconds, seconds
from depth_perception.ros.conversions.topics import DEPTH, INFO, POINTS, SCAN


@dataclass
class ScanRecord:
    """A LaserScan as arrays: angles (radians, positive to the left) and ranges (metres)."""

    angles: NDArray[np.floating[Any]]
    ranges: NDArray[np.floating[Any]]


@dataclass
class FrameRecord:
    """The recorded data of one input frame.

    Attributes:
        index: number of the frame.
        rgb: camera image.
        depth: depth image.
        cloud: packed cloud.
        scan: obstacle scan.
        anchored: the same frame in the replay with anchors.
        anchors: the anchors that corrected it.
    """

    index: int
    rgb: NDArray[np.uint8] | None = None
    depth: NDArray[np.float32] | None = None
    cloud: NDArray[np.float32] | None = None
    scan: ScanRecord | None = None
    anchored: FrameRecord | None = None
    anchors: Anchors | None = None


@dataclass
class Recording:
    """Everything recorded.

    Attributes:
        frames: frames by stamp in nanoseconds, in the order of arrival.
        counts: number of messages by output topic.
        latency: seconds from header stamp to arrival, by output topic.
        camera: camera of the depth image, None if the bag has no camera_info.
        stages: milliseconds by stage, from the node's diagnostics.
        lost: number of frames without depth before one that has depth.
        node_facts: model, checksum, device and precision, from the node's diagnostics.
    """

    frames: dict[int, FrameRecord] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    latency: dict[str, list[float]] = field(default_factory=dict)
    camera: CameraModel | None = None
    lost: int = 0
    stages: dict[str, str] = field(default_factory=dict)
    node_facts: dict[str, str] = field(default_factory=dict)


class Recorder(Node):
    """Node that records the frames of a replay.

    Args:
        image_topic: topic of the images in the bag.
        compressed: whether the images are compressed.
        keep: indices of the frames to keep completely.
        film: indices of the frames whose image and depth to keep.
        keep_depth: whether to keep depth and scan of all frames, to compute scores.
    """

    def __init__(
        self, image_topic: str, compressed: bool, keep: set[int], film: set[int], keep_depth: bool
    ) -> None:
        super().__init__('demo_recorder', start_parameter_services=False)
        self.recording = Recording()
        self._keep = keep
        self._film = keep | film
        self._since = 0
        self._keep_depth = keep_depth
        profile = QoSProfile(depth=200)
        subscriptions = [
            (CompressedImage if compressed else Image, image_topic, self._on_image),
            (Image, DEPTH, self._on_depth),
            (CameraInfo, INFO, self._on_info),
            (PointCloud2, POINTS, self._on_cloud),
            (LaserScan, SCAN, self._on_scan),
            (DiagnosticArray, '/diagnostics', self._on_diagnostics),
        ]
        for kind, topic, callback in subscriptions:
            self.create_subscription(kind, topic, self._of_now(callback), profile)

    def forget(self) -> None:
        """Start a new recording; outputs of earlier images do not belong to it."""
        self._since = time.time_ns()
        self.recording = Recording(node_facts=self.recording.node_facts)

    def _of_now(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap a callback to ignore messages that belong to images from before the recording."""

        def run(message: Any) -> None:
            if nanoseconds(message.header.stamp) >= self._since:
                callback(message)

        return run

    def matched(self) -> bool:
        """Return whether all outputs of the node have publishers."""
        return all(self.count_publishers(topic) for topic in (DEPTH, INFO, POINTS, SCAN))

    def _frame(self, header: Any) -> FrameRecord:
        frames = self.recording.frames
        return frames.setdefault(nanoseconds(header.stamp), FrameRecord(len(frames)))

    def _arrived(self, topic: str, header: Any) -> None:
        self.recording.counts[topic] += 1
        latency = time.time() - seconds(header.stamp)
        self.recording.latency.setdefault(topic, []).append(latency)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.recording.counts['image'] += 1
        frame = self._frame(message.header)
        if frame.index in self._film:
            frame.rgb = decode(message).copy()

    def _on_depth(self, message: Image) -> None:
        self._arrived(DEPTH, message.header)
        frame = self._frame(message.header)
        # Messages of a reliable topic arrive in order.
        self.recording.lost = frame.index + 1 - self.recording.counts[DEPTH]
        if self._keep_depth or frame.index in self._film:
            values = np.frombuffer(message.data, np.float32)
            frame.depth = values.reshape(message.height, message.width).copy()

    def _on_info(self, message: CameraInfo) -> None:
        self._arrived(INFO, message.header)
        self.recording.camera = CameraModel.from_matrix(message.width, message.height, message.k)

    def _on_cloud(self, message: PointCloud2) -> None:
        self._arrived(POINTS, message.header)
        frame = self._frame(message.header)
        if frame.index in self._keep:
            values = np.frombuffer(message.data, np.float32)
            frame.cloud = values.reshape(message.height, message.width, 4).copy()

    def _on_scan(self, message: LaserScan) -> None:
        self._arrived(SCAN, message.header)
        frame = self._frame(message.header)
        if self._keep_depth or frame.index in self._keep:
            ranges = np.array(message.ranges, np.float64)
            angles = message.angle_min + np.arange(len(ranges)) * message.angle_increment
            frame.scan = ScanRecord(angles, ranges)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            if status.name.endswith(': inference') and 'inference_ms' in values:
                self.recording.stages = {k: v for k, v in values.items() if k.endswith('_ms')}
            if 'model' in values:
                self.recording.node_facts = {
                    k: values[k] for k in ('model', 'checksum', 'device', 'precision')
                }
