# SPDX-License-Identifier: Apache-2.0
"""The log of a run: `log.jsonl`, with one JSON object per line, and TensorBoard files."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.io.files import write_atomically
from depth_perception.reading import read_text
from depth_training.train.writing import writing

FILE = 'log.jsonl'


class Journal:
    """Append to the log; drop what a killed run wrote after its last checkpoint.

    Every line has `seconds`, the run's duration without dropped parts.

    Args:
        folder: folder of the run.
        step: last step to keep.
        tensorboard: also write TensorBoard files, if TensorBoard is installed.
    """

    def __init__(self, folder: Path, step: int = 0, tensorboard: bool = True) -> None:
        self._folder = folder
        kept = [row for row in read(folder) if row['step'] <= step] if step else []
        content = ''.join(json.dumps(row) + '\n' for row in kept)
        with writing('log', folder):
            write_atomically(folder / FILE, [content.encode()])
            self._file = (folder / FILE).open('a', encoding='utf-8')
            self._board = _summary_writer(folder, step) if tensorboard else None
        before = kept[-1].get('seconds', 0.0) if kept else 0.0
        self._start = time.monotonic() - before

    def write(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """Write one line; numbers are also written as curves `kind/name`."""
        seconds = round(time.monotonic() - self._start, 1)
        row = {'step': step, 'kind': kind, **values, 'seconds': seconds}
        with writing('log', self._folder):
            self._file.write(json.dumps(row) + '\n')
            self._file.flush()
            for name, value in values.items():
                if self._board and isinstance(value, (int, float)):
                    self._board.add_scalar(f'{kind}/{name}', value, step)

    def picture(self, step: int, name: str, rgb: NDArray[np.uint8]) -> None:
        """Write an image uint8 (H, W, 3) for TensorBoard."""
        if self._board:
            with writing('log', self._folder):
                self._board.add_image(name, rgb, step, dataformats='HWC')

    def close(self) -> None:
        """Flush and close the files."""
        with writing('log', self._folder):
            try:
                self._file.close()
            finally:
                if self._board:
                    self._board.close()


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's log, except for a truncated one."""
    rows = []
    file = folder / FILE
    for line in read_text(file).splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    if threading.excepthook is not _thread_failed:
        threading.excepthook = _thread_failed
    return SummaryWriter(folder / 'tensorboard', purge_step=step + 1 if step else None)


def _thread_failed(
    failure: threading.ExceptHookArgs,
    usual: Callable[[threading.ExceptHookArgs], Any] = threading.excepthook,
) -> None:
    """Print no traceback of TensorBoard's thread: the next call in ours raises the same error."""
    is_writer = type(failure.thread).__module__.partition('.')[0] == 'tensorboard'
    if not (is_writer and isinstance(failure.exc_value, OSError)):
        usual(failure)
