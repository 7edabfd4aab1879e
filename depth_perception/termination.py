# SPDX-License-Identifier: Apache-2.0
"""Turn SIGTERM and SIGHUP into an exception, so that a command cleans up as after Ctrl-C.

SIGHUP comes when the terminal is closed, or a connection over SSH ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

#: What `signal.signal` takes.
Handler = Callable[[int, Any], Any] | signal.Handlers


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM and SIGHUP in the block; must be entered in the main thread.

    An ignored SIGHUP stays ignored: so does nohup let a command live on.
    """
    numbers = [number for number in stopping_signals() if number != signal.SIGINT]
    with signals_go_to(_terminate, numbers):
        yield


@contextlib.contextmanager
def signals_go_to(handler: Handler, numbers: Iterable[int]) -> Iterator[None]:
    """Let a handler have these signals in the block; must be entered in the main thread."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for an end: SIGTERM, SIGINT, and SIGHUP unless ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if ignored else (signal.SIGHUP,)))


def leave_terminal(number: int) -> None:
    """After SIGHUP write what would go to the closed terminal nowhere, instead of failing."""
    if number != signal.SIGHUP:
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            if _is_terminal(descriptor):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return a shell's exit code for a process that a signal ended: 130, 143 or 129."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


def _is_terminal(descriptor: int) -> bool:
    """Return whether a descriptor is a terminal, by its name: isatty denies a closed one."""
    return os.path.realpath(f'/dev/fd/{descriptor}').startswith(('/dev/pts/', '/dev/tty'))


def _terminate(number: int, frame: FrameType | None) -> None:
    leave_terminal(number)
    raise Terminated(number)
