# SPDX-License-Identifier: Apache-2.0
"""Keep repeated messages from flooding the log without hiding different ones."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Smallest time between two equal messages, seconds.
PERIOD = 5.0
#: Number of different messages that are remembered.
MEMORY = 64


class Throttle:
    """Allow the same text once per period, and a different text immediately."""

    def __init__(self, period: float = PERIOD, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = period
        self._clock = clock
        self._last: OrderedDict[str, float] = OrderedDict()

    def allows(self, text: str) -> bool:
        """Return whether this text may be logged now."""
        now = self._clock()
        if now - self._last.get(text, float('-inf')) < self._period:
            return False
        self._last[text] = now
        self._last.move_to_end(text)
        if len(self._last) > MEMORY:
            self._last.popitem(last=False)
        return True
