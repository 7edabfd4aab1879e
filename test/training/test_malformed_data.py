# SPDX-License-Identifier: Apache-2.0
"""Malformed data: one sentence with the file's name; training skips single bad pairs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from depth_training.augment.pipelines import paper_003
from depth_training.data import DataError, open_dataset
from depth_training.data.splits import read_splits
from depth_training.train.training_data import SkipBadPairs, ToTensors, TrainingData
from test.support import layouts

pytest.importorskip('h5py')
pytest.importorskip('scipy')

RGB, DEPTH = 'kitchen_0001/rgb_00000.jpg', 'kitchen_0001/sync_depth_00000.png'


def change(name: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Break one file of a sync folder whose first scene has one pair."""

    def write(root: Path) -> Path:
        layouts.sync(root, ('kitchen_0001',), 1)
        file = root / name
        file.write_bytes(content(file.read_bytes()) if callable(content) else content)
        return root

    return write


def labeled(change_file: Callable[[Path], object]) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        layouts.labeled_mat(root / 'labeled.mat')
        layouts.splits_mat(root / 'splits.mat', [0, 2], [1, 3])
        change_file(root)
        return root

    return write


def without_depths(root: Path) -> None:
    import h5py

    with h5py.File(root / 'labeled.mat', 'r+') as content:
        del content['rawDepths']


def matlab_5(root: Path) -> None:
    (root / 'labeled.mat').write_bytes((root / 'splits.mat').read_bytes())


def truncate(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:3000])


