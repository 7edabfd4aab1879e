# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the demo."""
from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from depth_perception.termination import Terminated

#: What ROS puts around its messages where RCUTILS_COLORIZED_OUTPUT is 1.
_COLOURS = re.compile('\x1b\\[[0-9;]*m')
#: Seconds that a child has to end after SIGINT.
PATIENCE = 15.0


def isolate_ros() -> None:
    """Keep the demo to itself: a domain of its own on this machine, unless the user chose one."""
    # Domains up to 100 need no ports that Linux may have given away.
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randrange(1, 101)))
    if 'ROS_LOCALHOST_ONLY' not in os.environ:  # its older name, of which ROS warns beside the new
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


class Child:
    """A process and what it says on stderr, which goes to a file: a full pipe would stop it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(command, stderr=self._said)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """0 when it ended well, negative when a signal killed it, None while it runs."""
        return self._process.poll()

    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def failed(self) -> bool:
        """Whether it is over, and not well."""
        return self._process.poll() not in (None, 0)

    def complaint(self) -> str:
        """Its last error message; the last line when it ended without one."""
        # Of its own: the child writes where this file descriptor points.
        with open(f'/proc/self/fd/{self._said.fileno()}', errors='replace') as file:
            lines = [_COLOURS.sub('', line).strip() for line in file if line.strip()]
        errors = [line for line in lines if line.startswith(('[ERROR]', '[FATAL]'))]
        if errors:
            return errors[-1].split(']: ', 1)[-1]
        return lines[-1] if lines and self.ended() else ''

    def end(self) -> None:
        """End it with SIGINT; kill it if that does not help."""
        if not self.ended():
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


@contextmanager
def child(module: str, *arguments: str,
          remaps: Mapping[str, str] | None = None,
          parameters: Mapping[str, str] | None = None) -> Iterator[Child]:
    """A Python module as a process, which ends with the context."""
    ros = [word for old, new in (remaps or {}).items() for word in ('-r', f'{old}:={new}')]
    ros += [word for name, value in (parameters or {}).items()
            for word in ('-p', f'{name}:={value}')]
    process = None
    try:
        with _interrupted_later():
            process = Child([sys.executable, '-m', module, *arguments,
                             *(['--ros-args', *ros] if ros else [])])
        yield process
    finally:
        if process is not None:
            with _uninterrupted():
                process.end()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """A signal in the middle of starting a child waits until somebody knows of the child."""
    pending: list[int] = []
    with _signals_go_to(lambda number, _frame: pending.append(number)):
        yield
    if pending:
        raise Terminated if pending[0] == signal.SIGTERM else KeyboardInterrupt


def _uninterrupted() -> AbstractContextManager[None]:
    """A second Ctrl-C must not leave a child behind."""
    return _signals_go_to(signal.SIG_IGN)


@contextmanager
def _signals_go_to(handler: Callable[[int, Any], Any] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
