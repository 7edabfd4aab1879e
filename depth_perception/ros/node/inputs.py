# SPDX-License-Identifier: Apache-2.0
"""The inputs of the node: images and camera_info, by the conventions of image_transport.

One remapping, of `image`, is enough: compressed images are on `<image>/compressed`, and the
calibration is `camera_info` in its namespace. A remapping of these names themselves goes before;
one of `camera_info` to itself cannot be told from none, so the node takes that name too where
nobody publishes the other.
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
#: Topics that are named where there are images, but not on the one that was asked for.
_NAMED = 3
#: Several wait: the one with an image's own stamp need not be the newest.
_INFOS = 10
_NO_CAMERA = ('compressedDepth', f'/{DEPTH}', f'/{PREVIEW}', f'/{PREVIEW_JPEG}')


class MessageSink(Protocol):
    """Receiver of the messages; called in the executor's thread."""

    def on_image(self, message: Image | CompressedImage) -> None:
        """Receive an image."""

    def on_camera_info(self, message: CameraInfo) -> None:
        """Receive a calibration."""

    def on_lost(self, count: int) -> None:
        """Receive the number of images that the middleware reports as lost."""


class Inputs:
    """The subscriptions to images and camera_info.

    Args:
        node: that subscribes.
        compressed: whether the images are compressed.
        receiver: what takes the messages in.

    Attributes:
        image, info: the subscriptions.

    Raises:
        QosError: an override of a topic cannot be used.
    """

    def __init__(self, node: Node, compressed: bool, receiver: MessageSink) -> None:
        self._node = node
        self._receiver = receiver
        # Before the image: of messages that have come together rclpy takes them in this order.
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
        """Whether anybody publishes camera_info."""
        return self.info.publishers > 0

    @property
    def is_rectified(self) -> bool:
        """Whether the images are rectified, by the name of their topic."""
        return any(part.startswith('image_rect') for part in self.image.topic.split('/'))

    def adapt(self, has_info: bool) -> None:
        """Adapt to the current publishers.

        Args:
            has_info: whether any camera_info came; without, another topic is looked for.
        """
        for subscription in (self.image, self.info):
            subscription.adapt()
        if not has_info:
            self._look_for_info()

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
        return self._subscribe(CameraInfo, topic, self._receiver.on_camera_info, depth=_INFOS)

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
    # Whoever writes the whole name means it.
    return base if base.endswith('compressed') else f'{base}/compressed'


def camera_info_topic(node: Node, compressed: bool) -> str:
    """Return the topic of the calibration of these images."""
    if _is_remapped(node, INFO):
        return INFO
    images = node.resolve_topic_name(image_topic(node, compressed))
    images = images.removesuffix('/compressed') if compressed else images
    return f'{images.rpartition("/")[0]}/{INFO}'


def advised(misfit: str, topic: str) -> str:
    """Return why a publisher is not received, with the remedy."""
    if misfit and topic.endswith('compressedDepth'):
        return f'{misfit}; compressedDepth is a depth image: name the topic of a colour image'
    for kind, transport in _TRANSPORTS.items():
        if misfit.startswith(f'its publisher sends {kind},'):
            return f'{misfit}: set image_transport to {transport}'
    return misfit


def images_elsewhere(node: Node, topic: str) -> str:
    """Return which other topics have images, with the remedy, or ''."""
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
    """Return whether these images have a publisher that is not a depth node."""
    return not topic.endswith(_NO_CAMERA) and node.count_publishers(topic) > 0


def _is_remapped(node: Node, name: str) -> bool:
    return node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True)
