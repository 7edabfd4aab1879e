# SPDX-License-Identifier: Apache-2.0
"""A slot between the callback and the worker that keeps only the newest frame."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')


class Mailbox(Generic[Item]):
    """A queue of length one: a new item replaces one that was not taken.

    A slow consumer therefore always gets the newest item and never falls behind.
    """

    def __init__(self) -> None:
        self._item: Item | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Put an item; return True if it replaced one that was not taken."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
        return replaced

    def take(self, timeout: float | None = None) -> Item | None:
        """Wait for an item and take it; None after the timeout (seconds) or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = (None, None) if self._closed else (self._item, None)
        return item

    def close(self) -> None:
        """Close the mailbox: drop the item and wake the consumer."""
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
