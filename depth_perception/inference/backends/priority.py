# SPDX-License-Identifier: Apache-2.0
"""Work that gives way to the frames of the cameras."""
from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar('Result')
#: Niceness that leaves a tenth of a contended core.
_LOW = 10
#: The least that there is.
_LEAST = 19


def only_when_idle() -> None:
    """Run this thread, and those that it starts, when no other wants the core.

    With niceness alone they finish their slice of some milliseconds when another wakes up.
    """
    with contextlib.suppress(AttributeError, OSError):  # Linux alone; a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return
    os.nice(_LEAST)


def with_low_priority() -> None:
    """Run this process with little of the cores, but some."""
    os.nice(_LOW)


def gives_way(work: Callable[[], Result]) -> Result:
    """What the work returns, done in a thread with the least priority.

    A thread of its own, for a thread cannot raise its priority again. Not `only_when_idle`: on a
    machine without an idle moment others would wait for the interpreter, which that thread holds.
    """
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        if sys.platform == 'linux':  # elsewhere it would be the niceness of the whole process
            os.nice(_LEAST)
        try:
            done.append(work())
        except BaseException as error:  # it belongs to the caller
            failed.append(error)

    thread = threading.Thread(target=run, name='gives_way', daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
