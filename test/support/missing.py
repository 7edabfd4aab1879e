# SPDX-License-Identifier: Apache-2.0
"""Commands in an environment that lacks some packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_RUN = """import runpy, sys
for name in {missing!r}:
    sys.modules[name] = None
sys.argv = [{module!r}, *{words!r}]
runpy.run_module({module!r}, run_name='__main__', alter_sys=True)
"""


def run_without(missing: tuple[str, ...], module: str, *words: str) -> subprocess.CompletedProcess:
    """Run `python -m MODULE WORDS` in an interpreter that cannot import the missing modules."""
    code = _RUN.format(missing=missing, module=module, words=words)
    return subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )


def run_bare(module: str, *words: str) -> subprocess.CompletedProcess:
    """Run `python -m MODULE WORDS` with the standard library only."""
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return subprocess.run(
        [sys.executable, '-S', '-m', module, *words],
        cwd=ROOT,
        timeout=300,
        capture_output=True,
        text=True,
        env=environment,
    )
