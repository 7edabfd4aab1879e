# SPDX-License-Identifier: Apache-2.0
"""Write files atomically: a file is either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import secrets
import shutil
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
    # The names are known before the files exist: a signal at any time finds all of them.
    aside = {Path(path): name_aside(Path(path), '.part') for path in files}
    try:
        for path, parts in files.items():
            _write(aside[Path(path)], parts, Path(path))
        for path, temporary in aside.items():
            with naming(path):
                os.replace(temporary, path)
    finally:
        for temporary in aside.values():
            with contextlib.suppress(OSError):
                temporary.unlink()


def check_writable(path: str | Path) -> None:
    """Check that a file can be written, for example before a long computation.

    Raises:
        OSError: it cannot; the error names the path.
    """
    path = Path(path)
    with naming(path):
        if path.is_dir():
            raise OSError(errno.EISDIR, 'it is a folder')
        if not path.parent.is_dir():
            raise OSError(errno.ENOENT, 'there is no folder for it')
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, 'its folder cannot be written to')


def name_aside(path: Path, suffix: str) -> Path:
    """Return a name, hidden and not in use, for a temporary file next to a path.

    Create the file where the name is already held by what removes it: `tempfile.mkstemp` creates
    it first, and a signal before its name is stored leaves the file behind.
    """
    return path.parent / f'.{path.name}.{secrets.token_hex(6)}{suffix}'


@contextlib.contextmanager
def folder_aside(parent: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder that is removed at the end, even if a signal ends the making.

    Raises:
        OSError: it cannot be made.
    """
    folder = name_aside(parent / name, '.part')
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(temporary: Path, parts: Parts, path: Path) -> None:
    """Write a complete temporary file for the path, readable for everyone."""
    with naming(path), open(temporary, 'xb') as file:
        os.chmod(temporary, 0o644)
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors name the requested path instead of the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder at and below `root` with its sorted subfolders and its sorted files.

    Follows links to folders, since large data often lie elsewhere, but not those that lead back to
    a folder above. As in `os.walk`, the caller may remove subfolders from the list.
    """
    for place, subfolders, files in os.walk(root, followlinks=True):
        above = Path(os.path.realpath(place))
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not os.path.islink(inner := os.path.join(place, name))
            or Path(os.path.realpath(inner)) not in (above, *above.parents)
        )
        yield Path(place), subfolders, sorted(files)


def files_below(root: Path, pattern: str) -> Iterator[Path]:
    """Yield, in the order of `walk`, the files whose name matches, such as `rgb_*.png`."""
    for folder, _, names in walk(root):
        yield from (folder / name for name in fnmatch.filter(names, pattern))
