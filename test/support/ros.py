# SPDX-License-Identifier: Apache-2.0
"""A node under test, a camera and listeners, each with its own context, over real DDS."""

from __future__ import annotations

import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from std_msgs.msg import Header

from depth_perception.ros.node import guard
from depth_perception.ros.node.depth_node import DepthNode
from depth_perception.ros.replay.discovery import Discovery
from test.support.waiting import PATIENCE, wait_until

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TYPES = {
    'depth/image': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/image_color': Image,
    'scan': LaserScan,
}
#: Of a network that estimates how far off it is; compiled for when it gets its first subscriber.
OPTIONAL = {'depth/confidence': Image}
COMPRESSED = dict.fromkeys(
    ('depth/image/compressedDepth', 'depth/image_color/compressed'), CompressedImage
)


class Spinner:
    """Spins nodes of one context in a thread.

    Args:
        context: of the nodes.
        spin: the executor, until ROS is shut down.
    """

    def __init__(self, context: Context, spin: Callable[[Executor], None] = Executor.spin) -> None:
        self.executor = SingleThreadedExecutor(context=context)
        self._spin_executor = spin
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.executor.shutdown()
        self._thread.join(10)

    def _spin(self) -> None:
        try:
            self._spin_executor(self.executor)
        except rclpy.executors.ExternalShutdownException:
            pass
        except BaseException as error:
            self.error = error
            raise


@contextmanager
def running_node(
    namespace: str,
    *,
    load_estimator: Callable | None = None,
    autostart: bool = True,
    arguments: tuple[str, ...] = (),
    **parameters: Any,
) -> Iterator[DepthNode]:
    """Run a depth node in a thread, started like `depth_node`."""
    context = Context()
    rclpy.init(context=context, args=['--ros-args', *arguments] if arguments else None)
    overrides = [
        Parameter(name, value=value)
        for name, value in {'autostart': autostart, **parameters}.items()
    ]
    keywords = {'load_estimator': load_estimator} if load_estimator else {}
    node = DepthNode(
        context=context, namespace=namespace, parameter_overrides=overrides, **keywords
    )
    spinner = Spinner(context, lambda executor: guard.spin(executor, node))
    spinner.executor.add_node(node)
    node.autostart()
    spinner.start()
    try:
        yield node
        assert spinner.error is None
    finally:
        spinner.stop()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


class Robot:
    """The node's counterpart: a camera, listeners and service clients in one namespace."""

    def __init__(self, namespace: str) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('robot', context=self._context, namespace=namespace)
        self._spinner = Spinner(self._context)
        self._spinner.executor.add_node(self.node)
        self._spinner.start()
        self.received: dict[str, list] = defaultdict(list)
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self.diagnostics: list[DiagnosticArray] = []
        self._subscriptions: dict[str, Any] = {}

    def close(self) -> None:
        self._spinner.stop()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def camera(
        self,
        reliability: ReliabilityPolicy = RELIABLE,
        topic: str = 'image',
        kind: type = Image,
        matched: bool = True,
    ) -> Camera:
        """Create a camera; wait until the node listens unless `matched` is false."""
        camera = Camera(self.node, reliability, topic, kind)
        if matched:
            wait_until(
                lambda: (
                    camera.images.get_subscription_count() > 0
                    and camera.infos.get_subscription_count() > 0
                ),
                what='the node to listen',
            )
        return camera

    def listen(self, *topics: str, reliability: ReliabilityPolicy = RELIABLE) -> None:
        """Subscribe to outputs; wait until matched."""
        for topic in topics:
            self._subscriptions[topic] = self.node.create_subscription(
                (TYPES | COMPRESSED | OPTIONAL)[topic],
                topic,
                self._recorder(topic),
                QoSProfile(depth=100, reliability=reliability),
            )
        for topic in topics:
            self.wait_until_known(topic)

    def ignore(self, topic: str) -> None:
        self.node.destroy_subscription(self._subscriptions.pop(topic))
        self.wait_until_known(topic)

    def wait_until_known(self, topic: str) -> None:
        """Wait until the publishers of a topic know all current subscriptions."""
        wait_until(
            Discovery(self.node, self.node.resolve_topic_name(topic)).complete,
            what=f'publishers of {topic} that answer',
        )

    def watch_diagnostics(self) -> None:
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)

    def status(self, task: str) -> Any:
        """Return the newest status of a task, or None."""
        name = f'{self.node.get_namespace()}/depth_node: {task}'.lstrip('/')
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name == name:
                    return status
        return None

    def wait_for(self, topic: str, count: int, timeout: float = PATIENCE) -> list:
        wait_until(
            lambda: len(self.received[topic]) >= count,
            timeout,
            f'{count} messages on {topic}, got {len(self.received[topic])}',
        )
        return self.received[topic]

    def call(self, kind: type, name: str, request: Any, timeout: float = PATIENCE) -> Any:
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(timeout)
        future = client.call_async(request)
        wait_until(future.done, timeout, f'an answer of {name}')
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, transition: int, timeout: float = PATIENCE) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, 'depth_node/change_state', request, timeout).success

    def state(self) -> str:
        return self.call(GetState, 'depth_node/get_state', GetState.Request()).current_state.label

    def _recorder(self, topic: str) -> Callable[[Any], None]:
        def record(message: Any) -> None:
            self.arrivals[topic].append(time.monotonic())
            self.received[topic].append(message)

        return record


