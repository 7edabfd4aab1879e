# SPDX-License-Identifier: Apache-2.0
"""Frames of a running depth_node for `depth-perception view`.

Callbacks only keep the newest message of each topic; messages are converted at the pace of the
page. While no browser has the page open there are no subscriptions, so the node is idle too.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.errors import UsageError
from depth_perception.io.frame_error import FrameError
from depth_perception.io.image_messages import Decoder, decode
from depth_perception.ros.conversions.topics import INFO, POINTS, PREVIEW, SCAN, diagnostics_name
from depth_perception.ros.node.subscriptions import AdaptiveSubscription
from depth_perception.ros.start import StartError, enter_ros
from depth_perception.ros.transport import prefer_large_shared_memory
from depth_perception.view.frame import Cloud, Frame, Level, Remark, Scan, Stand

IMAGE, DIAGNOSTICS = 'image', '/diagnostics'
_OUTPUTS = {PREVIEW: Image, POINTS: PointCloud2, SCAN: LaserScan, INFO: CameraInfo}
_IMAGE_TYPES = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CompressedImage': CompressedImage}
#: Seconds after which diagnostics are outdated; the node sends them once a second.
OUTDATED = 4.0
#: Seconds between two checks of the ROS graph.
LOOK = 1.0


class LiveSource:
    """Source of the inputs, outputs and diagnostics of a depth_node.

    Args:
        namespace: namespace of the node's outputs.
        image: topic of the camera; None for the one that the node subscribes to.

    Raises:
        UsageError: the namespace or the topic is not a valid name, or ROS cannot be started.
    """

    def __init__(self, namespace: str = '/', image: str | None = None) -> None:
        prefer_large_shared_memory()
        self._context = Context()
        # Python keeps handling signals.
        namespace = _valid(namespace, image)
        try:
            enter_ros([], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        except StartError as error:
            raise UsageError(str(error)) from error
        self._listener = _Listener(self._context, namespace, image)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._listener)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self._decode = Decoder()
        self._converted: dict[str, tuple[Any, Any]] = {}
        self._problem: Remark | None = None
        self._last = Frame()

    def next(self, timeout: float) -> Frame | None:
        """Wait for new data and return the frame; None after the timeout (seconds)."""
        self._listener.watch(True)
        arrived = self._listener.fresh.wait(timeout)
        self._listener.fresh.clear()
        if self._failure is not None:
            raise self._failure
        self._problem = None
        frame = self._frame()
        before, self._last = self._last, frame
        return frame if arrived or frame.remarks != before.remarks else None

    def rest(self) -> None:
        """Unsubscribe."""
        self._listener.watch(False)

    def close(self) -> None:
        """Shut down ROS."""
        self._executor.shutdown()
        self._thread.join(10)
        self._listener.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _frame(self) -> Frame:
        image = self._latest(IMAGE, self._decode)
        depth = self._latest(PREVIEW, decode)
        cloud = self._latest(POINTS, _cloud)
        scan = self._latest(SCAN, _scan)
        camera = self._latest(INFO, _camera)
        state = self._listener.state()
        remarks = state.remarks + ((self._problem,) if self._problem else ())
        label = self._latest(IMAGE, _label, 'label') or ''
        return Frame(
            image, depth, state.depth_range, cloud, scan, camera, state.stand, remarks, label
        )

    def _latest(self, topic: str, convert: Callable[[Any], Any], kind: str = '') -> Any:
        """Return the newest message of a topic as an array; the same object if nothing is newer."""
        message = self._listener.newest.get(topic)
        known, value = self._converted.get(topic + kind, (None, None))
        if message is not None and message is not known:
            try:
                value = convert(message)
            except (FrameError, CameraError, ValueError) as error:
                self._problem = Remark(Level.ERROR, topic, str(error))
            self._converted[topic + kind] = (message, value)
        return value

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:  # from the middleware; `next` raises it
            self._failure = error
            self._listener.fresh.set()


@dataclass(frozen=True)
class _State:
    """State of the node, in addition to its pictures."""

    remarks: tuple[Remark, ...]
    depth_range: tuple[float, float] | None = None
    stand: Stand = Stand()  # noqa: RUF009 - it is frozen


class _Listener(Node):
    """Node that keeps the newest message of each topic; only `watch` may be called elsewhere.

    All other methods run in its executor.

    Attributes:
        newest: newest message by topic.
        fresh: set when a message arrives.
    """

    def __init__(self, context: Context, namespace: str, image: str | None) -> None:
        super().__init__(
            'depth_view', context=context, namespace=namespace, start_parameter_services=False
        )
        self.newest: dict[str, Any] = {}
        self.fresh = threading.Event()
        self._wanted_image = image and self.resolve_topic_name(image)
        self._watched = False
        self._subscriptions_by_topic: dict[str, AdaptiveSubscription] = {}
        self._image: tuple[str, type] | None = None
        self._node_name: str | None = None
        self._diagnostics_at = float('-inf')
        self.create_timer(LOOK, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def watch(self, watched: bool) -> None:
        """Start or stop the subscriptions; may be called from any thread."""
        if watched != self._watched:
            self._watched = watched
            if self.executor is not None:
                self.executor.create_task(self._look)

    def state(self) -> _State:
        """Return the state by the node's diagnostics, or the likely problem without them."""
        message = self.newest.get(DIAGNOSTICS)
        if message is not None and time.monotonic() - self._diagnostics_at < OUTDATED:
            return _state(message)
        points = self.resolve_topic_name(POINTS)
        if self._node_name is None:
            return _State(
                (
                    Remark(
                        Level.ERROR,
                        'node',
                        f'nobody publishes {points}: is depth_node running, in this '
                        'namespace (--namespace) and this ROS_DOMAIN_ID?',
                    ),
                )
            )
        return _State((Remark(Level.WARN, 'node', f'{self._node_name} sends no diagnostics'),))

    def _look(self) -> None:
        """Find the node and its camera, and subscribe while watched; otherwise unsubscribe."""
        if not self._watched:
            for topic in tuple(self._subscriptions_by_topic):
                self._unsubscribe(topic)
            return
        self._find_node()
        for topic, kind in _OUTPUTS.items():
            self._subscribe(topic, topic, kind)
        self._subscribe(DIAGNOSTICS, DIAGNOSTICS, DiagnosticArray)
        if self._image is not None:
            self._subscribe(IMAGE, *self._image)
        for subscription in self._subscriptions_by_topic.values():
            subscription.adapt()

    def _find_node(self) -> None:
        # A node that is starting or ending is in the graph without its name.
        publishers = [
            publisher
            for publisher in self.get_publishers_info_by_topic(self.resolve_topic_name(POINTS))
            if publisher.node_namespace.startswith('/')
        ]
        self._node_name = (
            diagnostics_name(publishers[0].node_namespace, publishers[0].node_name)
            if publishers
            else None
        )
        image = self._find_image(publishers[0]) if publishers else None
        if image is not None and image != self._image:
            self._unsubscribe(IMAGE)
            self._image = image

    def _find_image(self, publisher: Any) -> tuple[str, type] | None:
        """Return topic and type of the wanted image, or of the one the node subscribes to."""
        if self._wanted_image:
            usual = CompressedImage if self._wanted_image.endswith('/compressed') else Image
            kinds = dict(self.get_topic_names_and_types()).get(
                self.resolve_topic_name(self._wanted_image), []
            )
            return self._wanted_image, next(
                (_IMAGE_TYPES[kind] for kind in kinds if kind in _IMAGE_TYPES), usual
            )
        try:
            subscribed = self.get_subscriber_names_and_types_by_node(
                publisher.node_name, publisher.node_namespace
            )
        except NodeNameNonExistentError:  # it has just ended
            return None
        images = [
            (name, _IMAGE_TYPES[kinds[0]]) for name, kinds in subscribed if kinds[0] in _IMAGE_TYPES
        ]
        return images[0] if images else None

    def _subscribe(self, key: str, topic: str, kind: type) -> None:
        if key not in self._subscriptions_by_topic:
            self._subscriptions_by_topic[key] = AdaptiveSubscription(
                self, kind, topic, lambda message: self._keep(key, message)
            )

    def _unsubscribe(self, key: str) -> None:
        subscription = self._subscriptions_by_topic.pop(key, None)
        if subscription is not None:
            subscription.destroy()

    def _keep(self, key: str, message: Any) -> None:
        if key == DIAGNOSTICS:
            if not self._is_of_the_node(message):
                return
            self._diagnostics_at = time.monotonic()
        self.newest[key] = message
        self.fresh.set()

    def _is_of_the_node(self, message: DiagnosticArray) -> bool:
        """Return whether diagnostics belong to the node, by its name and image topic."""
        if not any(status.name.startswith(f'{self._node_name}: ') for status in message.status):
            return False
        topics = [
            value.value
            for status in message.status
            for value in status.values
            if value.key == 'topic'
        ]
        return self._image is None or self._image[0] in topics or not any(topics)


