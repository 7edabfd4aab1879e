# SPDX-License-Identifier: Apache-2.0
"""An end on SIGINT or SIGTERM that comes between two frames, not in the middle of one.

An exception that a signal raises anywhere can be swallowed (by a callback or a destructor, which
have nobody to pass it to) or leave a lock of the page's server held, for which its end then waits.
"""
from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds after which a wait looks again.
_LOOK = 0.2


class Ending:
    """While entered, notes the first signal; a second one raises `KeyboardInterrupt` after all.

    To be entered in the main thread, where Python handles signals. A SIGINT that was ignored, as in
    jobs that a script starts in the background, counts too, as it does for ROS nodes.

    Attributes:
        asked: whether one came. A plain attribute, not an `Event`: a handler must take no lock
            that the interrupted code may hold.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Ending:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def sleep_until(self, moment: float) -> None:
        """Wait for a time of `time.monotonic()`, at most until a signal comes."""
        while not self.asked and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True