class Camera:
    """Publishes images and camera_info with consistent headers."""

    def __init__(self, node: Node, reliability: ReliabilityPolicy, topic: str, kind: type) -> None:
        profile = QoSProfile(depth=20, reliability=reliability)
        self._node = node
        self.images = node.create_publisher(kind, topic, profile)
        self.infos = node.create_publisher(CameraInfo, 'camera_info', profile)
        self._count = 0

    def header(self, stamp: float | None = None) -> Header:
        """Return a header with the current time, or the given seconds, as stamp."""
        header = Header(frame_id='camera_optical_frame')
        if stamp is None:
            header.stamp = self._node.get_clock().now().to_msg()
        else:
            header.stamp.sec, header.stamp.nanosec = int(stamp), round(stamp % 1 * 1e9)
        return header

    def send(
        self,
        image: Image | None = None,
        info: CameraInfo | None = None,
        *,
        header: Header | None = None,
        with_info: bool = True,
    ) -> Header:
        """Publish an image and its camera_info; return their header."""
        header = header or self.header()
        image = image or rgb_image(picture(self._count))
        self._count += 1
        if with_info:
            info = info or camera_info(image.width, image.height)
            info.header = header
            self.infos.publish(info)
        image.header = header
        self.images.publish(image)
        return header


def picture(seed: int = 0, width: int = 80, height: int = 60) -> np.ndarray:
    """Return an image with structure, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3))
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
    return coarse[rows][:, columns].astype(np.uint8)


def rgb_image(rgb: np.ndarray, encoding: str = 'rgb8') -> Image:
    height, width = rgb.shape[:2]
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=rgb.nbytes // height,
        data=array('B', rgb.tobytes()),
    )


def camera_info(width: int = 80, height: int = 60, focal: float | None = None) -> CameraInfo:
    focal = focal or 0.8 * width
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(
        width=width,
        height=height,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def image_array(message: Image) -> np.ndarray:
    """Return the pixels of a 32FC1, 16UC1 or bgr8 message."""
    kinds = {'32FC1': (np.float32, ()), '16UC1': (np.uint16, ()), 'bgr8': (np.uint8, (3,))}
    kind, tail = kinds[message.encoding]
    return np.frombuffer(message.data, kind).reshape(message.height, message.width, *tail)


def cloud_array(message: PointCloud2) -> np.ndarray:
    """Return the cloud as (h, w, 4) float32."""
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 4)
