# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: text in UTF-8 alone, and nothing is read without end."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from depth_perception.camera.file import read_camera
from depth_perception.camera.model import CameraError
from depth_perception.cli.import_settings import read_settings
from depth_perception.errors import UsageError
from depth_perception.io.anchor_files import AnchorFileError, read_anchors
from depth_perception.io.hugging_face import check_configuration
from depth_perception.io.image_files import ImageError, read_photo
from depth_perception.io.onnx_graph import load_graph
from depth_perception.io.weights import WeightsError, load_weights
from depth_perception.reading import NotTextError, read_text, read_whole
from depth_perception.ros.start import StartError, parameter_sections
from depth_training.convert.fcrn import read_arrays
from depth_training.convert.reading import checksum, read_state
from depth_training.data.camera_files import read_camera as read_camera_of_data
from depth_training.data.image_files import read_bytes
from depth_training.data.image_files import read_text as read_list
from depth_training.data.layouts.packed import PackedViews
from depth_training.data.sample import DataError
from depth_training.recipes import overrides
from depth_training.report.model_card import _around
from depth_training.report.report import read_results

ROOT = Path(__file__).parents[1]
#: Readers of text files, with the error that a user sees.
TEXTS = {
    'camera': (read_camera, CameraError),
    'anchors': (read_anchors, AnchorFileError),
    'parameters': (parameter_sections, StartError),
    'settings': (lambda path: read_settings(path, lambda parser: None), UsageError),
    'recipe': (overrides.read, NotTextError),
    'results': (read_results, NotTextError),
    'page': (_around, NotTextError),
    'list of data': (read_list, DataError),
}
#: Readers of other files, with the error that a user sees.
BINARIES = {
    'image': (read_photo, ImageError),
    'weights': (load_weights, WeightsError),
    'ONNX': (load_graph, WeightsError),
    'checkpoint': (read_state, OSError),
    'arrays': (read_arrays, OSError),
    'checksum': (checksum, OSError),
    'data': (read_bytes, DataError),
    'packed rooms': (lambda path: PackedViews(path, 'train'), OSError),
}
#: Files that a user does not name: those of the package, of the system, or of a cache.
OTHER = {
    'depth_perception/cli/models.py',
    'depth_perception/demo/summary.py',
    'depth_perception/inference/backends/torch_eager.py',
    'depth_perception/io/hub.py',
    'depth_perception/ros/transport.py',
}


@pytest.mark.parametrize('kind', TEXTS)
@pytest.mark.parametrize(
    ('content', 'where'),
    [
        (b'\x89PNG\r\n\x1a\n', '(byte 0x89 at 0)'),
        ('image_width: 640\n'.encode('utf-16'), '(byte 0xff at 0)'),
        ('name: caf\u00e9\n'.encode('latin-1'), '(byte 0xe9 at 9)'),
        (b'1 2\x003\n', '(byte 0x00 at 3)'),
    ],
    ids=['picture', 'UTF-16', 'Latin-1', 'zero byte'],
)
def test_what_is_no_text_is_told_with_the_byte_and_the_remedy(tmp_path, kind, content, where):
    read, refusal = TEXTS[kind]
    file = tmp_path / 'file.yaml'
    file.write_bytes(content)
    with pytest.raises(refusal) as caught:
        read(file)
    said = str(caught.value)
    assert f'{file} is not a text file in UTF-8 {where}: save it as UTF-8' in said
    assert said.count('\n') == 0 and said.count(str(file)) == 1


def test_files_of_known_names_are_told_too(tmp_path):
    for name, read, refusal in (
        ('config.json', check_configuration, WeightsError),
        ('camera.json', read_camera_of_data, DataError),
    ):
        (tmp_path / name).write_bytes(b'{"a": "\xe9"}')
        with pytest.raises(refusal, match=rf'{name} is not a text file in UTF-8 \(byte 0xe9 at 7'):
            read(tmp_path)


@pytest.mark.parametrize('kind', [*TEXTS, *BINARIES])
def test_a_device_is_refused_and_not_read_without_end(kind):
    read, refusal = {**TEXTS, **BINARIES}[kind]
    with pytest.raises((refusal, OSError)) as caught:
        read(Path('/dev/null'))  # like /dev/zero, but a failure here does not fill the memory
    assert 'it is a device, not a file' in str(caught.value)


def test_what_is_no_packed_file_is_told(tmp_path):
    (tmp_path / 'rooms.zip').write_bytes(b'no zip')
    with pytest.raises(DataError, match='is not a complete file of'):
        PackedViews(tmp_path / 'rooms.zip', 'train')


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / 'a').write_bytes(b'\xef\xbb\xbfa: 1\n')
    assert read_text(tmp_path / 'a') == 'a: 1\n'
    (tmp_path / 'a').write_bytes(b'\xef\xbb\xbfa: \xff\n')
    with pytest.raises(NotTextError, match=r'byte 0xff at 6'):
        read_text(tmp_path / 'a')


def test_a_file_or_a_pipe_beyond_the_limit_is_refused(tmp_path):
    (tmp_path / 'a').write_bytes(bytes(3_000_000))
    assert len(read_whole(tmp_path / 'a', 3_000_000)) == 3_000_000
    with pytest.raises(OSError, match='larger than 2 MB'):
        read_whole(tmp_path / 'a', 2_000_000)
    assert through_pipe(tmp_path / 'whole', 3_000_000) == bytes(3_000_000)
    with pytest.raises(OSError, match='larger than 3 MB'):
        through_pipe(tmp_path / 'endless', 20_000_000)


def through_pipe(pipe, count):
    """Return what is read of so many bytes in a pipe, as of `<(command)` in a shell."""
    os.mkfifo(pipe)

    def write():
        with contextlib.suppress(BrokenPipeError):  # the reader has enough
            pipe.write_bytes(bytes(count))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read_whole(pipe, 3_000_000)
    finally:
        writer.join()


def test_text_is_read_by_one_function_alone():
    found = {
        str(file.relative_to(ROOT))
        for package in ('depth_perception', 'depth_training')
        for file in (ROOT / package).rglob('*.py')
        if '.read_text(' in (text := file.read_text(encoding='utf-8')) or ".decode('utf" in text
    }
    assert found - {'depth_perception/reading.py'} <= OTHER
