# SPDX-License-Identifier: Apache-2.0
"""End on SIGINT or SIGTERM between two frames instead of in the middle of one.

An exception raised by a signal handler could be swallowed by a callback or destructor, or could
leave a lock of the page's server locked, so that the server never ends.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds between two checks during a wait.
_LOOK = 0.2


class Ending:
    """Context that notes the first signal; a second signal raises `KeyboardInterrupt`.

    Enter it in the main thread, where Python handles signals. As in ROS nodes, SIGINT is handled
    even if it was ignored before, for example in background jobs of a script.

    Attributes:
        asked: whether a signal came. A plain attribute instead of an `Event`, because a handler
            must not take a lock that the interrupted code may hold.
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
        """Wait until a time of `time.monotonic()`, or until a signal comes."""
        while not self.asked and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True
