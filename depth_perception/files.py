# SPDX-License-Identifier: Apache-2.0
"""Files that are either complete or not there."""
from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: str | Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file; one already there is replaced only by a complete one.

    Args:
        path: where to; the folder must exist.
        parts: what is written, one after the other.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.name}.', suffix='.part')
    try:
        with os.fdopen(descriptor, 'wb') as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives 0600; what is written here is for everyone to read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
