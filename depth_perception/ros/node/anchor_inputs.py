# SPDX-License-Identifier: Apache-2.0
"""Subscribe to other sensors that correct depth, and compute their anchors for an image."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.depth.anchor_sources import (
    depth_anchors,
    point_anchors,
    range_anchors,
    scan_anchors,
)
from depth_perception.depth.anchors import Anchors
from depth_perception.depth.floor_anchors import HIGHEST_CAMERA, floor_anchors
from depth_perception.depth.scan import CameraPose
from depth_perception.ros.conversions.sensor_messages import (
    SensorError,
    cloud_points,
    depth_array,
    transform_matrix,
)
from depth_perception.ros.conversions.stamps import seconds
from depth_perception.ros.conversions.topics import (
    ANCHOR_DEPTH,
    ANCHOR_DEPTH_INFO,
    ANCHOR_POINTS,
    ANCHOR_RANGE,
    ANCHOR_SCAN,
    OUTPUTS,
)
from depth_perception.ros.conversions.transforms import (
    TransformBuffer,
    TransformError,
    TransformListener,
)
from depth_perception.ros.node.parameters import FLOOR, anchor_sources
from depth_perception.ros.node.subscriptions import AdaptiveSubscription

#: Topic and type of each source except the floor.
TOPICS: dict[str, tuple[str, type]] = {
    'scan': (ANCHOR_SCAN, LaserScan),
    'range': (ANCHOR_RANGE, Range),
    'points': (ANCHOR_POINTS, PointCloud2),
    'depth': (ANCHOR_DEPTH, Image),
}
#: Number of messages kept per sensor: the nearest in time to an image may not be the last.
_KEPT = 10
#: Largest number of sensors on one topic, distinguished by frame_id.
_FRAMES = 16


class _UntimelyError(SensorError):
    """TF lacks the time of a measurement."""


class AnchorTopicError(ValueError):
    """A topic cannot be used for a sensor; the message says why."""


@dataclass(frozen=True)
class FrameAnchors:
    """The anchors of an image.

    Attributes:
        anchors: anchors of all sources.
        age: seconds between the image and the oldest message used; None if no message was used.
        problem: a problem with some sources, or ''.
    """

    anchors: Anchors
    age: float | None = None
    problem: str = ''


class AnchorInputs:
    """Subscribe to the sensors, and compute anchors from their last measurements.

    Args:
        node: the subscribing node.
        names: names of the sources, as in the parameter `anchors`.
        listener: TF listener, if the node already has one.

    Raises:
        AnchorTopicError: a topic is one of the node's own outputs.
        QosError: a QoS override of a topic cannot be used.
    """

    def __init__(self, node: Node, names: str, listener: TransformBuffer | None = None) -> None:
        self._node = node
        self._sources = anchor_sources(names)
        self._lock = threading.Lock()
        self._messages: dict[str, dict[str, deque[Any]]] = {name: {} for name in TOPICS}
        self._depth_info: CameraInfo | None = None
        sensors = [name for name in self._sources if name != FLOOR]
        _check_topics(node, [TOPICS[name][0] for name in sensors])
        self._listener, self._no_tf = listener, ''
        self._own_listener: TransformBuffer | None = None
        if sensors and listener is None:
            self._listen_to_tf()
        self._subscriptions: dict[str, AdaptiveSubscription] = {}
        try:
            for name in sensors:
                topic, kind = TOPICS[name]
                self._subscribe(name, kind, topic, self._keeper(name))
            if 'depth' in sensors:
                self._subscribe('depth_info', CameraInfo, ANCHOR_DEPTH_INFO, self._on_depth_info)
        except Exception:
            self.destroy()
            raise

    def adapt(self) -> None:
        """Adapt to the current publishers."""
        for subscription in self._subscriptions.values():
            subscription.adapt()

    def reset(self) -> None:
        """Drop all measurements after a jump back in time."""
        with self._lock:
            for messages in self._messages.values():
                messages.clear()
        if self._own_listener is not None:
            self._own_listener.clear()

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions.values():
            subscription.destroy()  # keep it in the dict: the worker may still need its name
        if self._own_listener is not None:
            self._own_listener.destroy()
            self._own_listener = None

    def of(
        self,
        image: Header,
        camera: CameraModel,
        predicted: Any,
        max_age: float,
        pose: Callable[[], CameraPose | None],
    ) -> FrameAnchors:
        """Return the anchors of an image; called by the worker.

        Args:
            image: header of the image, with the frame_id of the camera.
            camera: camera of the image.
            predicted: predicted depth (H, W) before correction.
            max_age: largest time difference between a measurement and the image, seconds.
            pose: returns the camera pose; None means unknown.
        """
        found, ages, problems = [], [], []
        for name in self._sources:
            if name == FLOOR:
                anchors, problem = _floor(predicted, camera, pose())
                found.append(anchors)
                problems.append(problem)
                continue
            nearest = self._nearest(name, image)
            fitting = [message for message in nearest if _apart(message, image) <= max_age]
            # A measurement from another time may also be of no use at all, which says more.
            for message in fitting or nearest:
                made, problem = self._tried(name, message, image, camera, predicted, bool(fitting))
                problems.append(problem)
                if fitting and made is not None:
                    found.append(made)
                    ages.append(_apart(message, image))
            if not fitting and not any(problems[len(problems) - len(nearest) :]):
                problems.append(self._missing(name, nearest, image, max_age))
        return FrameAnchors(
            Anchors.joined(found), max(ages, default=None), '; '.join(filter(None, problems))
        )

    def _tried(
        self,
        name: str,
        message: Any,
        image: Header,
        camera: CameraModel,
        predicted: Any,
        fits: bool,
    ) -> tuple[Anchors | None, str]:
        """Return the anchors of a message, None if it cannot be used, and what is wrong with it.

        That TF lacks the time of a message is not wrong if the message does not fit the image.
        """
        try:
            anchors = self._anchors(name, message, image, camera, predicted)
        except _UntimelyError as error:
            return None, f'{self._topic(name)}: {error}' if fits else ''
        except (TransformError, SensorError, CameraError) as error:
            return None, f'{self._topic(name)}: {error}'
        if len(anchors) or not _has_measured(message):
            return anchors, ''
        return anchors, (
            f'{self._topic(name)}: nothing that was measured lies in the image; is '
            f'{message.header.frame_id} its frame?'
        )

    def _listen_to_tf(self) -> None:
        """Listen to TF; without tf2_ros, only sensors in the image's frame work."""
        try:
            self._listener = self._own_listener = TransformListener(self._node, 'anchors')
        except TransformError as error:
            self._no_tf = str(error)

    def _subscribe(
        self, name: str, kind: type, topic: str, callback: Callable[[Any], None]
    ) -> None:
        self._subscriptions[name] = AdaptiveSubscription(
            self._node, kind, topic, callback, depth=_KEPT if kind is not Image else 2
        )

    def _keeper(self, name: str) -> Callable[[Any], None]:
        """Return the callback that stores the messages of a source by frame_id."""

        def keep(message: Any) -> None:
            with self._lock:
                frames = self._messages[name]
                if message.header.frame_id not in frames and len(frames) >= _FRAMES:
                    frames.clear()
                frames.setdefault(message.header.frame_id, deque(maxlen=_KEPT)).append(message)

        return keep

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _topic(self, name: str) -> str:
        return self._subscriptions[name].topic

    def _nearest(self, name: str, image: Header) -> list[Any]:
        """Return the message of each sensor nearest in time to the image."""
        with self._lock:
            frames = [list(messages) for messages in self._messages[name].values()]
        return [min(messages, key=lambda message: _apart(message, image)) for messages in frames]

    def _missing(self, name: str, nearest: Sequence[Any], image: Header, max_age: float) -> str:
        """Return why a source has no message for an image."""
        subscription = self._subscriptions[name]
        topic = subscription.topic
        if nearest:
            away = min(_apart(message, image) for message in nearest)
            return (
                f'{topic} has nothing within {max_age:g} s of the image: the nearest is '
                f'{away:.2g} s away (anchor_max_age)'
            )
        if subscription.misfit:
            return f'nothing on {topic}: {subscription.misfit}'
        return f'nothing on {topic}: ' + (
            'its publisher is silent' if subscription.publishers else 'nobody publishes it'
        )

    def _anchors(
        self, name: str, message: Any, image: Header, camera: CameraModel, predicted: Any
    ) -> Anchors:
        """Return the anchors of a message in the image."""
        transform = self._transform(image.frame_id, message.header.frame_id, message.header.stamp)
        if name == 'scan':
            return scan_anchors(
                np.asarray(message.ranges, np.float32),
                message.angle_min,
                message.angle_increment,
                transform,
                camera,
                message.range_min,
                message.range_max,
            )
        if name == 'range':
            measured = (
                message.range if message.min_range <= message.range <= message.max_range else np.nan
            )
            return range_anchors(measured, message.field_of_view, transform, camera, predicted)
        if name == 'points':
            return point_anchors(cloud_points(message), transform, camera)
        depth = depth_array(message)
        return depth_anchors(
            depth, self._depth_camera(depth.shape[1], depth.shape[0]), transform, camera
        )

    def _depth_camera(self, width: int, height: int) -> CameraModel:
        """Return the camera of a measured depth image of this size."""
        info = self._depth_info
        if info is None:
            raise SensorError(f'no camera_info on {self._topic("depth_info")}')
        matrix = info.p if info.p[0] > 0 else info.k
        return CameraModel.from_matrix(info.width, info.height, matrix).scaled_to(width, height)

    def _transform(self, target: str, source: str, stamp: Time) -> NDArray[np.float64]:
        """Return the transform from the sensor to the image frame at the sensor's stamp."""
        if target == source:
            return np.eye(4)
        if self._listener is None:
            raise TransformError(f'no transform from {source} to {target}: {self._no_tf}')
        stamped = self._listener.at(target, source, stamp, 0.0)
        if stamped is None:
            raise _UntimelyError(
                f'no transform from {source} to {target} at the time of the measurement'
            )
        return transform_matrix(stamped.transform)


