# SPDX-License-Identifier: Apache-2.0
"""Models that OpenVINO has compiled, on disk: what took seconds once takes a fraction of one.

A file is of one network, precision, input size, processor and version of OpenVINO; its name says
so, and its first 64 characters are the SHA-256 of the rest. Only a file that the user owns and that
nobody else may write to is taken. Where nothing can be written, nothing is kept.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import stat
from pathlib import Path

from depth_perception.io.files import write_atomically

#: Characters of a weights file's checksum that stand in a file's name.
_DIGITS = 16
_HASH = 64
#: Files that stay; the oldest go.
KEPT = 24


def folder() -> Path | None:
    """Where they are kept: the user's cache folder; None for a user without one."""
    cache = os.environ.get('XDG_CACHE_HOME')
    try:
        base = Path(cache) if cache else Path.home() / '.cache'
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return None
    return base / 'depth_perception' / 'openvino'


def model_path(checksum: str, precision: str, version: str, size: tuple[int, int]) -> Path | None:
    """The file of a model; None for a network without a checksum or a user without a folder."""
    parent = folder()
    if parent is None or not checksum:
        return None
    parts = (checksum[:_DIGITS], precision, platform.machine(), f'openvino{version}',
             f'{size[0]}x{size[1]}')
    return parent / ('-'.join(re.sub(r'[^\w.]+', '_', part) for part in parts) + '.blob')


def read(path: Path | None) -> bytes | None:
    """A model as it was written; None where there is none that may be used."""
    with contextlib.suppress(OSError):
        if path is None or not all(_is_private(place) for place in (path.parent, path)):
            return None
        with path.open('rb') as file:  # in two parts: a copy would hold up other threads
            digest, model = file.read(_HASH), file.read()
        if digest == _digest(model):
            return model
    return None


def can_keep(path: Path | None) -> bool:
    """Whether a model can be written there; makes the folder."""
    if path is None:
        return False
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.access(path.parent, os.W_OK | os.X_OK)


def write(path: Path | None, model: bytes) -> bool:
    """Keep a model; False where that is not possible."""
    if path is None or not can_keep(path):
        return False
    try:
        write_atomically(path, [_digest(model), model])
        files = sorted(path.parent.glob('*.blob'), key=lambda file: file.stat().st_mtime)
        for old in files[:-KEPT]:
            old.unlink()
    except OSError:  # no rights, a full disk, another process that tidies up too
        return False
    return True


def _is_private(place: Path) -> bool:
    status = place.lstat()
    return status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode) \
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
