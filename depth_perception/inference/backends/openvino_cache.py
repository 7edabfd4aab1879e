# SPDX-License-Identifier: Apache-2.0
"""Cache of models compiled by OpenVINO on disk: reading takes a fraction of a second.

The name of a file identifies network, precision, input size, processor and version of OpenVINO; its
first 64 characters are the SHA-256 of the rest. Only files that the user owns and that nobody else
can write are used. If the folder cannot be written, nothing is cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from depth_perception.io.files import write_atomically

#: Number of characters of the weights' checksum in a file name.
_DIGITS = 16
_HASH = 64
#: Largest number of files; the least recently used are deleted.
KEPT = 24


def folder() -> Path | None:
    """Return the folder of the cache; None for a user without a home folder."""
    cache = os.environ.get('XDG_CACHE_HOME')
    try:
        base = Path(cache) if cache else Path.home() / '.cache'
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return None
    return base / 'depth_perception' / 'openvino'


def model_path(checksum: str, precision: str, version: str, size: tuple[int, int]) -> Path | None:
    """Return the file of a model; None without a checksum or a cache folder."""
    parent = folder()
    if parent is None or not checksum:
        return None
    parts = (
        checksum[:_DIGITS],
        precision,
        platform.machine(),
        f'openvino{version}',
        f'{size[0]}x{size[1]}',
    )
    return parent / ('-'.join(re.sub(r'[^\w.]+', '_', part) for part in parts) + '.blob')


def read(path: Path | None) -> bytes | None:
    """Read a model; return None if there is no file that may be used."""
    with contextlib.suppress(OSError):
        if path is None or not all(is_private(place) for place in (path.parent, path)):
            return None
        with path.open('rb') as file:  # in two parts: a slice would copy the model
            digest, model = file.read(_HASH), file.read()
        if digest == _digest(model):
            mark_used(path)
            return model
    return None


def can_keep(path: Path | None) -> bool:
    """Return whether a model can be written to this path; create its folder."""
    if path is None:
        return False
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.access(path.parent, os.W_OK | os.X_OK)


def write(path: Path | None, model: bytes) -> bool:
    """Write a model; return False if that is not possible."""
    if path is None or not can_keep(path):
        return False
    try:
        write_atomically(path, [_digest(model), model])
    except OSError:  # no permission, or a full disk
        return False
    prune(path.parent.glob('*.blob'), KEPT)
    return True


def mark_used(place: Path) -> None:
    """Record that a file or folder of a cache is used now, as its time of modification."""
    with contextlib.suppress(OSError):  # of another user, or deleted by another process
        os.utime(place)


def prune(places: Iterable[Path], kept: int) -> None:
    """Delete files and folders of a cache, the least recently used ones, until so many are left."""
    ages: list[tuple[float, Path]] = []
    for place in places:
        with contextlib.suppress(OSError):  # another process deletes them too
            ages.append((place.stat().st_mtime, place))
    for _, old in sorted(ages)[: max(0, len(ages) - kept)]:
        with contextlib.suppress(OSError):
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink()


def is_private(place: Path) -> bool:
    """Return whether the user owns a file or folder, and nobody else can write to it."""
    status = place.lstat()
    return (
        status.st_uid == os.getuid()
        and not stat.S_ISLNK(status.st_mode)
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
