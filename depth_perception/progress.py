# SPDX-License-Identifier: Apache-2.0
"""How far some work is: one line that is rewritten on a terminal, a line now and then in a log."""
from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

Item = TypeVar('Item')
#: Seconds between two lines of a log: the first, and the share of the time so far that the others
#: take at least, so that a long run does not fill it.
LOG_EVERY, LOG_SHARE = 10.0, 0.1
#: Seconds between two changes of a terminal's line.
_TERMINAL_EVERY = 0.2


class Progress:
    """Counts steps and says how many are done and how long the rest will take.

    A context manager: the terminal's line is taken away at its end.

    Args:
        what: is done, such as `evaluate eigen_bts`.
        total: number of steps; None is unknown.
        unit: of a step, such as ` images`.
        stream: where to; standard error.
        clock: tells seconds.
    """

    def __init__(self, what: str, total: int | None, unit: str = '', stream: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
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
        """So many more steps are done."""
        self.done += count
        now = self._clock()
        wait = _TERMINAL_EVERY if self._terminal else max(
            LOG_EVERY, LOG_SHARE * (now - self._start))
        if now - self._spoke >= wait:
            self._spoke = now
            self._show(self.text(now - self._start))

    def say(self, text: str) -> None:
        """One line that stays."""
        self._clear()
        self._stream.write(f'{text}\n')
        self._stream.flush()

    def text(self, seconds: float) -> str:
        """What is said after so many seconds."""
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
    """The items, with progress as they are used up."""
    total = len(items) if isinstance(items, Sized) else None
    with Progress(what, total, unit) as progress:
        for item in items:
            yield item
            progress.step()


def duration(seconds: float) -> str:
    """Such as `35 s`, `12 min` or `2.5 h`."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
