# SPDX-License-Identifier: Apache-2.0
"""Preparation of processes that measure over DDS."""

from __future__ import annotations

import contextlib
import ctypes
import signal

from depth_perception.demo.processes import isolate_ros
from depth_perception.ros.transport import prefer_large_shared_memory

#: Options of glibc's malloc (malloc.h), and the largest values that it accepts.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER_TRIM, _LARGEST_MMAP_THRESHOLD = 2**31 - 1, 32 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let malloc keep freed memory, for a process that only sends or receives large messages.

    By default a process whose only large buffers are messages gives them back to the system after
    each message, and then takes 900 page faults and 1.4 ms for the next one of 1.2 MB: time of the
    camera or subscriber that a benchmark would attribute to the node.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)


def prepare_process() -> None:
    """Make SIGTERM clean up like Ctrl-C; isolate DDS and give it room for images.

    Call it before rclpy.init; child processes inherit the DDS settings.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    isolate_ros()
    prefer_large_shared_memory()
    keep_freed_memory()
