# SPDX-License-Identifier: Apache-2.0
"""Names of the node's topics (relative), and of the node in diagnostics."""

from __future__ import annotations

DEPTH, INFO, POINTS, PREVIEW, SCAN, CONFIDENCE = (
    'depth/image',
    'depth/camera_info',
    'depth/points',
    'depth/image_color',
    'scan',
    'depth/confidence',
)
#: Compressed depth image and preview, with image_transport's names.
DEPTH_PNG, PREVIEW_JPEG = f'{DEPTH}/compressedDepth', f'{PREVIEW}/compressed'
#: Topics of the sensors that correct depth.
ANCHOR_SCAN, ANCHOR_RANGE, ANCHOR_POINTS, ANCHOR_DEPTH, ANCHOR_DEPTH_INFO = (
    'anchors/scan',
    'anchors/range',
    'anchors/points',
    'anchors/depth',
    'anchors/depth/camera_info',
)
INPUTS = (
    'image',
    'image/compressed',
    'camera_info',
    ANCHOR_SCAN,
    ANCHOR_RANGE,
    ANCHOR_POINTS,
    ANCHOR_DEPTH,
    ANCHOR_DEPTH_INFO,
)
#: Outputs with any network, and all: confidence only with a network that gives it.
ALWAYS = (INFO, DEPTH, POINTS, PREVIEW, SCAN, DEPTH_PNG, PREVIEW_JPEG)
OUTPUTS = (*ALWAYS, CONFIDENCE)
#: Name of the node of `replay_check`, which a replay waits for.
CHECK = 'replay_check'
#: Topic that has a publisher as soon as `replay_check` receives the node's outputs.
READY = 'replay_check/ready'


def diagnostics_name(namespace: str, node_name: str) -> str:
    """Return the node's name with its namespace, to identify the camera: `front/depth_node`."""
    return f'{namespace}/{node_name}'.lstrip('/')
