# SPDX-License-Identifier: Apache-2.0
"""The version of this code."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """Return the abbreviated commit of this source, or '' outside a git checkout."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ['git', '-C', str(folder), 'rev-parse', '--short', 'HEAD'],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''
