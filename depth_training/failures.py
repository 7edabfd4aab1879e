# SPDX-License-Identifier: Apache-2.0
"""Explain PyTorch's failures in one sentence with the remedy."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

#: Shared memory through which data-loading processes pass their batches.
SHARED_MEMORY = Path('/dev/shm')
#: Bytes.
_NEARLY_NOTHING = 1 << 16
_ROOM = 'enlarge it (of a container: --shm-size 2g), or load with --workers 0'
_GO_ON = 'continue from the last checkpoint with --resume'


def explained(error: Exception) -> str | None:
    """Return the sentence for a known failure, or None."""
    text = str(error)
    if _is_shared_memory(error, text):
        return (
            f'{SHARED_MEMORY}, through which the processes that load data pass images, is '
            f'full: {_ROOM}; {_GO_ON}'
        )
    if 'DataLoader worker' in text and ('killed by signal' in text or 'exited unexpect' in text):
        return (
            'a process that loads data was killed, probably because memory ran out: lower '
            f'--workers or --batch; {_GO_ON}'
        )
    if 'out of memory' in text:
        return f'the GPU is out of memory ({text.splitlines()[0][:80]}): lower --batch'
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return 'out of memory: lower --batch or --workers'
    return None


def sentence(error: Exception) -> str:
    """Return an error's message, without the traceback that a data worker puts around it."""
    if isinstance(error, OSError) and error.strerror:
        return f'{error.filename}: {error.strerror}' if error.filename else error.strerror
    last = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return last.split('DataError: ')[-1].split('UnitError: ')[-1]


def check_shared_memory(needed: int) -> None:
    """Refuse to start data-loading processes if shared memory is too small for their batches.

    Args:
        needed: bytes.

    Raises:
        OSError: there is less.
    """
    if not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed:
        raise OSError(
            f'{SHARED_MEMORY} has {free / 1e6:.1f} MB free, and the processes that load '
            f'data need {needed / 1e6:.1f} MB there for their batches: {_ROOM}'
        )


def _is_full() -> bool:
    """Return whether shared memory is full, which may as well be the disk without a name."""
    return SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free < _NEARLY_NOTHING


def _is_shared_memory(error: Exception, text: str) -> bool:
    if isinstance(error, OSError):  # about a semaphore, which has no file name
        return error.errno == errno.ENOSPC and error.filename is None and _is_full()
    return (
        'shared memory' in text
        or 'Bus error' in text
        or ('/torch_' in text and 'No space left' in text)
    )
