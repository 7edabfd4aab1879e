# SPDX-License-Identifier: Apache-2.0
"""Handle SIGINT and SIGTERM in the processes of this package: end silently with exit code 0."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds for other processes to read from shared memory that the node is gone.
_FAREWELL = 0.2
_left_to_ros = threading.Event()


def quit_at_once_on_signals() -> None:
    """End the process at once on a signal: for the seconds that importing torch takes."""
    _left_to_ros.clear()
    for number in _SIGNALS:
        signal.signal(number, _quit)


def leave_signals_to_ros() -> None:
    """Leave signals to rclpy: they end its context, and the code that spins it cleans up.

    Call this after `rclpy.init`, whose handler also runs ours. If a process does not destroy its
    node, others still see its topics for 20 s.
    """
    _left_to_ros.set()


def _quit(*_: object) -> None:
    if not _left_to_ros.is_set():
        os._exit(0)


def ignore_signals() -> None:
    """Ignore signals, so that a second one does not interrupt the clean-up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """Flush the logs and end the process, without the interpreter's own clean-up.

    That clean-up takes a second or two for torch alone, and `ros2 launch` kills a process after
    five seconds.
    """
    with contextlib.suppress(Exception):  # the log file's last lines, after a signal ended ROS
        from rclpy.impl.implementation_singleton import rclpy_implementation

        rclpy_implementation.rclpy_logging_fini()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The middleware's last messages may still be in shared memory, which ends with the process.
    time.sleep(_FAREWELL)
    os._exit(code)
