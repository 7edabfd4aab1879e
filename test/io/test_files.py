# SPDX-License-Identifier: Apache-2.0
"""Atomic writing, and errors that name the file."""

from __future__ import annotations

import os

import pytest

from depth_perception.io.files import check_writable, write_atomically, write_together


def test_files_that_belong_together_are_written_all_or_none(tmp_path):
    def failing():
        yield b'half'
        raise OSError(28, 'No space left on device')

    (tmp_path / 'a').write_bytes(b'before')
    with pytest.raises(OSError, match='No space'):
        write_together({tmp_path / 'a': [b'new'], tmp_path / 'b': failing()})
    assert [path.name for path in tmp_path.iterdir()] == ['a']
    assert (tmp_path / 'a').read_bytes() == b'before'
    write_together({tmp_path / 'a': [b'new'], tmp_path / 'b': [b'1', b'2']})
    assert (tmp_path / 'a').read_bytes() == b'new' and (tmp_path / 'b').read_bytes() == b'12'
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('act', [lambda path: write_atomically(path, [b'x']), check_writable])
def test_error_names_the_requested_path(tmp_path, act):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'none' / 'a.onnx', tmp_path / 'file' / 'a.onnx', tmp_path):
        with pytest.raises(OSError) as caught:
            act(path)
        assert caught.value.filename == str(path) and '.part' not in str(caught.value)
    assert os.listdir(tmp_path) == ['file']


def test_check_does_not_touch_an_existing_file(tmp_path):
    (tmp_path / 'a').write_text('before')
    check_writable(tmp_path / 'a')
    check_writable(tmp_path / 'b')
    assert (tmp_path / 'a').read_text() == 'before' and not (tmp_path / 'b').exists()
