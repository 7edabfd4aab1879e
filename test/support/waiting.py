# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition, also on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Generous: discovery on a machine at a load of ten takes tens of seconds.
PATIENCE = 120.0


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE, what: str = '') -> Any:
    """Poll until the condition is true; return its value. Fail after the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f'timeout of {timeout:.0f} s while waiting for {what or condition}')
