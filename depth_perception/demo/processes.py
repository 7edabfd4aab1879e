# SPDX-License-Identifier: Apache-2.0
"""Run child processes that never outlive the demo."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from depth_perception.termination import Terminated, signals_go_to

#: Colour codes in ROS's messages if RCUTILS_COLORIZED_OUTPUT is 1.
_COLOURS = re.compile('\x1b\\[[0-9;]*m')
#: Seconds that a child has to end after SIGINT.
PATIENCE = 15.0
#: Signals that end the demo.
_ENDING = (signal.SIGINT, signal.SIGTERM)


def isolate_ros() -> None:
    """Isolate the demo in a ROS domain on this machine only, unless the user chose one."""
    # The ports of domains up to 100 are below Linux's ephemeral ports.
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randrange(1, 101)))
    if 'ROS_LOCALHOST_ONLY' not in os.environ:  # the older name: ROS warns if both are set
        os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


class Child:
    """A process and its stderr, which goes to a file because a full pipe would block it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(command, stderr=self._said)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """0 after success, negative if a signal killed the process, None while it runs."""
        return self._process.poll()

    def ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def failed(self) -> bool:
        """Return whether the process has ended with an error."""
        return self._process.poll() not in (None, 0)

    def complaint(self) -> str:
        """Return the last error message, or the last line if it ended without one."""
        # Open the file again: the child writes at the position of this file descriptor.
        with open(f'/proc/self/fd/{self._said.fileno()}', errors='replace') as file:
            lines = [_COLOURS.sub('', line).strip() for line in file if line.strip()]
        errors = [line for line in lines if line.startswith(('[ERROR]', '[FATAL]'))]
        if errors:
            return errors[-1].split(']: ', 1)[-1]
        return lines[-1] if lines and self.ended() else ''

    def end(self) -> None:
        """End the process with SIGINT; kill it if it does not end in time."""
        if not self.ended():
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


@contextmanager
def child(
    module: str,
    *arguments: str,
    remaps: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """Run a Python module as a process, which ends with the context."""
    ros = [word for old, new in (remaps or {}).items() for word in ('-r', f'{old}:={new}')]
    ros += [
        word for name, value in (parameters or {}).items() for word in ('-p', f'{name}:={value}')
    ]
    process = None
    try:
        with _interrupted_later():
            process = Child(
                [sys.executable, '-m', module, *arguments, *(['--ros-args', *ros] if ros else [])]
            )
        yield process
    finally:
        if process is not None:
            with _uninterrupted():
                process.end()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Delay signals while a child is starting, until the child can be ended."""
    pending: list[int] = []
    with signals_go_to(lambda number, _frame: pending.append(number), _ENDING):
        yield
    if pending:
        raise Terminated if pending[0] == signal.SIGTERM else KeyboardInterrupt


def _uninterrupted() -> AbstractContextManager[None]:
    """Ignore signals, so that a second Ctrl-C does not leave a child running."""
    return signals_go_to(signal.SIG_IGN, _ENDING)
