# SPDX-License-Identifier: Apache-2.0
"""Units and axes are checked: implausible depth and swapped axes are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from depth_training import cli
from depth_training.data import DataError, open_dataset
from depth_training.data.joined import Joined
from depth_training.data.sample import UnitError
from depth_training.data.scales import likely_scales
from test.support import layouts


def stored(root: Path, scale: float, scenes: tuple[str, ...] = ('a_0001', 'b_0002')) -> Path:
    """Write a sync folder whose depth has this many units per metre."""
    for scene in scenes:
        for index in range(2):
            rgb, depth = layouts.scene(index)
            layouts.write(root / scene / f'rgb_{index:05d}.jpg', layouts.encode('.jpg', rgb))
            layouts.write(
                root / scene / f'sync_depth_{index:05d}.png',
                layouts.encode('.png', np.round(depth * scale).astype(np.uint16)),
            )
    return root


@pytest.mark.parametrize('scale', [100, 256, 4000, 5000, 6553.5, 10000])
def test_depth_in_another_unit_is_refused_with_the_likely_unit_and_read_with_its_scale(
    scale, tmp_path
):
    root = stored(tmp_path / 'data', scale)
    with pytest.raises(UnitError, match='implausible for rooms') as caught:
        open_dataset(root, 'all')
    message = str(caught.value)
    assert re.search(rf'likely .*\b{scale:g}\b', message) and 'median' in message
    assert '--depth-scale 1000' in message and str(root) in message and len(message) < 400
    data = open_dataset(root, 'all', depth_scale=scale)
    assert data.describe() == f'sync layout, 4 pairs, {scale:g} units per metre, raw depth'
    np.testing.assert_allclose(data[0].depth, layouts.scene()[1], atol=0.01)


def test_a_user_may_confirm_what_is_implausible(tmp_path):
    data = open_dataset(stored(tmp_path / 'desk', 256), 'all', depth_scale=1000)
    assert data[0].depth.max() == pytest.approx(3.5 * 0.256)


def test_our_own_rendered_views_are_in_millimetres_however_near_a_wall_they_are():
    desk = Path(__file__).parents[2] / 'data/drives/bedroom_7028'
    data = open_dataset(desk, 'all')
    assert data.describe() == 'rooms layout, 12 pairs, 16-bit mm, exact depth'
    assert 0.5 < np.median(data[0].depth) < 1


def test_one_scene_in_another_unit_is_found_among_others(tmp_path):
    root = stored(
        stored(tmp_path / 'data', 1000, ('a_0001', 'b_0002', 'c_0003')), 5000, ('d_0004',)
    )
    with pytest.raises(UnitError, match=r'd_0004: .*likely 5000'):
        open_dataset(root, 'all')


@pytest.mark.parametrize('step, first', [(4, 4000), (5, 5000), (10, 10000)])
def test_multiples_tell_which_unit(step, first):
    millimetres = np.random.default_rng(0).integers(800, 6000, 500)
    assert likely_scales(millimetres * float(step))[0] == first


def test_values_that_fill_sixteen_bits_tell_too():
    metres = np.random.default_rng(0).uniform(1, 10, 500)
    assert likely_scales(np.round(metres * 6553.5))[0] == 6553.5


def test_the_largest_value_of_sixteen_bits_is_no_depth(tmp_path):
    root = stored(tmp_path / 'data', 1000)
    depth = np.round(layouts.scene()[1] * 1000).astype(np.uint16)
    depth[:, :5] = 65535
    layouts.write(root / 'a_0001/sync_depth_00000.png', layouts.encode('.png', depth))
    assert not open_dataset(root, 'all')[0].depth[:, :5].any()


@pytest.mark.parametrize('factor, likely', [(100, '100'), (1000, '1000')])
def test_floats_that_are_no_metres(factor, likely, tmp_path):
    root = layouts.npy_pairs(tmp_path / 'data')
    for file in root.glob('*.npy'):
        np.save(file, np.load(file) * factor)
    with pytest.raises(UnitError, match=rf'likely {likely} units per metre'):
        open_dataset(root, 'all')
    assert open_dataset(root, 'all', depth_scale=factor)[0].depth.max() == pytest.approx(3.5)


def test_normalised_depth_is_refused(tmp_path):
    root = layouts.npy_pairs(tmp_path / 'data')
    for file in root.glob('*.npy'):
        np.save(file, np.load(file) / 10)
    with pytest.raises(UnitError, match='implausible for rooms'):
        open_dataset(root, 'all')


@pytest.mark.parametrize('scale', [0, -5, float('nan'), float('inf')])
def test_a_scale_is_a_positive_number(scale, tmp_path):
    with pytest.raises(DataError, match='depth scale'):
        open_dataset(layouts.sync(tmp_path), 'all', depth_scale=scale)


def test_parts_of_several_data_sets_keep_their_scales(tmp_path):
    parts = [
        open_dataset(stored(tmp_path / 'a', 5000), 'all', depth_scale=5000),
        open_dataset(layouts.sync(tmp_path / 'b'), 'all'),
    ]
    joined = Joined(parts)
    assert [joined[index].depth.max() for index in (0, 4)] == pytest.approx([3.5, 3.5])


def test_the_command_line_has_the_scale(tmp_path, capsys):
    root = stored(tmp_path / 'data', 5000)
    words = ['overfit', '--data', str(root), '--pairs', '99']
    assert cli.main(words) == 1
    assert '--depth-scale' in capsys.readouterr().err
    assert cli.main([*words, '--depth-scale', '5000']) == 1
    assert 'has 4 pairs' in capsys.readouterr().err
    for name in ('train', 'evaluate', 'report', 'model-card'):
        assert 'depth_scale' in {
            field
            for field in cli.parse(
                name,
                {
                    'train': ['paper_000', '--data', 'x'],
                    'evaluate': ['--weights', 'x', '--data', 'x'],
                    'report': ['--out', 'x'],
                    'model-card': ['--data', 'x'],
                }[name],
            ).__dataclass_fields__
        }


@pytest.mark.parametrize('axes', [((0, 1, 3, 2), (0, 2, 1)), ((0, 3, 2, 1), (0, 2, 1))])
def test_a_mat_that_was_saved_with_rows_first(axes, tmp_path):
    h5py = pytest.importorskip('h5py')
    file = layouts.labeled_mat(tmp_path / 'labeled.mat')
    with h5py.File(file, 'r+') as content:
        for key in ('images', 'depths', 'rawDepths'):
            value = content[key][()].transpose(axes[key != 'images'])
            del content[key]
            content[key] = value
    data = open_dataset(file, 'all', ground_truth='raw')
    assert 'saved with rows first' in data.describe()
    rgb, depth = layouts.scene(1)
    np.testing.assert_array_equal(data[1].rgb, rgb)
    np.testing.assert_allclose(data[1].depth, depth)


def test_a_mat_whose_images_and_depths_are_turned_differently_is_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    file = layouts.labeled_mat(tmp_path / 'labeled.mat')
    with h5py.File(file, 'r+') as content:
        value = content['images'][()].transpose(0, 1, 3, 2)
        del content['images']
        content['images'] = value
    with pytest.raises(DataError, match='not the shapes of the labelled'):
        open_dataset(file, 'all')


def test_upright_frames_of_nyu_are_turned_ones(tmp_path):
    pytest.importorskip('h5py')
    arrays = layouts.densedepth_test(tmp_path / 'arrays')
    for name, axes in (('rgb', (0, 2, 1, 3)), ('depth', (0, 2, 1))):
        file = arrays / f'eigen_test_{name}.npy'
        np.save(file, np.load(file).transpose(axes))
    with pytest.raises(DataError, match='rows and columns are swapped'):
        open_dataset(arrays, 'test')
    rgb, depth = layouts.scene()
    frames = tmp_path / 'frames/train/a/1.h5'
    layouts.write(frames, layouts.h5_file(rgb.transpose(2, 1, 0), depth.T))
    with pytest.raises(DataError, match='rows and columns are swapped'):
        open_dataset(tmp_path / 'frames', 'train')


def test_a_turned_depth_map_is_told_from_one_of_another_size(tmp_path):
    root = layouts.npy_pairs(tmp_path / 'data', 1)
    np.save(root / '0000_dpth.npy', layouts.scene()[1].T)
    with pytest.raises(DataError, match='rows and columns of one are swapped'):
        open_dataset(root, 'test')


@pytest.mark.parametrize('fx', [4.2, 1e6])
def test_a_focal_length_in_millimetres_is_refused(fx, tmp_path):
    root = layouts.sync(tmp_path, ('a_0001',))
    layouts.write(root / 'a_0001/camera.json', f'{{"fx": {fx}, "cx": 32, "width": 64}}')
    with pytest.raises(DataError, match=r'focal length of .* fx must be in pixels'):
        open_dataset(root, 'all')
