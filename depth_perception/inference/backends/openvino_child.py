# SPDX-License-Identifier: Apache-2.0
"""Compile a network for one input size and write the model to a file, as a process.

    python -m depth_perception.inference.backends.openvino_child \
        WEIGHTS CHECKSUM PRECISION HEIGHT WIDTH FILE OUTPUTS PRIORITY

Converting a network blocks the interpreter for tenths of a second at a time, so a running node
starts this process, with priority `idle` or `low`; a starting node waits for it, with priority
`usual`. The process ends with its parent, whose end it
detects by its standard input.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from depth_perception.errors import told
from depth_perception.inference.backends.beside import CompileError
from depth_perception.inference.backends.openvino_apart import CONFIDENCE
from depth_perception.inference.backends.priority import only_when_idle, with_low_priority


def compile_to_file(
    weights: str,
    checksum: str,
    precision: str,
    size: tuple[int, int],
    file: Path,
    has_confidence: bool = False,
) -> None:
    """Compile the network and write the model.

    Raises:
        CompileError: the weights file has changed, or the model cannot be written.
        WeightsError: the weights cannot be read.
    """
    from depth_perception.inference.backends import openvino, openvino_cache
    from depth_perception.inference.threads import share_the_cores
    from depth_perception.io.weights import load_weights

    share_the_cores()
    loaded = load_weights(weights)
    if loaded.checksum != checksum:
        raise CompileError(f'{weights} is no longer the file that was loaded')
    backend = openvino.OpenVino(loaded.network, precision, has_confidence=has_confidence)
    model = backend.compiled(size)
    if not openvino_cache.write(file, openvino.exported(model)):
        raise CompileError(f'{file} cannot be written')


def main(words: list[str]) -> int:
    """Run with these command-line arguments."""
    weights, checksum, precision, height, width, file, outputs, priority = words
    if priority == 'idle':
        only_when_idle()
    elif priority == 'low':
        with_low_priority()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        compile_to_file(
            weights,
            checksum,
            precision,
            (int(height), int(width)),
            Path(file),
            has_confidence=outputs == CONFIDENCE,
        )
    except Exception as error:  # one line for the parent process
        sys.stderr.write(f'{told(error)}\n')
        return 1
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock would block the interpreter's end
        pass
    os._exit(1)


if __name__ == '__main__':
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # skips the interpreter's clean-up, which takes a second
