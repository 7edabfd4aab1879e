# SPDX-License-Identifier: Apache-2.0
"""Which version of this code made something."""
from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of this source, abbreviated; '' where it is no git checkout."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(['git', '-C', str(folder), 'rev-parse', '--short', 'HEAD'],
                              capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''