def _has_measured(message: Any) -> bool:
    """Return whether a message contains any distance."""
    if isinstance(message, LaserScan):
        return bool(np.isfinite(np.asarray(message.ranges, np.float32)).any())
    if isinstance(message, Range):
        return bool(message.min_range <= message.range <= message.max_range)
    return len(message.data) > 0


def _check_topics(node: Node, topics: Sequence[str]) -> None:
    """Raise AnchorTopicError if a topic is one of the node's own outputs."""
    outputs = {node.resolve_topic_name(output): output for output in OUTPUTS}
    for topic in topics:
        if output := outputs.get(name := node.resolve_topic_name(topic)):
            raise AnchorTopicError(
                f'{topic} is {name}, where this node publishes {output}: give '
                f'the node a namespace, or remap {output}'
            )


def _floor(predicted: Any, camera: CameraModel, pose: CameraPose | None) -> tuple[Anchors, str]:
    """Return the anchors of the floor, or why there are none."""
    if pose is None or pose.height is None:
        return Anchors.of(), (
            'the floor as an anchor needs the height of the camera: set '
            'camera_height and camera_pitch, or base_frame'
        )
    if pose.height > HIGHEST_CAMERA:
        return Anchors.of(), (
            f'the floor is no anchor for a camera {pose.height:.2f} m above it: '
            f'up to {HIGHEST_CAMERA:g} m'
        )
    return floor_anchors(predicted, camera, pose), ''


def _apart(message: Any, image: Header) -> float:
    """Return the seconds between a message and the image."""
    return abs(seconds(message.header.stamp) - seconds(image.stamp))
