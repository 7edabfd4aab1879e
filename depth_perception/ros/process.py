# SPDX-License-Identifier: Apache-2.0
"""How a process of this package treats SIGINT and SIGTERM: it ends with 0, without a word."""
from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds for others to read that the node is gone, before its memory is.
_FAREWELL = 0.2
_left_to_ros = threading.Event()


def quit_at_once_on_signals() -> None:
    """Importing torch takes seconds; a signal in that time needs no clean-up and no traceback."""
    _left_to_ros.clear()
    for number in _SIGNALS:
        signal.signal(number, _quit)


def leave_signals_to_ros() -> None:
    """From now on a signal ends rclpy's context, and what spins it cleans up.

    To be called after `rclpy.init`, whose handler runs ours too. A process that does not take its
    node down leaves a ghost behind: for 20 s others still see its topics.
    """
    _left_to_ros.set()


def _quit(*_: object) -> None:
    if not _left_to_ros.is_set():
        os._exit(0)


def ignore_signals() -> None:
    """A second signal must not interrupt the clean-up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """End the process once all is closed: what was said is written, nothing else is tidied up.

    The interpreter's own end takes a second or two of a core for torch alone; `ros2 launch` kills
    what has not gone after five.
    """
    with contextlib.suppress(Exception):  # the log file's last lines, after a signal ended ROS
        from rclpy.impl.implementation_singleton import rclpy_implementation

        rclpy_implementation.rclpy_logging_fini()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The middleware's farewell may wait in shared memory, which goes with this process.
    time.sleep(_FAREWELL)
    os._exit(code)
