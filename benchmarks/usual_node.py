# SPDX-License-Identifier: Apache-2.0
"""The usual Python depth node for comparison: what most published nodes do.

Inference in the image callback, a queue of ten, plain PyTorch in float32, messages by `tobytes`, a
cloud by numpy with float32 fields at every second pixel, a scan by a vectorised minimum over rows.
It has the network, topics and outputs of `depth_node`, so the same listener measures both.
"""

from __future__ import annotations

import sys
import time
from collections import deque

import cv2
import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField
from torch.nn import functional as F

from depth_perception.io.weights import load_weights
from depth_perception.ros.process import quit_at_once_on_signals
from depth_perception.ros.transport import prefer_large_shared_memory

STRIDE = 2
#: Seconds without an image after which the statistics are reset.
PAUSE = 1.0
MIN_DEPTH = 0.3


class UsualNode(Node):
    """A node that does everything in one callback."""

    def __init__(self) -> None:
        super().__init__('depth_node')
        weights = load_weights(None)
        self._network, self._weights = weights.network.eval(), weights.info
        self._mean = torch.tensor(weights.info.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(weights.info.std).view(1, 3, 1, 1)
        self._camera: CameraInfo | None = None
        self._seconds: deque[tuple[float, float]] = deque(maxlen=200)
        self._last = 0.0
        self.create_subscription(CameraInfo, 'camera_info', self._on_camera, 10)
        self.create_subscription(Image, 'image', self._on_image, 10)
        self._depth = self.create_publisher(Image, 'depth/image', 10)
        self._points = self.create_publisher(PointCloud2, 'depth/points', 10)
        self._scan = self.create_publisher(LaserScan, 'scan', 10)
        self._health = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._say)

    def _on_camera(self, message: CameraInfo) -> None:
        self._camera = message

    def _on_image(self, message: Image) -> None:
        if self._camera is None:
            return
        start = time.perf_counter()
        if start - self._last > PAUSE:
            self._seconds.clear()
        rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        depth, network = self._infer(rgb)
        self._depth.publish(self._depth_message(message, depth))
        self._points.publish(self._cloud_message(message, depth, rgb))
        self._scan.publish(self._scan_message(message, depth))
        self._last = time.perf_counter()
        self._seconds.append((self._last - start, network))

    @torch.no_grad()
    def _infer(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        size = (self._weights.input_width, self._weights.input_height)
        small = cv2.resize(rgb, size).astype(np.float32) / 255
        image = (torch.from_numpy(small).permute(2, 0, 1)[None] - self._mean) / self._std
        start = time.perf_counter()
        output = self._network(image)
        network = time.perf_counter() - start
        output = F.interpolate(output, rgb.shape[:2], mode='bilinear', align_corners=False)
        return output[0, 0].numpy(), network

    @staticmethod
    def _depth_message(image: Image, depth: np.ndarray) -> Image:
        message = Image(
            header=image.header,
            height=image.height,
            width=image.width,
            encoding='32FC1',
            step=image.width * 4,
        )
        message.data = depth.astype(np.float32).tobytes()
        return message

    def _cloud_message(self, image: Image, depth: np.ndarray, rgb: np.ndarray) -> PointCloud2:
        fx, cx, fy, cy = (self._camera.k[index] for index in (0, 2, 4, 5))
        rows, columns = np.mgrid[: image.height : STRIDE, : image.width : STRIDE]
        z = depth[::STRIDE, ::STRIDE]
        x, y = (columns - cx) * z / fx, (rows - cy) * z / fy
        colour = rgb[::STRIDE, ::STRIDE].astype(np.uint32)
        packed = (colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]).view(np.float32)
        points = np.stack([x, y, z, packed], axis=-1).astype(np.float32)
        fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(('x', 'y', 'z', 'rgb'))
        ]
        message = PointCloud2(
            header=image.header,
            height=z.shape[0],
            width=z.shape[1],
            fields=fields,
            point_step=16,
            row_step=16 * z.shape[1],
            is_dense=False,
        )
        message.data = points.tobytes()
        return message

    def _scan_message(self, image: Image, depth: np.ndarray) -> LaserScan:
        fx, cx, fy, cy = (self._camera.k[index] for index in (0, 2, 4, 5))
        height = -(np.arange(image.height)[:, None] - cy) * depth / fy
        ranges = np.where((height > -0.2) & (height < 0.3) & (depth > MIN_DEPTH), depth, np.inf)
        angles = np.arctan2(cx - np.arange(image.width), fx)
        nearest = (ranges.min(axis=0) / np.cos(angles))[::-1]
        message = LaserScan(
            header=image.header,
            range_min=MIN_DEPTH,
            range_max=10.0,
            angle_min=float(angles[-1]),
            angle_max=float(angles[0]),
            angle_increment=float((angles[0] - angles[-1]) / (len(angles) - 1)),
        )
        message.ranges = nearest.astype(np.float32).tolist()
        return message

    def _say(self) -> None:
        """Publish diagnostics like `depth_node`: medians of the callback and the network."""
        if not self._seconds:
            return
        seconds = np.array(self._seconds)
        whole, network = 1000 * np.median(seconds, axis=0)
        beside = 1000 * np.median(seconds[:, 0] - seconds[:, 1])
        status = DiagnosticStatus(
            name='depth_node: inference',
            values=[
                KeyValue(key='arrival_to_publish_ms', value=f'p50 {whole:.2f}'),
                KeyValue(key='network_ms', value=f'p50 {network:.2f}'),
                KeyValue(key='beside_network_ms', value=f'p50 {beside:.2f}'),
            ],
        )
        self._health.publish(DiagnosticArray(status=[status]))


def main() -> int:
    """Run until a signal."""
    quit_at_once_on_signals()
    prefer_large_shared_memory()
    rclpy.init()
    node = UsualNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
