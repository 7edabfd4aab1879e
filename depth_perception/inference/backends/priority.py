# SPDX-License-Identifier: Apache-2.0
"""Run background work at a lower priority than the frames of the cameras."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar('Result')
#: Niceness that gets about a tenth of a contended core.
_LOW = 10
#: Niceness of the lowest priority.
_LEAST = 19


def only_when_idle() -> None:
    """Run this thread, and those that it starts, only when no other thread needs the core.

    With niceness alone, they would finish their time slice of some milliseconds first.
    """
    with contextlib.suppress(AttributeError, OSError):  # only on Linux; a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return
    os.nice(_LEAST)


def with_low_priority() -> None:
    """Run this process at low priority."""
    os.nice(_LOW)


def gives_way(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread with the lowest priority, and return its result.

    A new thread is needed because a thread cannot raise its priority again. `only_when_idle` is not
    used: on a machine that is never idle, other threads would wait for the interpreter lock.
    """
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        if sys.platform == 'linux':  # elsewhere niceness applies to the whole process
            os.nice(_LEAST)
        try:
            done.append(work())
        except BaseException as error:  # raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name='gives_way', daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
