# SPDX-License-Identifier: Apache-2.0
"""How a process of this package treats SIGINT and SIGTERM: it ends with 0, without a word."""
from __future__ import annotations

import os
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def quit_at_once_on_signals() -> None:
    """Importing torch takes seconds; a signal in that time needs no clean-up and no traceback."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


def ignore_signals() -> None:
    """A second signal must not interrupt the clean-up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
