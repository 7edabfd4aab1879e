# SPDX-License-Identifier: Apache-2.0
"""Errors of others, as part of a sentence."""
from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What an error says first; the name of its type where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
