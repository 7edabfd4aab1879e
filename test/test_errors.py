# SPDX-License-Identifier: Apache-2.0
"""Texts of unexpected errors."""

from __future__ import annotations

import pytest

from depth_perception.errors import first_line, named


@pytest.mark.parametrize(
    'error, line, sentence',
    [
        (
            RuntimeError('\n out of memory\nin file 7'),
            'out of memory',
            'RuntimeError: out of memory',
        ),
        (KeyError('name'), "'name'", "KeyError: 'name'"),
        (ZeroDivisionError(), 'ZeroDivisionError', 'ZeroDivisionError'),
    ],
)
def test_every_error_has_a_text_of_one_line(error, line, sentence):
    assert first_line(error) == line
    assert named(error) == sentence
