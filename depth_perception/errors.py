# SPDX-License-Identifier: Apache-2.0
"""The error for wrong requests, and texts of other errors for use in a sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

#: A network address; also after conversion to a path, which leaves only one slash.
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)


class UsageError(ValueError):
    """The request cannot be carried out; the message says why."""


@contextlib.contextmanager
def refusing_odd_paths() -> Iterator[None]:
    """Turn the errors of paths that can name nothing into a `UsageError`.

    `Path.exists` and its kind return false for a missing file, but raise these.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise UsageError(
            f'cannot use {_shortened(str(error.filename))}: {error.strerror}'
        ) from error


def refuse_empty(words: Sequence[str]) -> None:
    """Raise UsageError if a word of a command line is empty: as a path it is the current folder.

    Examples:
        >>> from depth_perception.errors import refuse_empty
        >>> refuse_empty(['predict', 'photo.jpg', '--model', ''])
        Traceback (most recent call last):
        ...
        depth_perception.errors.UsageError: the value of --model is empty: is a variable not set?
    """
    for before, word in zip(('', *words), words, strict=False):
        name, equals, value = word.partition('=')
        if not word or (equals and not value and name.startswith('--')):
            option = name if equals else before
            what = f'the value of {option}' if option.startswith('-') else 'an argument'
            raise UsageError(f'{what} is empty: is a variable not set?')


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f'{text[:60]}...{text[-30:]}'


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def named(error: BaseException) -> str:
    """Return the type and the first line of an error, for unexpected errors."""
    name, said = type(error).__name__, first_line(error)
    return name if said == name else f'{name}: {said}'


def told(error: BaseException) -> str:
    """Return an error for use in a sentence: its message if it is this package's, else `named`."""
    ours = type(error).__module__.partition('.')[0] == __name__.partition('.')[0]
    return first_line(error) if ours else named(error)


def listed(parts: Sequence[str]) -> str:
    """Return parts as in a sentence: `a`, `a and b`, or `a, b and c`."""
    return ' and '.join(filter(None, (', '.join(parts[:-1]), *parts[-1:])))


def why_missing(path: str | Path, usual: str = os.strerror(errno.ENOENT)) -> str:
    """Return why a file is missing: the usual text, or a hint if it is a network address.

    Examples:
        >>> from depth_perception.errors import why_missing
        >>> why_missing('http://host/a.jpg')
        'it is a network address, and only local files are read: download it first'
    """
    if _ADDRESS.match(str(path)):
        return 'it is a network address, and only local files are read: download it first'
    return usual
