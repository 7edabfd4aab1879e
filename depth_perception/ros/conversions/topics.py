# SPDX-License-Identifier: Apache-2.0
"""The names that the node goes by: inputs and outputs, relative, and itself in diagnostics."""
from __future__ import annotations

DEPTH, INFO, POINTS, PREVIEW, SCAN = (
    'depth/image', 'depth/camera_info', 'depth/points', 'depth/image_color', 'scan')
#: The same of `depth/image` and `depth/image_color` by the names that image_transport gives them.
DEPTH_PNG, PREVIEW_JPEG = f'{DEPTH}/compressedDepth', f'{PREVIEW}/compressed'
#: Of the sensors that correct depth.
ANCHOR_SCAN, ANCHOR_RANGE, ANCHOR_POINTS, ANCHOR_DEPTH, ANCHOR_DEPTH_INFO = (
    'anchors/scan', 'anchors/range', 'anchors/points', 'anchors/depth', 'anchors/depth/camera_info')
INPUTS = ('image', 'image/compressed', 'camera_info', ANCHOR_SCAN, ANCHOR_RANGE, ANCHOR_POINTS,
          ANCHOR_DEPTH, ANCHOR_DEPTH_INFO)
OUTPUTS = (INFO, DEPTH, POINTS, PREVIEW, SCAN, DEPTH_PNG, PREVIEW_JPEG)
#: The node of `replay_check`, for which a replay waits.
CHECK = 'replay_check'
#: Of the check: has a publisher once the node's outputs are sure to reach it.
READY = 'replay_check/ready'


def diagnostics_name(namespace: str, node_name: str) -> str:
    """With the namespace, that tells cameras apart: `front/depth_node`."""
    return f'{namespace}/{node_name}'.lstrip('/')
