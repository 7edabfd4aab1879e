# SPDX-License-Identifier: Apache-2.0
"""Atomic writing, and errors that name the file."""

from __future__ import annotations

import contextlib
import os
import sys

import pytest

from depth_perception.io import files, video_files
from depth_perception.io.files import check_writable, files_below, write_atomically, write_together


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


@contextlib.contextmanager
def interrupted(modules, at):
    """Raise KeyboardInterrupt at the `at`-th instruction in these modules, as a signal does."""
    files = {module.__file__ for module in modules}
    left = at

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == 'opcode':
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def at_each_instruction(act, folder, *modules):
    """Interrupt an act everywhere; return the number of places, and what was left over by place."""
    left, at = {}, 0
    while True:
        at += 1
        with contextlib.suppress(KeyboardInterrupt), interrupted(modules, at):
            act(folder / 'whole')
            return at, left
        # Here, not in a handler, the interrupted frames and their objects are gone.
        if found := [path.name for path in folder.iterdir() if path.name != 'whole']:
            left[at] = found


def test_a_signal_at_any_time_leaves_no_temporary_file(tmp_path):
    places, left = at_each_instruction(lambda path: write_atomically(path, [b'x']), tmp_path, files)
    assert places > 50 and left == {}


def test_a_signal_while_a_video_is_opened_leaves_no_temporary_file(tmp_path):
    def opened(path):
        writer = video_files.VideoWriter(path.with_suffix('.mp4'), 25)
        with writer:
            pass

    places, left = at_each_instruction(opened, tmp_path, files, video_files)
    assert places > 30 and left == {}


def test_a_signal_while_a_folder_is_made_leaves_none(tmp_path):
    def made(path):
        with files.folder_aside(path.parent, 'results'):
            sys.settrace(None)  # until here

    places, left = at_each_instruction(made, tmp_path, files)
    assert places > 20 and left == {}
    assert not list(tmp_path.iterdir())


def test_an_error_of_a_video_names_the_requested_path(tmp_path):
    path = tmp_path / 'none' / 'a.mp4'
    with pytest.raises(OSError) as caught, video_files.VideoWriter(path, 25):
        pass
    assert caught.value.filename == str(path)


def test_walk_follows_links_but_not_back(tmp_path):
    (tmp_path / 'data' / 'b' / 'c').mkdir(parents=True)
    (tmp_path / 'far').mkdir()
    for name in ('data/2', 'data/1', 'data/b/c/3', 'far/4'):
        (tmp_path / name).touch()
    (tmp_path / 'data' / 'a').symlink_to(tmp_path / 'far')
    (tmp_path / 'far' / 'back').symlink_to(tmp_path / 'data' / 'b')
    (tmp_path / 'data' / 'b' / 'up').symlink_to(tmp_path / 'data')
    root = tmp_path / 'data'
    found = [path.relative_to(root).as_posix() for path in files_below(root, '[0-9]')]
    assert found == ['1', '2', 'a/4', 'a/back/c/3', 'b/c/3']
