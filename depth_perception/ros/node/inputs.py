# SPDX-License-Identifier: Apache-2.0
"""The inputs of the node: images and camera_info, by the conventions of image_transport.

Remapping `image` is enough: compressed images are on `<image>/compressed`, and the calibration is
`camera_info` in the namespace of the images. A remapping of `image/compressed` or `camera_info`
takes precedence. Because a remapping of `camera_info` to itself cannot be detected, the node also
subscribes to that name if nobody publishes `camera_info` next to the images.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_perception.ros.conversions.topics import DEPTH, PREVIEW, PREVIEW_JPEG
from depth_perception.ros.node.subscriptions import AdaptiveSubscription

IMAGE, COMPRESSED, INFO = 'image', 'image/compressed', 'camera_info'
_TRANSPORTS = {'sensor_msgs/msg/Image': 'raw', 'sensor_msgs/msg/CompressedImage': 'compressed'}
#: Largest number of topics listed when images are on other topics than the requested one.
_NAMED = 3
#: Queue several: the one with the same stamp as an image is not always the newest.
_INFOS = 10
_NO_CAMERA = ('compressedDepth', f'/{DEPTH}', f'/{PREVIEW}', f'/{PREVIEW_JPEG}')


class MessageSink(Protocol):
    """Receiver of the messages; called in the executor's thread."""

    def on_image(self, message: Image | CompressedImage) -> None:
        """Receive an image."""

    def on_camera_info(self, message: CameraInfo) -> None:
        """Receive a calibration."""

    def on_lost(self, count: int) -> None:
        """Receive a number of images that the middleware reports as lost."""


class Inputs:
    """The subscriptions to images and camera_info.

    Args:
        node: the subscribing node.
        compressed: whether the images are compressed.
        receiver: receives the messages.

    Attributes:
        image, info: the subscriptions.

    Raises:
        QosError: a QoS override of a topic cannot be used.
    """

    def __init__(self, node: Node, compressed: bool, receiver: MessageSink) -> None:
        self._node = node
        self._receiver = receiver
        # Subscribe before the image: rclpy takes simultaneous messages in order of subscription.
        self.info = self._subscribe_info(camera_info_topic(node, compressed))
        try:
            self.image = self._subscribe(
                CompressedImage if compressed else Image,
                image_topic(node, compressed),
                receiver.on_image,
                lost=receiver.on_lost,
            )
        except Exception:
            self.info.destroy()
            raise

    @property
    def has_info_publisher(self) -> bool:
        """Whether camera_info has a publisher."""
        return self.info.publishers > 0

    @property
    def is_rectified(self) -> bool:
        """Whether the images are rectified according to the name of their topic."""
        return any(part.startswith('image_rect') for part in self.image.topic.split('/'))

    def adapt(self, has_info: bool) -> None:
        """Adapt to the current publishers.

        Args:
            has_info: whether any camera_info was received; if not, look for another topic.
        """
        for subscription in (self.image, self.info):
            subscription.adapt()
        if not has_info:
            self._look_for_info()

    def suspend(self) -> None:
        """Unsubscribe until `resume`; the publishers stay visible."""
        for subscription in (self.image, self.info):
            subscription.destroy()

    def resume(self) -> None:
        """Subscribe again."""
        for subscription in (self.info, self.image):
            subscription.resume()

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in (self.image, self.info):
            subscription.destroy()

    def _look_for_info(self) -> None:
        """Subscribe to `camera_info` itself if nobody publishes it next to the images."""
        own, beside = self._node.resolve_topic_name(INFO), self.info.topic
        if own == beside or self.info.publishers or not self._node.count_publishers(own):
            return
        self._node.get_logger().info(f'nobody publishes {beside}, so {own} is taken')
        self.info.destroy()
        self.info = self._subscribe_info(INFO)

    def _subscribe_info(self, topic: str) -> AdaptiveSubscription:
        return self._subscribe(
            CameraInfo, topic, self._receiver.on_camera_info, depth=_INFOS, latched=True
        )

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], **options: Any
    ) -> AdaptiveSubscription:
        return AdaptiveSubscription(self._node, kind, topic, callback, **options)


def image_topic(node: Node, compressed: bool) -> str:
    """Return the topic of the images."""
    if not compressed:
        return IMAGE
    if _is_remapped(node, COMPRESSED):
        return COMPRESSED
    base = node.resolve_topic_name(IMAGE)
    # A full name is used as given.
    return base if base.endswith('compressed') else f'{base}/compressed'


def camera_info_topic(node: Node, compressed: bool) -> str:
    """Return the camera_info topic of these images."""
    if _is_remapped(node, INFO):
        return INFO
    images = node.resolve_topic_name(image_topic(node, compressed))
    images = images.removesuffix('/compressed') if compressed else images
    return f'{images.rpartition("/")[0]}/{INFO}'


def advised(misfit: str, topic: str) -> str:
    """Return a misfit of an image topic's publisher, with the remedy."""
    if misfit and topic.endswith('compressedDepth'):
        return f'{misfit}; compressedDepth is a depth image: name the topic of a colour image'
    for kind, transport in _TRANSPORTS.items():
        if misfit.startswith(f'its publisher sends {kind},'):
            return f'{misfit}: set image_transport to {transport}'
    return misfit


def images_elsewhere(node: Node, topic: str) -> str:
    """Return a text with other topics that have images and the remedy, or ''."""
    found = {
        name: kinds[0]
        for name, kinds in node.get_topic_names_and_types()
        if kinds[0] in _TRANSPORTS and _is_camera(node, name)
    }
    own = topic.removesuffix('/compressed')
    sibling = own if own != topic else f'{topic}/compressed'
    if sibling in found:
        transport = _TRANSPORTS[found[sibling]]
        return f'images are on {sibling}: set image_transport to {transport}'

    def likeness(name: str) -> tuple[bool, float, str]:
        return 'depth' in name.lower(), -difflib.SequenceMatcher(None, topic, name).ratio(), name

    names = sorted(found, key=likeness)
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return f'images are on {", ".join(names[:_NAMED])}{more}' if names else ''


def _is_camera(node: Node, topic: str) -> bool:
    """Return whether this topic has a publisher and is not named like a depth node's output."""
    return not topic.endswith(_NO_CAMERA) and node.count_publishers(topic) > 0


def _is_remapped(node: Node, name: str) -> bool:
    return node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True)
