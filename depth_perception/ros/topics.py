# SPDX-License-Identifier: Apache-2.0
"""The relative names of the node's outputs."""
from __future__ import annotations

DEPTH, INFO, POINTS, PREVIEW, SCAN = (
    'depth/image', 'depth/camera_info', 'depth/points', 'depth/image_color', 'scan')
OUTPUTS = (INFO, DEPTH, POINTS, PREVIEW, SCAN)
