# SPDX-License-Identifier: Apache-2.0
"""Write files atomically: a file is either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Parts = Iterable[bytes | memoryview]
#: Errors after which writing any other file would fail too.
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))


def write_atomically(path: str | Path, parts: Parts) -> None:
    """Write a file; an existing file is replaced only when the new one is complete.

    Args:
        path: the file to write; its folder must exist.
        parts: the contents, written one after the other.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; the error names the
            path, and no partial file is left behind.
    """
    write_together({Path(path): parts})


def write_together(files: Mapping[Path, Parts]) -> None:
    """Write files that belong together: none is created or replaced before all are complete.

    Raises:
        OSError: see `write_atomically`.
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


def read_whole(path: str | Path) -> bytes:
    """Return the content of a file or a pipe.

    Raises:
        OSError: it cannot be read, or is a device, whose content may never end.
    """
    path = Path(path)
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, 'it is a device, not a file', str(path))
    return path.read_bytes()


def check_writable(path: str | Path) -> None:
    """Check that a file can be written, for example before a long computation.

    Raises:
        OSError: it cannot; the error names the path.
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
    """Write a complete temporary file next to the path, and return its name."""
    with _naming(path):
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.name}.', suffix='.part'
        )
        try:
            with os.fdopen(descriptor, 'wb') as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp creates files with mode 0600; make them readable for everyone.
            os.chmod(temporary, 0o644)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    return temporary


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors name the requested path instead of the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
