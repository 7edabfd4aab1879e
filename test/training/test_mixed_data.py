# SPDX-License-Identifier: Apache-2.0
"""Several data sets together: rendered rooms split by their manifest, others, and raycast views."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from depth_training import cli
from depth_training.data import DataError, open_dataset
from depth_training.data.joined import Joined, open_joined
from depth_training.data.raycast_rooms import RaycastRooms, with_raycast
from depth_training.recipes import RECIPES, get_recipe
from depth_training.train import build
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, words


def rendered(root: Path) -> Path:
    """Write output of tools/rooms: two finished rooms, one for validation, one unfinished."""
    layouts.rooms(root / 'frames', ('scene_bedroom_20', 'scene_bedroom_21', 'scene_kitchen_22'), 4)
    splits = {'scene_bedroom_20': 'train', 'scene_bedroom_21': 'validation'}
    rooms = [{'folder': name, 'split': split} for name, split in splits.items()]
    (root / 'manifest.json').write_text(json.dumps({'rooms': rooms}))
    return root


def ids(dataset) -> set[str]:
    return {dataset[index].id.split('/')[0] for index in range(len(dataset))}


@pytest.mark.parametrize('folder', ['.', 'frames'])
def test_the_manifest_of_rendered_rooms_decides_the_split(tmp_path, folder):
    path = rendered(tmp_path / 'rooms') / folder
    train, test = (open_dataset(path, split) for split in ('train', 'test'))
    assert (ids(train), ids(test)) == ({'scene_bedroom_20'}, {'scene_bedroom_21'})
    assert 'test part of the manifest, 1 of 2 rooms' in test.describe()
    everything = open_dataset(path, 'all')
    assert ids(everything) == {'scene_bedroom_20', 'scene_bedroom_21'}


def test_grains_in_the_panes_of_older_renderings_are_no_depth(tmp_path):
    root = layouts.rooms(tmp_path, ('scene_0',), 1)
    depth = np.full((48, 64), 2000, np.uint16)
    depth[10:30, 20:50] = 0
    grains = np.random.default_rng(0).random((48, 64)) < 0.1
    depth[(depth == 0) & grains] = 1900
    layouts.write(root / 'scene_0/depth_00000.png', layouts.encode('.png', depth))
    read = open_dataset(root, 'all')[0].depth
    assert not read[11:29, 21:49].any()
    outside = np.ones((48, 64), bool)
    outside[10:30, 20:50] = False
    assert (read[outside] == 2).all()


def test_a_manifest_without_a_room_for_validation_and_a_broken_one_are_said(tmp_path):
    root = rendered(tmp_path / 'rooms')
    file = root / 'manifest.json'
    file.write_text(file.read_text().replace('validation', 'train'))
    with pytest.raises(DataError, match='no finished room is in the test part yet'):
        open_dataset(root, 'test')
    file.write_text('{"rooms": [{}]}')
    with pytest.raises(DataError, match=r'manifest.json is not a manifest of rendered rooms'):
        open_dataset(root, 'train')


def test_several_data_sets_keep_their_own_splits(tmp_path):
    paths = [rendered(tmp_path / 'rooms'), layouts.rooms(tmp_path / 'more', count=3)]
    train = open_joined(paths, 'train', ['scene_1'])
    assert [train[index].id for index in (0, 3, 4, 6)] == [
        'scene_bedroom_20/rgb_00000',
        'scene_bedroom_20/rgb_00003',
        'scene_0/rgb_00000',
        'scene_0/rgb_00002',
    ]
    assert train.source(4).endswith('more/scene_0/rgb_00000.jpg') and len(train) == 7
    assert train.ground_truth == 'exact'
    assert ids(open_joined(paths, 'test', ['scene_1'])) == {'scene_bedroom_21', 'scene_1'}
    with pytest.raises(IndexError):
        train[7]
    with pytest.raises(DataError, match="has a scene 'scene_9' to hold out"):
        open_joined(paths, 'train', ['scene_9'])
    with pytest.raises(DataError, match='name files or folders with --data'):
        open_joined([], 'train')


def test_raycast_views_have_their_share_and_are_the_same_in_every_epoch(tmp_path):
    rooms = open_dataset(layouts.rooms(tmp_path, count=3), 'all')
    both = with_raycast(rooms, 0.4, seed=3)
    assert len(both) == 10 and 'raycast layout, 4 pairs' in both.describe()
    views = both.parts[1]
    assert isinstance(views, RaycastRooms) and len(views) == 4
    first, again, other = both[6], both[6], both[7]
    np.testing.assert_array_equal(first.rgb, again.rgb)
    assert first.rgb.shape == (240, 320, 3) and not np.array_equal(first.rgb, other.rgb)
    assert first.fx and first.depth.min() > 0.1
    assert with_raycast(rooms, 0, seed=3) is rooms
    with pytest.raises(DataError, match=r'a share of 1\.5'):
        with_raycast(rooms, 1.5, seed=3)


def test_a_joined_data_set_without_cameras_is_found_out(tmp_path):
    parts = [
        open_dataset(layouts.rooms(tmp_path / 'a'), 'all'),
        open_dataset(layouts.sync(tmp_path / 'b'), 'all'),
        open_dataset(layouts.rooms(tmp_path / 'c'), 'all'),
    ]
    for joined in (Joined(parts), Joined([Joined(parts), parts[0]])):
        with pytest.raises(DataError, match='needs the focal length'):
            build.canonical_focal(get_recipe('bundled'), joined)


def test_a_run_trains_on_all_of_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data, more = rendered(tmp_path / 'rooms'), layouts.rooms(tmp_path / 'more', count=4)
    arguments = words(
        data, tmp_path / 'run', '--raycast-share', '0.2', '--steps', '2', '--hold-out', 'scene_1'
    )
    arguments.insert(arguments.index('--data') + 2, str(more))
    assert cli.main(arguments) == 0, capsys.readouterr().err
    about = read_run(tmp_path / 'run').description
    assert about.pairs == 10 and about.training.count(' + ') == 2
    assert about.validation.count('test part') == 2
