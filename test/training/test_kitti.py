# SPDX-License-Identifier: Apache-2.0
"""KITTI: reader, lists of the Eigen split, filling, protocols and DenseDepth's recipe."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_perception.io.weights import load_weights
from depth_training import cli
from depth_training.data import DataError, open_dataset
from depth_training.data.filling import filled
from depth_training.data.layouts.kitti_laser import projected
from depth_training.evaluate import protocols
from depth_training.evaluate.metrics import Metrics
from depth_training.losses.losses import from_reciprocal, reciprocal
from depth_training.recipes import RECIPES, get_recipe
from depth_training.train import build
from test.support import layouts
from test.support.tiny_training import TINY, words

BTS = '{date}/{drive}/image_02/data/{frame} {depth} 721.5377\n'
DRIVE = '2011_09_26_drive_0001_sync'


def test_annotated_frames_are_read_in_metres_with_their_camera(tmp_path):
    root = layouts.kitti(tmp_path)
    train, test = (open_dataset(root, split) for split in ('train', 'test'))
    assert train.layout == 'kitti' and (len(train), len(test)) == (3, 3)
    assert '256 units per metre' in train.describe() and 'not the Eigen split' in train.describe()
    assert all('drive_0002' in test.source(index) for index in range(3))
    sample = train[1]
    known = sample.depth > 0
    np.testing.assert_allclose(
        sample.depth[known], (layouts.scene(1, (48, 160))[1] * 8)[known], atol=1 / 256
    )
    assert 0.1 < known.mean() < 0.3
    assert (sample.fx, sample.cx) == (90.2, 76.2)
    assert len(open_dataset(root, 'all')) == 6


def test_lists_are_the_eigen_split(tmp_path):
    root = layouts.kitti(tmp_path, count=2)
    rows = [
        BTS.format(date='2011_09_26', drive=DRIVE, frame=f'000000000{number}.png', depth=depth)
        for number, depth in (
            (5, f'{DRIVE}/proj_depth/groundtruth/image_02/0000000005.png'),
            (9, 'None'),
        )
    ]
    layouts.write(root / 'eigen_test_files_with_gt.txt', ''.join(rows))
    test = open_dataset(root, 'test')
    assert len(test) == 1 and 'list eigen_test_files_with_gt.txt' in test.describe()
    assert f'1 pictures without depth (first {DRIVE}/image_02/0000000009)' in test.describe()
    own = layouts.write(tmp_path / 'list.txt', f'2011_09_26/{DRIVE} 6 l\n')
    assert open_dataset(root, 'test', list_file=own).source(0).endswith('0000000006.png')
    layouts.write(own, 'a b\n')
    with pytest.raises(DataError, match=r'list\.txt line 1: "a b" is not an image'):
        open_dataset(root, 'test', list_file=own)
    layouts.write(own, f'{DRIVE} 77 l\n')
    with pytest.raises(DataError, match='none has both its picture and its depth map'):
        open_dataset(root, 'test', list_file=own)


def test_laser_points_are_projected_into_the_picture(tmp_path):
    root = layouts.kitti(tmp_path)
    assert open_dataset(root, 'test', ground_truth='laser').ground_truth == 'raw'
    layouts.kitti_laser(root)
    laser = open_dataset(root, 'test', ground_truth='laser')
    annotated = open_dataset(root, 'test')
    assert 'points in metres, laser depth' in laser.describe() and len(laser) == 3
    assert annotated.ground_truth == 'raw'
    np.testing.assert_allclose(laser[1].depth, annotated[1].depth, atol=1e-5)
    assert laser[1].fx == annotated[1].fx
    file = next(root.glob('*/*/velodyne_points/data/*.bin'))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match='is truncated'):
        [open_dataset(root, 'all', ground_truth='laser')[index] for index in range(6)]


def test_the_nearest_point_wins_and_what_is_behind_is_left_out():
    projection = np.array([[0, -100.0, 0, 0], [0, 0, -100.0, 0], [1, 0, 0, 0]])
    projection[:2, 0] = 20, 10  # the optical axis, in pixels counted from 1
    points = np.array([[5, 0, 0], [3, 0, 0], [-4, 0, 0], [2, 9, 0]], np.float32)
    depth = projected(points, projection, 20, 40)
    assert depth[9, 19] == 3 and np.count_nonzero(depth) == 1


@pytest.mark.parametrize(
    'name, rows, columns',
    [('kitti_garg', (153, 371), (44, 1197)), ('kitti_eigen', (124, 342), (44, 1197))],
)
def test_crops_are_monodepths(name, rows, columns):
    truth = np.full((375, 1242), 20, np.float32)
    valid = protocols.valid_pixels(protocols.get_protocol(name), truth)
    inside = np.zeros_like(valid)
    inside[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(valid, inside)


@pytest.mark.parametrize('name', protocols.KITTI)
def test_depth_is_capped_at_80_m_and_an_oracle_scores_nothing(name):
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 100, (375, 1242)).astype(np.float32)
    metrics = Metrics()
    protocol = protocols.get_protocol(name)
    protocols.judge(protocol, truth, truth, metrics)
    assert metrics.scores()['AbsRel'] == 0
    valid = protocols.valid_pixels(protocol, truth)
    assert truth[valid].max() < 80 and protocol.averaging == 'images'
    assert 'of the height' in protocol.describe() and '..80 m' in protocol.describe()


def test_filling_keeps_what_is_known_and_follows_the_picture():
    rgb, depth = layouts.scene(0, (48, 160))
    sparse = depth.copy()
    sparse[np.random.default_rng(0).random(depth.shape) < 0.9] = 0
    for shrink in (1, 2):
        whole = filled(rgb, sparse, shrink)
        assert (whole > 0).all()
        np.testing.assert_array_equal(whole[sparse > 0], sparse[sparse > 0])
        wanted = np.where(depth == 0, 1.5, depth)  # the hole of the scene has its wall's colour
        assert (abs(whole - wanted) < 0.1).mean() > 0.97
    assert filled(rgb, depth * 0) is not None and not filled(rgb, depth * 0).any()


def test_prepared_pairs_are_dense_and_keep_unit_and_camera(tmp_path, capsys):
    root = layouts.kitti(tmp_path / 'kitti')
    command = ['prepare', 'kitti', str(root), str(tmp_path / 'out'), '--jobs', '1']
    assert cli.main(command) == 0
    assert '3 pairs of 1 scenes' in capsys.readouterr().err
    data = open_dataset(tmp_path / 'out', 'all')
    assert data.layout == 'sync' and '256 units per metre' in data.describe() and len(data) == 3
    assert (data[0].depth > 0).all() and data[0].fx == 90.2 and data[0].depth.max() > 20
    assert cli.main(command) == 0
    assert '3 of them already there' in capsys.readouterr().err
    assert cli.main(['prepare', 'kitti', str(layouts.sync(tmp_path / 'sync')), 'x']) == 1
    assert 'is not KITTI' in capsys.readouterr().err


def test_the_recipe_is_the_papers():
    recipe = get_recipe('paper_004_kitti')
    assert (recipe.height, recipe.width, recipe.max_depth) == (384, 1280, 80.0)
    loss = build.loss(recipe)
    depth = torch.full((1, 1, 192, 640), 40.0)
    valid = torch.ones_like(depth, dtype=torch.bool)
    assert loss(torch.full_like(depth, 2.0), depth, valid) < 1e-6  # 80 / 40
    far = reciprocal(torch.tensor([0.1, 0.8, 80.0, 200.0]), 80.0, 0.8, 80.0)
    torch.testing.assert_close(far, torch.tensor([100.0, 100.0, 1.0, 1.0]))
    torch.testing.assert_close(
        from_reciprocal(far, 80.0, 0.8, 80.0)[1:3], torch.tensor([0.8, 80.0])
    )


def test_from_kitti_to_scores(tmp_path, monkeypatch, capsys):
    """Prepare, train two steps, and evaluate by KITTI's protocols, as in docs/reproducing.md."""
    root = layouts.kitti_laser(layouts.kitti(tmp_path / 'kitti', count=2))
    recipe = replace(
        TINY,
        output='reciprocal',
        loss='densedepth',
        loss_arguments={},
        min_depth=0.8,
        max_depth=80.0,
        protocol='kitti_densedepth',
        batch=2,
        beyond='clipped',
    )
    monkeypatch.setitem(RECIPES, 'tiny', recipe)
    assert cli.main(['prepare', 'kitti', str(root), str(tmp_path / 'pairs'), '--jobs', '1']) == 0
    assert (
        cli.main(
            words(
                tmp_path / 'pairs',
                tmp_path / 'run',
                '--split',
                'all',
                '--validation-data',
                str(root),
                '--steps',
                '2',
            )
        )
        == 0
    )
    weights = tmp_path / 'run/weights.safetensors'
    info = load_weights(weights).info
    assert (info.reciprocal_scale, info.min_depth, info.max_depth) == (80.0, 0.8, 80.0)
    capsys.readouterr()
    assert cli.main(['evaluate', '--weights', str(weights), '--data', str(root), '--json']) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result['protocol'] for result in results] == list(protocols.KITTI)
    assert all(result['counts']['images'] == 2 and not result['note'] for result in results)