def with_list(text: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        layouts.sync(root)
        layouts.write(root / 'nyu_train_files.txt', text)
        return root

    return write


def h5(content: bytes) -> Callable[[Path], Path]:
    return lambda root: layouts.write(root / 'train/a/00001.h5', content).parents[2]


def npy_millimetres(root: Path) -> Path:
    layouts.npy_pairs(root, 1)
    np.save(root / '0000_dpth.npy', layouts.scene()[1] * 1000)
    return root


def npy_objects(root: Path) -> Path:
    layouts.npy_pairs(root, 1)
    np.save(root / '0000_dpth.npy', np.array([{}]), allow_pickle=True)
    return root


def csv_row(root: Path) -> Path:
    layouts.write(layouts.densedepth(root) / 'data/nyu2_train.csv', 'a.jpg;a.png\r\n')
    return root


def csv_missing_file(root: Path) -> Path:
    layouts.write(layouts.densedepth(root) / 'data/nyu2_train.csv', 'a.jpg,a.png\r\n')
    return root


def broken_zip(root: Path) -> Path:
    file = layouts.zipped(layouts.densedepth(root / 'x'), root / 'nyu_data.zip')
    file.write_bytes(file.read_bytes()[:-200])
    return file


def broken_tar(root: Path) -> Path:
    return layouts.write(root / 'train-000000.tar', b'x' * 2000)


def half_camera(root: Path) -> Path:
    layouts.write(layouts.sync(root) / 'kitchen_0001/camera.json', json.dumps({'fx': 500}))
    return root


def no_columns(root: Path) -> Path:
    layouts.write(layouts.rooms(root) / 'scene_0/cameras.csv', 'a,b\n1,2\n')
    return root


def png(image: np.ndarray) -> bytes:
    return layouts.encode('.png', image)


_, METRES = layouts.scene()
#: Name -> writer, pattern of the message, and the file it must name.
CASES = {
    'truncated_png': (change(DEPTH, lambda b: b[: len(b) - 30]), 'truncated', DEPTH),
    'truncated_jpg': (change(RGB, lambda b: b[: len(b) // 2]), 'truncated', RGB),
    'no_image': (change(DEPTH, b'hello'), 'damaged or not an image', DEPTH),
    'damaged_png': (change(DEPTH, lambda b: b[:40] + bytes(20) + b[60:]), 'damaged', DEPTH),
    'empty_file': (change(RGB, b''), 'is empty', RGB),
    'other_size': (
        change(DEPTH, layouts.millimetres(METRES[:, :-4])),
        'rgb is 64x48, depth is 60x48',
        RGB,
    ),
    'all_holes': (change(DEPTH, layouts.millimetres(METRES * 0)), 'unknown in every pixel', RGB),
    'png_in_metres': (change(DEPTH, png(METRES.astype(np.uint16))), 'median .* unit', RGB),
    'eight_bits': (change(DEPTH, png((METRES * 25).astype(np.uint8))), '8 bits', DEPTH),
    'coloured_depth': (change(DEPTH, png(layouts.scene()[0])), 'one-channel', DEPTH),
    'npy_in_millimetres': (npy_millimetres, 'largest depth .* unit', '0000_rgb.png'),
    'npy_pickle': (npy_objects, 'not a plain .npy', '0000_dpth.npy'),
    'list_of_missing_files': (with_list('a/b.jpg a/c.png 518\r\n'), 'names no pair', 'a/b.jpg'),
    'list_of_other_form': (with_list('a/b.jpg\r\n'), 'line 1', 'nyu_train_files.txt'),
    'empty_list': (with_list('\r\n'), 'it is empty', 'nyu_train_files.txt'),
    'mat_without_raw_depth': (labeled(without_depths), 'no "rawDepths"', 'labeled.mat'),
    'mat_of_matlab_5': (labeled(matlab_5), 'MATLAB 5.0 .* splits.mat', 'labeled.mat'),
    'mat_truncated': (labeled(truncate('labeled.mat')), 'damaged or truncated', 'labeled.mat'),
    'mat_of_another_format': (
        labeled(lambda root: (root / 'labeled.mat').write_bytes(b'Scilab' * 200)),
        'not a MATLAB 7.3',
        'labeled.mat',
    ),
    'mat_without_splits': (
        labeled(lambda root: (root / 'splits.mat').unlink()),
        'is missing',
        'splits.mat',
    ),
    'splits_not_matlab': (
        labeled(lambda root: (root / 'splits.mat').write_text('1 2 3')),
        'not a MATLAB 5.0',
        'splits.mat',
    ),
    'splits_overlap': (
        labeled(lambda root: layouts.splits_mat(root / 'splits.mat', [1], [1])),
        'overlap',
        'splits.mat',
    ),
    'splits_beyond_the_end': (
        labeled(lambda root: layouts.splits_mat(root / 'splits.mat', [99], [1])),
        'names image 100',
        'splits.mat',
    ),
    'h5_without_keys': (h5(b'\x89HDF'), 'truncated or not an HDF5', '00001.h5'),
    'h5_truncated': (
        lambda root: h5(layouts.h5_frame(0)[:900])(root),
        'truncated or not an HDF5',
        '00001.h5',
    ),
    'csv_row': (csv_row, 'line 1: "a.jpg;a.png"', 'nyu2_train.csv'),
    'csv_missing_file': (csv_missing_file, 'is missing', 'a.jpg'),
    'zip_truncated': (broken_zip, 'damaged, truncated', 'nyu_data.zip'),
    'tar_damaged': (broken_tar, 'damaged, truncated', 'train-000000.tar'),
    'camera_json': (half_camera, 'fx and width', 'camera.json'),
    'cameras_csv': (no_columns, 'columns index, fx and cx', 'cameras.csv'),
    'unknown_layout': (
        lambda root: layouts.write(root / 'a.txt', 'x').parent,
        'unknown layout',
        'data',
    ),
    'raw_dump': (
        lambda root: layouts.write(root / 'x/d-1.0-2.pgm', b'x').parents[1],
        'prepare raw',
        'data',
    ),
    'nothing': (lambda root: root, 'does not exist', 'data'),
}


@pytest.mark.parametrize('name', CASES)
def test_one_sentence_names_the_file(name, tmp_path):
    write, pattern, file = CASES[name]
    with pytest.raises(DataError, match=pattern) as caught:
        open_dataset(write(tmp_path / 'data'), 'all' if name not in SPLIT else 'train')
    message = str(caught.value)
    assert file in message
    assert '\n' not in message and len(message) < 400


SPLIT = {name for name in CASES if name.startswith(('mat', 'splits', 'list', 'empty_list', 'csv'))}


def test_crlf_lists_are_no_malformation(tmp_path):
    row = 'kitchen_0001/rgb_00000.jpg kitchen_0001/sync_depth_00000.png 518.8579\r\n'
    assert len(open_dataset(with_list(row)(tmp_path / 'data'), 'train')) == 1


def test_missing_files_of_a_list_are_counted_when_opened(tmp_path):
    root = with_list(
        ''.join(
            f'/kitchen_0001/rgb_{i:05d}.jpg /kitchen_0001/sync_depth_{i:05d}.png 518.8579\r\n'
            for i in (0, 1, 7)
        )
    )(tmp_path / 'data')
    dataset = open_dataset(root, 'train')
    assert '1 pairs have a missing file, first kitchen_0001/rgb_00007.jpg' in dataset.describe()
    with pytest.raises(DataError, match=r'rgb_00007\.jpg is missing'):
        dataset[2]


def test_bytes_after_the_end_of_an_image_do_no_harm(tmp_path):
    for name in (RGB, DEPTH):
        write = change(name, lambda content: content + bytes(len(content) // 2))
        root = write(tmp_path / name[-4:])
        assert len(open_dataset(root, 'all')) == 1


def test_zip_without_a_listed_file(tmp_path):
    folder = layouts.densedepth(tmp_path / 'x')
    next(folder.glob('data/nyu2_train/00000_depth.png')).unlink()
    data = SkipBadPairs(open_dataset(layouts.zipped(folder, tmp_path / 'a.zip'), 'train'))
    assert data[0].id.endswith('00001') and data.bad_pairs == [0]


def test_zip_with_a_damaged_file(tmp_path):
    file = layouts.zipped(layouts.densedepth(tmp_path / 'x'), tmp_path / 'a.zip')
    content = bytearray(file.read_bytes())
    place = content.index(b'PNG')  # pixels of the first PNG; the checksum becomes wrong
    content[place + 40 : place + 60] = bytes(20)
    file.write_bytes(content)
    datasets = [SkipBadPairs(open_dataset(file, split)) for split in ('train', 'test')]
    for data in datasets:
        [data[index] for index in range(3)]
    assert sum(len(data.bad_pairs) for data in datasets) == 1


@pytest.mark.parametrize(
    'name, pattern',
    [
        ('train_rows', 'nyu2_train.csv is empty'),
        ('no_csv', 'has no nyu2_train.csv'),
        ('frames', "no .h5 frame of split 'train'"),
        ('keys', 'lacks "rgb"'),
        ('axes', '"rgb" is uint8'),
        ('lonely_rgb', 'none with its sync_depth'),
        ('stack', 'not one depth image'),
    ],
)
def test_other_malformations(name, pattern, tmp_path):
    with pytest.raises(DataError, match=pattern):
        open_dataset(OTHERS[name](tmp_path / 'data'), 'train')


def h5_keys(**arrays: np.ndarray) -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, 'w') as content:
        for key, value in arrays.items():
            content[key] = value
    return memory.getvalue()


def no_csv(root: Path) -> Path:
    (layouts.densedepth(root) / 'data/nyu2_train.csv').unlink()
    return root


def stack(root: Path) -> Path:
    np.save(layouts.npy_pairs(root) / '0000_dpth.npy', np.ones((2, 48, 64)))
    np.save(root / '0001_dpth.npy', np.ones((2, 48, 64)))
    return root


OTHERS = {
    'train_rows': lambda root: layouts.write(
        layouts.densedepth(root) / 'data/nyu2_train.csv', '\r\n'
    ).parents[1],
    'no_csv': no_csv,
    'frames': lambda root: layouts.write(root / 'val/a/1.h5', layouts.h5_frame(0)).parents[2],
    'keys': lambda root: h5(h5_keys(depth=np.ones((4, 4))))(root),
    'axes': lambda root: h5(h5_keys(depth=np.ones((4, 4)), rgb=np.ones((4, 4, 3), np.uint8)))(root),
    'lonely_rgb': lambda root: layouts.write(
        root / 'a/rgb_1.jpg', layouts.encode('.jpg', layouts.scene()[0])
    ).parents[1],
    'stack': stack,
}


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match="unknown split 'dev'"):
        open_dataset(layouts.sync(tmp_path), 'dev')


def test_splits_are_zero_based(tmp_path):
    splits = read_splits(layouts.splits_mat(tmp_path / 'splits.mat', [0, 5], [1]))
    assert {name: indices.tolist() for name, indices in splits.items()} == {
        'train': [0, 5],
        'test': [1],
    }


def two_bad_of_six(root: Path) -> Path:
    layouts.sync(root, ('kitchen_0001',), 6)
    (root / 'kitchen_0001/sync_depth_00001.png').write_bytes(b'')
    (root / 'kitchen_0001/rgb_00005.jpg').write_bytes(b'junk')
    return root


def test_bad_pairs_are_passed_over_and_counted(tmp_path, caplog):
    data = SkipBadPairs(open_dataset(two_bad_of_six(tmp_path), 'all'))
    ids = [data[index].id for index in [*range(6), 1, 5]]
    assert [name[-1] for name in ids] == ['0', '2', '2', '3', '4', '0', '2', '0']
    assert data.bad_pairs == [1, 5]
    assert sum('skipped bad pair' in record.message for record in caplog.records) == 2
    assert 'rgb_00005.jpg' in caplog.text


def test_worker_processes_count_into_the_same_list(tmp_path):
    data = TrainingData(
        open_dataset(two_bad_of_six(tmp_path), 'all'),
        paper_003(),
        ToTensors((0.5,) * 3, (0.5,) * 3),
    )
    batches = list(DataLoader(data, batch_size=2, num_workers=2))
    assert len(batches) == 3 and data.pairs.bad_pairs == [1, 5]


def test_data_with_nothing_good_is_an_error_not_a_loop(tmp_path):
    root = layouts.sync(tmp_path, ('kitchen_0001',), 3)
    data = SkipBadPairs(open_dataset(root, 'all'))
    for file in root.glob('*/*.png'):
        file.unlink()
    with pytest.raises(DataError, match=r'sync_depth_00001\.png is missing'):
        data[1]
