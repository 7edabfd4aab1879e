# SPDX-License-Identifier: Apache-2.0
"""Show progress: one line that is rewritten on a terminal, occasional lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

Item = TypeVar('Item')
#: Seconds before the first line in a log; smallest interval between later lines as a fraction of
#: the time so far, so that a long run does not fill the log.
LOG_EVERY, LOG_SHARE = 10.0, 0.1
#: Smallest interval between two updates on a terminal, seconds.
_TERMINAL_EVERY = 0.2


class Progress:
    """Count steps, and show how many are done and how long the rest will take.

    A context manager: the line on the terminal is removed at its end.

    Args:
        what: name of the work, such as `evaluate eigen_bts`.
        total: number of steps; None if unknown.
        unit: unit of the steps, such as ` images`.
        stream: where to write; None for standard error.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str = '',
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0
        self._what, self._total, self._unit = what, total, unit
        self._stream = stream or sys.stderr
        self._clock = clock
        self._start = self._spoke = clock()
        self._terminal = self._stream.isatty()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def step(self, count: int = 1) -> None:
        """Add completed steps."""
        self.done += count
        now = self._clock()
        wait = (
            _TERMINAL_EVERY if self._terminal else max(LOG_EVERY, LOG_SHARE * (now - self._start))
        )
        if now - self._spoke >= wait:
            self._spoke = now
            self._show(self.text(now - self._start))

    def say(self, text: str) -> None:
        """Write one permanent line."""
        self._clear()
        self._stream.write(f'{text}\n')
        self._stream.flush()

    def text(self, seconds: float) -> str:
        """Return the progress text after this many seconds."""
        if self._total is None:
            return f'{self._what}: {self.done}{self._unit}'
        said = f'{self._what}: {self.done} of {self._total}{self._unit}'
        if not self.done:
            return said
        return f'{said}, {duration(seconds * (self._total - self.done) / self.done)} left'

    def _show(self, text: str) -> None:
        if self._terminal:
            self._stream.write(f'\r{text[:78]}\033[K')
            self._shown = True
        else:
            self._stream.write(f'{text}\n')
        self._stream.flush()

    def _clear(self) -> None:
        if self._shown:
            self._stream.write('\r\033[K')
            self._stream.flush()
            self._shown = False


def tracked(items: Iterable[Item], what: str, unit: str = '') -> Iterator[Item]:
    """Yield the items, and show progress while they are consumed."""
    total = len(items) if isinstance(items, Sized) else None
    with Progress(what, total, unit) as progress:
        for item in items:
            yield item
            progress.step()


def duration(seconds: float) -> str:
    """Format a duration, such as `35 s`, `12 min` or `2.5 h`."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
