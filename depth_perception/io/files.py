# SPDX-License-Identifier: Apache-2.0
"""Files that are either complete or not there."""
from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Parts = Iterable[bytes | memoryview]
#: Errors after which every further file would fail, too.
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))


def write_atomically(path: str | Path, parts: Parts) -> None:
    """Write a file; one already there is replaced only by a complete one.

    Args:
        path: where to; the folder must exist.
        parts: what is written, one after the other.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; it names the path, and
            nothing is left behind.
    """
    write_together({Path(path): parts})


def write_together(files: Mapping[Path, Parts]) -> None:
    """Write files that belong together: none is replaced or made before all are complete.

    Raises:
        OSError: as `write_atomically`.
    """
    ready: list[tuple[str, Path]] = []
    try:
        for path, parts in files.items():
            ready.append((_written_aside(Path(path), parts), Path(path)))
        while ready:
            temporary, path = ready[0]
            with _naming(path):
                os.replace(temporary, path)
            ready.pop(0)
    finally:
        for temporary, _ in ready:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def check_writable(path: str | Path) -> None:
    """Whether a file could be written there, to be known before long work.

    Raises:
        OSError: it could not; it names the path.
    """
    path = Path(path)
    with _naming(path):
        if path.is_dir():
            raise OSError(errno.EISDIR, 'it is a folder')
        if not path.parent.is_dir():
            raise OSError(errno.ENOENT, 'there is no folder for it')
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, 'its folder cannot be written to')


def _written_aside(path: Path, parts: Parts) -> str:
    """A complete file beside the path, under a name of its own; that name."""
    with _naming(path):
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.name}.', suffix='.part')
        try:
            with os.fdopen(descriptor, 'wb') as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp gives 0600; what is written here is for everyone to read.
            os.chmod(temporary, 0o644)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    return temporary


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name the file that was asked for, not the one beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
