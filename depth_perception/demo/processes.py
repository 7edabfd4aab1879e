# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the demo."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

#: Seconds that a child has to end after SIGINT.
PATIENCE = 15.0


def isolate_ros() -> None:
    """Keep the demo to itself: a domain of its own on this machine, unless the user chose one."""
    # Domains up to 100 need no ports that Linux may have given away.
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randrange(1, 101)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


@contextmanager
def child(module: str, *arguments: str,
          remaps: Mapping[str, str] | None = None,
          parameters: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """A Python module as a process; ended with SIGINT, and killed if that does not help."""
    ros = [word for old, new in (remaps or {}).items() for word in ('-r', f'{old}:={new}')]
    ros += [word for name, value in (parameters or {}).items()
            for word in ('-p', f'{name}:={value}')]
    process = subprocess.Popen(
        [sys.executable, '-m', module, *arguments, *(['--ros-args', *ros] if ros else [])],
        stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
