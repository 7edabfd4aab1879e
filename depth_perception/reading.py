# SPDX-License-Identifier: Apache-2.0
"""Read files that a user names: devices and pipes never without end, text only in UTF-8."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

#: Bytes; no network or image is larger. What a pipe brings beyond is not read.
LARGEST = 16_000_000_000
#: Bytes; no description or list that a person or program writes as text is larger.
LARGEST_TEXT = 50_000_000
_BLOCK = 1 << 20


class NotTextError(ValueError):
    """A file is not text in UTF-8; the message is a sentence that begins with its name."""


def read_whole(path: str | Path, limit: int = LARGEST) -> bytes:
    """Return the content of a file or a pipe.

    Raises:
        OSError: it cannot be read, has more bytes than the limit, or is a device, whose content may
            never end.
    """
    found = refuse_device(path)
    with open(path, 'rb') as file:
        content = bytearray()
        # A pipe does not know its size: read it in blocks, up to the limit.
        while not stat.S_ISREG(found.st_mode) and len(content) <= limit:
            block = file.read(_BLOCK)
            if not block:
                return bytes(content)
            content += block
        if max(found.st_size, len(content)) > limit:
            raise OSError(errno.EFBIG, f'it is larger than {_size(limit)}', str(path))
        return file.read()


def refuse_device(path: str | Path) -> os.stat_result:
    """Return a file's status, before a library reads it that would read a device without end.

    Raises:
        OSError: it is a device, or missing.
    """
    found = os.stat(path)
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        raise OSError(errno.EINVAL, 'it is a device, not a file', str(path))
    return found


def read_text(path: str | Path, limit: int = LARGEST_TEXT) -> str:
    """Return the content of a text file in UTF-8, without a byte order mark.

    Raises:
        NotTextError: it is binary or in another encoding.
        OSError: as of `read_whole`.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from depth_perception.reading import NotTextError, read_text
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, 'camera.yaml')
        ...     _ = file.write_text('image_width: 640', encoding='utf-16')
        ...     try:
        ...         text = read_text(file)
        ...     except NotTextError as error:
        ...         print(error.args[0].removeprefix(str(file)))
         is not a text file in UTF-8 (byte 0xff at 0): save it as UTF-8, or name another file
    """
    return decoded(read_whole(path, limit), path)


def decoded(content: bytes, path: str | Path) -> str:
    """Return text in UTF-8, without a byte order mark.

    Args:
        content: the bytes.
        path: the file that they are from, for the message.

    Raises:
        NotTextError: it is binary or in another encoding.
    """
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        at = error.start + len(content) - len(error.object)
    else:
        # Text has no zero bytes, but UTF-16 has, and is often valid UTF-8 with them.
        at = content.find(0)
        if at < 0:
            return text
    raise NotTextError(
        f'{path} is not a text file in UTF-8 (byte 0x{content[at]:02x} at {at}): save it as UTF-8, '
        'or name another file'
    )


def _size(count: int) -> str:
    return f'{count / 1e9:g} GB' if count >= 1e9 else f'{count / 1e6:g} MB'
