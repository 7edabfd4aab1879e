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

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.depth.anchor_sources import pixel_anchors, point_anchors, range_anchors
from depth_perception.depth.anchors import Anchors, PreparedAnchors, prepare_anchors
from depth_perception.depth.floor_anchors import HIGHEST_CAMERA, floor_anchors
from depth_perception.depth.scan import CameraPose
from depth_perception.ros.conversions.sensor_messages import SensorError, transform_matrix
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
from depth_perception.ros.node.measurement import CameraView, Measurement
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
#: The transform between two sensors with the same frame.
_SAME = np.eye(4)
#: Sources whose anchors do not depend on the predicted depth or on other messages.
_INDEPENDENT = ('scan', 'points')


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
        prepared: the same anchors, prepared for the correction; None if they are not.
    """

    anchors: Anchors
    age: float | None = None
    problem: str = ''
    prepared: PreparedAnchors | None = None


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
        self._messages: dict[str, dict[str, deque[Measurement]]] = {name: {} for name in TOPICS}
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
        view: CameraView,
        stamp: Time,
        predicted: Any,
        max_age: float,
        pose: Callable[[], CameraPose | None],
    ) -> FrameAnchors:
        """Return the anchors of an image; called by the worker.

        Args:
            view: frame and camera of the image.
            stamp: of the image.
            predicted: predicted depth (H, W) before correction.
            max_age: largest time difference between a measurement and the image, seconds.
            pose: returns the camera pose; None means unknown.
        """
        found: list[Anchors | PreparedAnchors] = []
        ages, problems, at = [], [], seconds(stamp)
        for name in self._sources:
            if name == FLOOR:
                anchors, problem = _floor(predicted, view.camera, pose())
                found.append(anchors)
                problems.append(problem)
                continue
            nearest = self._nearest(name, at)
            fitting = [one for one in nearest if abs(one.seconds - at) <= max_age]
            # A measurement from another time may also be of no use at all, which says more.
            for one in fitting or nearest:
                made, problem = self._tried(one, view, predicted, bool(fitting))
                problems.append(problem)
                if fitting and made is not None:
                    found.append(made)
                    ages.append(abs(one.seconds - at))
            if not fitting and not any(problems[len(problems) - len(nearest) :]):
                problems.append(self._missing(name, nearest, at, max_age))
        only = found[0] if len(found) == 1 else None
        return FrameAnchors(
            Anchors.joined(
                [one.offered if isinstance(one, PreparedAnchors) else one for one in found]
            ),
            max(ages, default=None),
            '; '.join(filter(None, problems)),
            only if isinstance(only, PreparedAnchors) else None,
        )

    def _tried(
        self, measurement: Measurement, view: CameraView, predicted: Any, fits: bool
    ) -> tuple[Anchors | PreparedAnchors | None, str]:
        """Return the anchors of a measurement, None if it is of no use, and what is wrong with it.

        That TF lacks the time of a message is not wrong if the message does not fit the image.
        """
        try:
            anchors = self._anchors(measurement, view, predicted)
        except _UntimelyError as error:
            return None, f'{self._topic(measurement.source)}: {error}' if fits else ''
        except (TransformError, SensorError, CameraError) as error:
            return None, f'{self._topic(measurement.source)}: {error}'
        offered = anchors.offered if isinstance(anchors, PreparedAnchors) else anchors
        if len(offered) or not measurement.has_measured:
            return anchors, ''
        return anchors, (
            f'{self._topic(measurement.source)}: nothing that was measured lies in the image; is '
            f'{measurement.header.frame_id} its frame?'
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
            measurement = Measurement(name, message)
            with self._lock:
                frames = self._messages[name]
                if message.header.frame_id not in frames and len(frames) >= _FRAMES:
                    frames.clear()
                kept = frames.setdefault(message.header.frame_id, deque(maxlen=_KEPT))
                kept.append(measurement)

        return keep

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _topic(self, name: str) -> str:
        return self._subscriptions[name].topic

    def _nearest(self, name: str, at: float) -> list[Measurement]:
        """Return the measurement of each sensor nearest to a time in seconds."""
        with self._lock:
            frames = [list(kept) for kept in self._messages[name].values()]
        return [min(kept, key=lambda one: abs(one.seconds - at)) for kept in frames]

    def _missing(self, name: str, nearest: Sequence[Measurement], at: float, max_age: float) -> str:
        """Return why a source has no measurement for an image."""
        subscription = self._subscriptions[name]
        topic = subscription.topic
        if nearest:
            away = min(abs(one.seconds - at) for one in nearest)
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
        self, measurement: Measurement, view: CameraView, predicted: Any
    ) -> Anchors | PreparedAnchors:
        """Return the anchors of a measurement in an image."""
        if measurement.source in _INDEPENDENT:
            return self._independent(measurement, view)
        transform, content = self._transform(view, measurement), measurement.content
        if measurement.source == 'range':
            angle = measurement.message.field_of_view
            return range_anchors(content, angle, transform, view.camera, predicted)
        known, (height, width) = content
        return pixel_anchors(known, self._depth_camera(width, height), transform, view.camera)

    def _independent(self, measurement: Measurement, view: CameraView) -> PreparedAnchors:
        """Return the anchors of a scan or cloud; compute them once for the images of a view."""
        if measurement.ready is not None and measurement.ready[0] == view:
            return measurement.ready[1]
        transform = self._transform(view, measurement)
        anchors = point_anchors(measurement.content, transform, view.camera)
        prepared = prepare_anchors(anchors, view.size, view.limits)
        if len(anchors):  # else TF may be wrong still
            measurement.ready = view, prepared
        return prepared

    def _depth_camera(self, width: int, height: int) -> CameraModel:
        """Return the camera of a measured depth image of this size."""
        info = self._depth_info
        if info is None:
            raise SensorError(f'no camera_info on {self._topic("depth_info")}')
        matrix = info.p if info.p[0] > 0 else info.k
        return CameraModel.from_matrix(info.width, info.height, matrix).scaled_to(width, height)

    def _transform(self, view: CameraView, measurement: Measurement) -> NDArray[np.float64]:
        """Return the transform from the sensor to the image frame at the sensor's stamp."""
        source, target = measurement.header.frame_id, view.frame_id
        if target == source:
            return _SAME
        if self._listener is None:
            raise TransformError(f'no transform from {source} to {target}: {self._no_tf}')
        stamped = self._listener.at(target, source, measurement.header.stamp, 0.0)
        if stamped is None:
            raise _UntimelyError(
                f'no transform from {source} to {target} at the time of the measurement'
            )
        return transform_matrix(stamped.transform)


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