def _valid(namespace: str, image: str | None) -> str:
    """Return the full namespace; raise UsageError if it or the topic is not a valid name."""
    namespace = f'/{namespace.strip("/")}'
    try:
        validate_namespace(namespace)
        if image is not None:
            validate_topic_name(image)
    except (InvalidNamespaceException, InvalidTopicNameException) as error:
        raise UsageError(' '.join(str(error).split())) from error
    return namespace


def _remark(status: DiagnosticStatus) -> Remark:
    rate = _values(status).get('rate_hz')
    level = min(int.from_bytes(status.level, 'little'), Level.ERROR)
    return Remark(
        Level(level),
        status.name.rsplit(': ', 1)[-1],
        f'{status.message}, {float(rate):.1f} Hz' if rate else status.message,
    )


def _state(message: DiagnosticArray) -> _State:
    """Return remarks, range of colours and pose of the camera from diagnostics."""
    values: dict[str, float] = {}
    for status in message.status:
        for key, value in _values(status).items():
            with contextlib.suppress(ValueError):
                values[key] = float(value)
    near, far = values.get('min_depth_m', 0.0), values.get('max_depth_m', 0.0)
    stand = Stand(
        math.radians(values.get('camera_pitch_deg', 0.0)),
        math.radians(values.get('camera_roll_deg', 0.0)),
        values.get('camera_height_m'),
    )
    return _State(tuple(map(_remark, message.status)), (near, far) if near < far else None, stand)


