# SPDX-License-Identifier: Apache-2.0
"""How a process of this package treats SIGINT and SIGTERM: it ends with 0, without a word."""
from __future__ import annotations

import os
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
