# SPDX-License-Identifier: Apache-2.0
"""Every layout in miniature: recognised, named, and read pixel by pixel."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from depth_training.data import DataError, DepthDataset, Part, Sample, evenly, open_dataset
from depth_training.data.layouts.sync import read_list
from test.support import layouts

pytest.importorskip('h5py')
pytest.importorskip('scipy')


def labeled(root: Path) -> Path:
    layouts.labeled_mat(root / 'nyu_depth_v2_labeled.mat')
    layouts.splits_mat(root / 'splits.mat', [0, 2, 4, 5], [1, 3])
    return root


def official(root: Path) -> Path:
    layouts.sync(root / 'official_splits/train', ('kitchen',))
    layouts.sync(root / 'official_splits/test', ('bathroom',), 1)
    return root


def densedepth_zip(root: Path) -> Path:
    root.mkdir()
    return layouts.zipped(layouts.densedepth(root / 'unpacked'), root / 'nyu_data.zip')


#: Name -> writer, layout, training pairs, test pairs, description, indices of scenes of train[0]
#: and test[0], and whether holes are filled.
CASES = {
    'labeled_mat': (labeled, 'labeled_mat', 4, 2, 'float metres, filled depth', 0, 1, True),
    'sync': (layouts.sync, 'sync', 2, 2, '16-bit mm, raw depth', 0, 2, False),
    'official_splits': (official, 'official_splits', 2, 1, '16-bit mm, raw depth', 0, 0, False),
    'densedepth': (layouts.densedepth, 'densedepth', 3, 3, 'filled depth', 0, 0, True),
    'densedepth_crlf': (
        lambda root: layouts.densedepth(root, '\r\n'),
        'densedepth',
        3,
        3,
        'filled depth',
        0,
        0,
        True,
    ),
    'densedepth_data_folder': (
        lambda root: layouts.densedepth(root) / 'data',
        'densedepth',
        3,
        3,
        'filled depth',
        0,
        0,
        True,
    ),
    'densedepth_zip': (densedepth_zip, 'densedepth', 3, 3, 'from a zip', 0, 0, True),
    'h5_frames': (layouts.h5_frames, 'h5_frames', 3, 1, 'float metres, filled depth', 0, 5, True),
    'h5_tars': (layouts.h5_tars, 'h5_frames', 3, 1, 'float metres, filled depth', 0, 5, True),
    'npy_pairs': (layouts.npy_pairs, 'npy_pairs', 2, 3, 'float metres', 0, 0, True),
    'marigold': (
        lambda root: layouts.marigold(root) / 'test/bathroom',
        'marigold',
        1,
        1,
        '16-bit mm, filled depth',
        0,
        1,
        True,
    ),
    'folders': (layouts.folders, 'folders', 3, 1, '16-bit mm, raw depth', 0, 3, False),
    'tum': (layouts.tum, 'tum', 3, 1, '5000 units per metre, raw depth', 0, 3, False),
    'rooms': (layouts.rooms, 'rooms', 2, 2, '16-bit mm, exact depth', 0, 2, False),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path: Path) -> tuple:
    write, *rest = CASES[request.param]
    return write(tmp_path / 'data'), *rest


def assert_is_scene(sample: Sample, index: int, is_filled: bool) -> None:
    rgb, depth = layouts.scene(index)
    assert sample.rgb.dtype == np.uint8 and sample.depth.dtype == np.float32
    assert sample.rgb.flags.c_contiguous and sample.depth.flags.c_contiguous
    # JPEG is lossy at edges; 8 bits are 39 mm apart.
    assert np.median(abs(sample.rgb.astype(int) - rgb)) <= 2
    wanted = layouts.filled(depth) if is_filled else depth
    np.testing.assert_allclose(sample.depth, wanted, atol=0.021)


def test_layout_is_recognised_named_and_read(case):
    path, layout, train, test, text, first_train, first_test, is_filled = case
    for split, count, first in (('train', train, first_train), ('test', test, first_test)):
        dataset = open_dataset(path, split)
        assert dataset.layout == layout and len(dataset) == count
        assert dataset.describe().startswith(f'{layout} layout, {count} pairs, ')
        assert text in dataset.describe()
        assert_is_scene(dataset[0], first, is_filled)
        with pytest.raises(IndexError):
            dataset[count]


def test_split_all_is_everything(case):
    path, layout, train, test, *_ = case
    everything = {'npy_pairs': test, 'official_splits': 3}.get(layout, train + test)
    assert len(open_dataset(path, 'all')) == everything


def test_dataset_survives_pickling_after_use(case):
    dataset = open_dataset(case[0], 'train')
    first = dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[0].depth, first.depth)
    assert copy[0].id == first.id


def read_depths(dataset: DepthDataset, queue: multiprocessing.Queue) -> None:
    queue.put([float(dataset[index].depth.max()) for index in range(len(dataset))])


@pytest.mark.skipif(sys.platform == 'win32', reason='there is no fork')
@pytest.mark.parametrize('write', [labeled, densedepth_zip])
def test_open_handles_survive_a_fork(write, tmp_path):
    dataset = open_dataset(write(tmp_path / 'data'), 'train')
    wanted = [float(dataset[index].depth.max()) for index in range(len(dataset))]
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    worker = context.Process(target=read_depths, args=(dataset, queue))
    worker.start()
    assert queue.get(timeout=60) == wanted
    worker.join()
    assert dataset[0].depth.max() == wanted[0]


def test_ids_are_unique(case):
    dataset = open_dataset(case[0], 'all')
    assert len({dataset[index].id for index in range(len(dataset))}) == len(dataset)


def test_labeled_mat_gives_either_ground_truth(tmp_path):
    path = labeled(tmp_path / 'data')
    for truth, hole in (('raw', 0), ('filled', 1.25)):
        dataset = open_dataset(path, 'test', ground_truth=truth)
        assert dataset.ground_truth == truth
        assert dataset[0].depth[0, 0] == hole
    assert open_dataset(path / 'nyu_depth_v2_labeled.mat', 'test')[1].id == '00003'
    # NYU's, of 640 columns, at the 64 of this miniature.
    assert dataset[0].fx == pytest.approx(51.88579, abs=1e-5)


def test_marigold_gives_either_ground_truth(tmp_path):
    path = layouts.marigold(tmp_path)
    assert open_dataset(path, 'test', ground_truth='raw')[0].depth[0, 0] == 0
    assert open_dataset(path, 'test')[0].depth[0, 0] == 1.25


def test_densedepth_test_arrays(tmp_path):
    dataset = open_dataset(layouts.densedepth_test(tmp_path), 'test')
    assert dataset.layout == 'densedepth_test' and len(dataset) == 2
    assert_is_scene(dataset[1], 1, True)
    with pytest.raises(DataError, match='no training data'):
        open_dataset(tmp_path, 'train')


def test_a_single_tar_or_scene_is_data_too(tmp_path):
    tar = layouts.h5_tars(tmp_path / 'tars') / 'data/train-000000.tar'
    assert len(open_dataset(tar, 'train')) == 2
    room = layouts.rooms(tmp_path / 'rooms', count=3) / 'scene_1'
    assert len(open_dataset(room, 'all')) == 3
    assert [open_dataset(room, 'train')[0].id, open_dataset(room, 'test')[0].id] == [
        'scene_1/rgb_00000',
        'scene_1/rgb_00002',
    ]


@pytest.mark.parametrize('newline', ['\n', '\r\n'])
@pytest.mark.parametrize('slash', ['', '/'])
def test_lists_choose_the_pairs_of_a_sync_folder(tmp_path, newline, slash):
    root = layouts.sync(tmp_path / 'sync')
    rows = [
        f'{slash}{scene}/rgb_00001.jpg {slash}{scene}/sync_depth_00001.png 518.8579'
        for scene in ('office_0002', 'kitchen_0001')
    ]
    text = newline.join([*rows, ''])
    outside = layouts.write(tmp_path / 'list.txt', text)
    layouts.write(root / 'nyudepthv2_train_files_with_gt.txt', text)
    for dataset in (open_dataset(root, 'train'), open_dataset(root, 'test', list_file=outside)):
        assert [dataset[index].id for index in range(len(dataset))] == [
            'office_0002/rgb_00001',
            'kitchen_0001/rgb_00001',
        ]
        assert dataset[0].fx == 518.8579
        assert 'list' in dataset.describe()


def test_camera_json_gives_the_focal_length_at_the_images_size(tmp_path):
    root = layouts.sync(tmp_path)
    for scene in ('kitchen_0001', 'office_0002'):
        layouts.write(root / scene / 'camera.json', '{"width": 640, "fx": 585.0, "cx": 319.5}')
    sample = open_dataset(root, 'train')[0]
    assert (sample.fx, sample.cx) == (pytest.approx(58.5), pytest.approx(31.5))


def test_named_scenes_are_held_out(tmp_path):
    root = layouts.rooms(tmp_path, ('scene_0', 'scene_1', 'scene_2'))
    train = open_dataset(root, 'train', hold_out=['scene_1'])
    test = open_dataset(root, 'val', hold_out=['scene_1'])
    assert {train[i].id.split('/')[0] for i in range(len(train))} == {'scene_0', 'scene_2'}
    assert {test[i].id.split('/')[0] for i in range(len(test))} == {'scene_1'}
    assert 'scene_1' in test.describe()
    with pytest.raises(DataError, match="no scene 'scene_9'"):
        open_dataset(root, 'train', hold_out=['scene_9'])
    with pytest.raises(DataError, match='every scene is held out'):
        open_dataset(root, 'train', hold_out=['scene_0', 'scene_1', 'scene_2'])


def test_rooms_know_each_views_camera(tmp_path):
    dataset = open_dataset(layouts.rooms(tmp_path) / 'scene_0', 'all')
    views = [dataset[index] for index in range(len(dataset))]
    assert [view.fx for view in views] == [50, 51]
    assert views[0].cx == 32


def test_layout_is_recognised_wherever_a_user_points(tmp_path):
    layouts.sync(tmp_path / 'official_splits/test', ('bathroom',), 1)
    layouts.sync(tmp_path / 'official_splits/train', ('kitchen',), 1)
    for path in (tmp_path, tmp_path / 'official_splits', tmp_path / 'official_splits/test'):
        dataset = open_dataset(path, 'test')
        assert dataset.layout == 'official_splits'
        assert dataset[0].fx == pytest.approx(51.88579, abs=1e-4)
    with pytest.raises(DataError, match='has no train folder'):
        open_dataset(tmp_path / 'official_splits/test', 'train')


def test_list_rows(tmp_path):
    file = layouts.write(tmp_path / 'a.txt', '\ufeff/a.jpg /a.png 500\r\n\r\nb.jpg b.png\r\n')
    assert [pair[:3] for pair in read_list(file)] == [
        ('a.jpg', 'a.png', 500.0),
        ('b.jpg', 'b.png', None),
    ]


def test_parts_of_a_data_set(tmp_path):
    whole = open_dataset(layouts.sync(tmp_path, ('a_0001',), 10), 'all')
    part = evenly(whole, 4)
    assert [part[index].id[-1] for index in range(4)] == ['0', '2', '5', '7']
    assert (
        part.describe()
        == 'sync layout, 4 pairs, 16-bit mm, raw depth; 4 of 10 pairs, equally spaced'
    )
    assert evenly(whole, 10) is whole
    chosen = pickle.loads(pickle.dumps(Part(whole, [9, 1], 'two pairs')))
    assert chosen[0].id.endswith('9') and chosen.source(1).endswith('rgb_00001.jpg')
    with pytest.raises(IndexError):
        chosen[2]


def test_folders_may_be_links_to_data_elsewhere(case, tmp_path):
    """Large data often lie on another disk."""
    path, here = case[0], tmp_path / 'here' / case[0].name
    here.parent.mkdir()
    if path.is_file():
        here.symlink_to(path)
    else:
        here.mkdir()
        for item in path.iterdir():
            (here / item.name).symlink_to(item)
    before, after = open_dataset(path, 'all'), open_dataset(here, 'all')
    assert [sample.id for sample in after] == [sample.id for sample in before]
