# SPDX-License-Identifier: Apache-2.0
"""Run commands of the project as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(module: str, *arguments: str) -> list[str]:
    """Return the words of `python -m module arguments`."""
    return [sys.executable, '-m', module, *arguments]


def hears_signals() -> None:
    """Let a child (`preexec_fn`) heed what `nohup` and a shell's `&` have descendants ignore."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen]:
    """Start a process that is killed at the end; stdout includes stderr."""
    child = subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def ends_quietly_on(number: int, child: subprocess.Popen) -> None:
    """Check that a signal ends the process with 0 and without error messages."""
    child.send_signal(number)
    output, _ = child.communicate(timeout=30)
    assert child.returncode == 0, output
    assert 'Traceback' not in output and 'rror' not in output, output
