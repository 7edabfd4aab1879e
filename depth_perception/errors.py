# SPDX-License-Identifier: Apache-2.0
"""The error of a wrong request; errors of others, as part of a sentence."""
from __future__ import annotations


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
