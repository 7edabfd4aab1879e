# SPDX-License-Identifier: Apache-2.0
"""The topics that the node listens to, by the conventions of image_transport.

One remapping, of `image`, is enough: compressed images are beside it below `/compressed`, and the
calibration is `camera_info` in its namespace. A remapping of these names themselves goes before;
one of `camera_info` to itself cannot be told from none, so the node takes that name too where
nobody publishes the other.
"""
from __future__ import annotations

import difflib

from rclpy.node import Node

from depth_perception.ros.topics import DEPTH, PREVIEW

IMAGE, COMPRESSED, INFO = 'image', 'image/compressed', 'camera_info'
_TRANSPORTS = {'sensor_msgs/msg/Image': 'raw', 'sensor_msgs/msg/CompressedImage': 'compressed'}
#: Topics that are named where there are images, but not on the one that was asked for.
_NAMED = 3
_NO_CAMERA = ('compressedDepth', f'/{DEPTH}', f'/{PREVIEW}')


def image_topic(node: Node, compressed: bool) -> str:
    """Where the images come from."""
    if not compressed:
        return IMAGE
    if _is_remapped(node, COMPRESSED):
        return COMPRESSED
    base = node.resolve_topic_name(IMAGE)
    # Whoever writes the whole name means it.
    return base if base.endswith('compressed') else f'{base}/compressed'


def camera_info_topic(node: Node, compressed: bool) -> str:
    """Where the calibration of these images comes from."""
    if _is_remapped(node, INFO):
        return INFO
    images = node.resolve_topic_name(image_topic(node, compressed))
    images = images.removesuffix('/compressed') if compressed else images
    return f'{images.rpartition("/")[0]}/{INFO}'


def advised(misfit: str, topic: str) -> str:
    """Why a publisher is not heard, with what to do about it."""
    if misfit and topic.endswith('compressedDepth'):
        return f'{misfit}; compressedDepth is a depth image: name the topic of a colour image'
    for kind, transport in _TRANSPORTS.items():
        if misfit.startswith(f'its publisher sends {kind},'):
            return f'{misfit}: set image_transport to {transport}'
    return misfit


def images_elsewhere(node: Node, topic: str) -> str:
    """Where there are images while nobody publishes this topic, with what to do; or ''."""
    found = {name: kinds[0] for name, kinds in node.get_topic_names_and_types()
             if kinds[0] in _TRANSPORTS and _is_camera(node, name)}
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
    """Whether somebody publishes these images, and they are no output of a depth node."""
    return not topic.endswith(_NO_CAMERA) and node.count_publishers(topic) > 0


def _is_remapped(node: Node, name: str) -> bool:
    return node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True)