def _values(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def _camera(message: CameraInfo) -> CameraModel:
    return CameraModel.from_matrix(message.width, message.height, message.k)


def _scan(message: LaserScan) -> Scan:
    ranges = np.array(message.ranges, np.float32)
    return Scan(message.angle_min + message.angle_increment * np.arange(len(ranges)), ranges)


def _cloud(message: PointCloud2) -> Cloud:
    """Return points and colours of an organized cloud; other fields are ignored.

    Raises:
        ValueError: the cloud has no x, y, z, or too few bytes for its size.
    """
    offsets = {field.name: field.offset for field in message.fields}
    if not {'x', 'y', 'z'} <= offsets.keys():
        raise ValueError(f'the cloud has no fields x, y, z; it has {", ".join(offsets) or "none"}')
    points = np.stack([_column(message, offsets[axis], '<f4') for axis in 'xyz'], axis=-1)
    if 'rgb' not in offsets:
        return Cloud(points)
    packed = _column(message, offsets['rgb'], '<u4')
    return Cloud(
        points, np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)
    )


def _column(message: PointCloud2, offset: int, kind: str) -> NDArray[Any]:
    """Return one field (h, w) of a cloud as a view."""
    return np.ndarray(
        (message.height, message.width),
        kind,
        message.data,
        offset,
        (message.row_step, message.point_step),
    )


def _label(message: Image | CompressedImage) -> str:
    """Return a label with the time of the image."""
    stamp = message.header.stamp
    return f'image of {stamp.sec}.{stamp.nanosec // 10**6:03d} s'
