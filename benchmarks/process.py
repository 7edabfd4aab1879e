# SPDX-License-Identifier: Apache-2.0
"""How the process of a measurement over DDS begins."""
from __future__ import annotations

import signal

from depth_perception.demo.processes import isolate_ros
from depth_perception.ros.transport import prefer_large_shared_memory


def prepare_process() -> None:
    """SIGTERM cleans up as Ctrl-C does; DDS is apart from others and has room for images.

    Before rclpy.init; child processes inherit the choices about DDS.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    isolate_ros()
    prefer_large_shared_memory()
