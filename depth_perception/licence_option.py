# SPDX-License-Identifier: Apache-2.0
"""Licences on command lines: SPDX expressions, which other programs can read."""

from __future__ import annotations

import argparse
import re

_NAME = r'\(*[A-Za-z0-9][A-Za-z0-9.:-]*\+?\)*'
#: Syntax of SPDX 2.3, annex D, except that parentheses are not counted.
_EXPRESSION = re.compile(rf'{_NAME}( (AND|OR|WITH) {_NAME})*')


def spdx(text: str) -> str:
    """Return the text of an option if it has the form of an SPDX expression, to be its `type`.

    Whether the identifier exists is not checked.

    Examples:
        >>> from depth_perception.licence_option import spdx
        >>> spdx('MIT OR Apache-2.0')
        'MIT OR Apache-2.0'
        >>> spdx('CC BY 4.0')
        Traceback (most recent call last):
        argparse.ArgumentTypeError: 'CC BY 4.0' is no SPDX identifier, such as CC-BY-4.0
    """
    if _EXPRESSION.fullmatch(text):
        return text
    likely = re.sub(r'[\s_]+', '-', text.strip())
    example = likely if _EXPRESSION.fullmatch(likely) and len(likely) <= 30 else 'CC-BY-4.0'
    raise argparse.ArgumentTypeError(f'{text!r} is no SPDX identifier, such as {example}')
