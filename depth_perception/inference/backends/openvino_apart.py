# SPDX-License-Identifier: Apache-2.0
"""Compile with OpenVINO in another process, which does not block this interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from depth_perception.inference.backends.beside import CompileError

#: The module that compiles.
CHILD = 'depth_perception.inference.backends.openvino_child'
#: Outputs to compile, as an argument of the process.
DEPTH, CONFIDENCE = 'depth', 'confidence'
#: Priorities to try one after the other, with their timeouts in seconds: on a machine that is never
#: idle, priority idle alone would wait forever.
Tries = tuple[tuple[str, float], ...]
TRIES: Tries = (('idle', 30.0), ('low', 600.0))
#: The same for a model without which no frame can be processed.
AT_ONCE: Tries = (('usual', 600.0),)


def compile_apart(
    weights: Path,
    checksum: str,
    precision: str,
    size: tuple[int, int],
    file: Path,
    tries: Tries | None = None,
    has_confidence: bool = False,
) -> None:
    """Compile in a separate process (`openvino_child`) and wait for its file.

    Raises:
        CompileError: the process did not write the file.
    """
    words = [
        sys.executable,
        '-m',
        CHILD,
        str(weights),
        checksum,
        precision,
        *map(str, size),
        str(file),
        CONFIDENCE if has_confidence else DEPTH,
    ]
    tries = tries or TRIES
    for priority, seconds in tries:
        if _finished([*words, priority], seconds, one_thread=tries is not AT_ONCE):
            return
    raise CompileError(f'it took more than {tries[-1][1]:.0f} s')


def _finished(words: list[str], seconds: float, one_thread: bool) -> bool:
    """Run a process; return whether it finished in time, and kill it otherwise."""
    # One thread leaves the other cores free; it does not limit the threads of the model later.
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
        **({'OMP_NUM_THREADS': '1'} if one_thread else {}),
    }
    child = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return False
    finally:
        with child:  # closes its pipes
            said = child.stderr.read() if child.stderr else ''
    if child.returncode:
        raise CompileError((said.strip().splitlines() or [f'exit code {child.returncode}'])[-1])
    return True
