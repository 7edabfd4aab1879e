# SPDX-License-Identifier: Apache-2.0
"""One slot between the callback and the worker: the newest frame wins."""
from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """A queue of length one that replaces what nobody has taken.

    A slow consumer thus always works on the newest item and never falls behind.
    """

    def __init__(self) -> None:
        self._item: Item | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Leave an item; True if it replaced one that was not taken."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
        return replaced

    def take(self, timeout: float | None = None) -> Item | None:
        """Wait for an item and take it; None after the timeout (seconds) or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = (None, None) if self._closed else (self._item, None)
        return item

    def close(self) -> None:
        """Wake the consumer for good and forget what was left."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()

    @property
    def waiting(self) -> bool:
        """Whether there is an item to take."""
        return self._item is not None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed
