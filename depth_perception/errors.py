# SPDX-License-Identifier: Apache-2.0
"""The error of a wrong request; errors of others, as part of a sentence."""
from __future__ import annotations

import errno
import os
import re
from pathlib import Path

#: A network address, also as a path, which has one slash of two.
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+:/', re.IGNORECASE)


class UsageError(ValueError):
    """What was asked for cannot be started; the text says why."""


def first_line(error: BaseException) -> str:
    """What an error says first; the name of its type where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def named(error: BaseException) -> str:
    """The type of an error and what it says first, for errors that nobody foresaw."""
    name, said = type(error).__name__, first_line(error)
    return name if said == name else f'{name}: {said}'


def told(error: BaseException) -> str:
    """An error as part of a sentence: this package's own words, or `named`."""
    ours = type(error).__module__.partition('.')[0] == __name__.partition('.')[0]
    return first_line(error) if ours else named(error)


def why_missing(path: str | Path, usual: str = os.strerror(errno.ENOENT)) -> str:
    """What is said of a file that is not there: the usual words, or that it never could be.

    Examples:
        >>> from depth_perception.errors import why_missing
        >>> why_missing('http://host/a.jpg')
        'it is a network address, and only local files are read: download it first'
    """
    if _ADDRESS.match(str(path)):
        return 'it is a network address, and only local files are read: download it first'
    return usual
