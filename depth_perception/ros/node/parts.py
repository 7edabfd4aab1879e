# SPDX-License-Identifier: Apache-2.0
"""The current parts of a depth node."""

from __future__ import annotations

from dataclasses import dataclass, field

from depth_perception.inference.protocol import Estimator
from depth_perception.ros.node.anchor_inputs import AnchorInputs
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.health import Health
from depth_perception.ros.node.inputs import Inputs
from depth_perception.ros.node.lazy_images import LazyImages
from depth_perception.ros.node.live_parameters import LiveParameters
from depth_perception.ros.node.publishers import DepthPublishers
from depth_perception.ros.node.scan_pose import ScanPoses
from depth_perception.ros.node.still_image import StillImage
from depth_perception.ros.node.worker import Worker


@dataclass
class Parts:
    """The parts and status of a node; changed only in the executor's thread.

    Attributes:
        parameters: the current parameters.
        health: the health record.
        problem: why the last transition failed, or why the node deactivated itself; or ''.
        enabled: False while paused by ~/enable.
        estimator, outputs, scan_poses: set while the node is configured, otherwise None.
        anchors: the sensors that correct depth; None if there are none or the node is not active.
        inputs, images, cameras, still, worker: set while the node is active, otherwise None.
    """

    parameters: LiveParameters
    health: Health = field(default_factory=Health)
    problem: str = ''
    enabled: bool = True
    estimator: Estimator | None = None
    outputs: DepthPublishers | None = None
    scan_poses: ScanPoses | None = None
    inputs: Inputs | None = None
    images: LazyImages | None = None
    cameras: Calibrations | None = None
    anchors: AnchorInputs | None = None
    still: StillImage | None = None
    worker: Worker | None = None
