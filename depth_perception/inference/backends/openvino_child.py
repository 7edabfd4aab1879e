# SPDX-License-Identifier: Apache-2.0
"""A process that compiles a network for one input size and writes the model to a file.

    python -m depth_perception.inference.backends.openvino_child \
        WEIGHTS CHECKSUM PRECISION HEIGHT WIDTH FILE

Converting a network holds the interpreter for tenths of a second at a time. A node at work has that
done here, at low priority; this process ends with the one that started it, whose end it notices at
its standard input.
"""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from depth_perception.errors import told
from depth_perception.inference.backends.beside import CompileError

#: Seconds that the work may take.
LIMIT = 600.0


def compile_apart(weights: Path, checksum: str, precision: str, size: tuple[int, int],
                  file: Path) -> None:
    """Run this module as a process and wait for its file.

    Raises:
        CompileError: it did not write the file.
    """
    words = [sys.executable, '-m', __name__, str(weights), checksum, precision,
             *map(str, size), str(file)]
    # One thread leaves the other cores to those at work; the model runs with as many as ever.
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
                   'OMP_NUM_THREADS': '1'}
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True, env=environment)
    try:
        child.wait(LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()
        raise CompileError(f'it took more than {LIMIT:.0f} s') from None
    finally:
        with child:  # closes its pipes
            said = child.stderr.read()
    if child.returncode:
        raise CompileError((said.strip().splitlines() or [f'exit code {child.returncode}'])[-1])


def compile_to_file(weights: str, checksum: str, precision: str, size: tuple[int, int],
                    file: Path) -> None:
    """Compile and write.

    Raises:
        CompileError: the weights are other ones now, or the file cannot be written.
        WeightsError: the weights cannot be read.
    """
    from depth_perception.inference.backends import openvino, openvino_cache
    from depth_perception.inference.threads import share_the_cores
    from depth_perception.io.weights import load_weights

    share_the_cores()
    loaded = load_weights(weights)
    if loaded.checksum != checksum:
        raise CompileError(f'{weights} is no longer the file that was loaded')
    model = openvino.OpenVino(loaded.network, precision).compiled(size)
    if not openvino_cache.write(file, openvino.exported(model)):
        raise CompileError(f'{file} cannot be written')


def main(words: list[str]) -> int:
    """What the words say, at low priority."""
    os.nice(10)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    weights, checksum, precision, height, width, file = words
    try:
        compile_to_file(weights, checksum, precision, (int(height), int(width)), Path(file))
    except Exception as error:  # one line for the process that waits
        sys.stderr.write(f'{told(error)}\n')
        return 1
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock the interpreter's end would wait for
        pass
    os._exit(1)


if __name__ == '__main__':
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # without the second that the interpreter takes to tidy up
