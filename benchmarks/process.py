# SPDX-License-Identifier: Apache-2.0
"""Preparation of processes that measure over DDS."""

from __future__ import annotations

import signal

from depth_perception.demo.processes import isolate_ros
from depth_perception.ros.transport import prefer_large_shared_memory


def prepare_process() -> None:
    """Make SIGTERM clean up like Ctrl-C; isolate DDS and give it room for images.

    Call it before rclpy.init; child processes inherit the DDS settings.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    isolate_ros()
    prefer_large_shared_memory()
