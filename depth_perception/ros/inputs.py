# SPDX-License-Identifier: Apache-2.0
"""The topics that the node listens to, by the conventions of image_transport.

One remapping, of `image`, is enough: compressed images are beside it below `/compressed`, and the
calibration is `camera_info` in its namespace. A remapping of these names themselves goes before;
one of `camera_info` to itself cannot be told from none, so the node takes that name too where
nobody publishes the other.
"""
from __future__ import annotations

from rclpy.node import Node

IMAGE, COMPRESSED, INFO = 'image', 'image/compressed', 'camera_info'


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
    for kind, transport in (('CompressedImage', 'compressed'), ('Image', 'raw')):
        if misfit.startswith(f'its publisher sends sensor_msgs/msg/{kind},'):
            return f'{misfit}: set image_transport to {transport}'
    return misfit


def _is_remapped(node: Node, name: str) -> bool:
    return node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True)
