# SPDX-License-Identifier: Apache-2.0
"""Read real and rendered data next to the project, if there are any.

`DEPTH_PERCEPTION_DATA` names the folder; the default is `../shared/data`, next to the repository.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from depth_training.data import open_dataset
from depth_training.data.layouts.sync import read_list
from depth_training.data.splits import read_splits

FOLDER = Path(
    os.environ.get('DEPTH_PERCEPTION_DATA')
    or Path(__file__).resolve().parents[2].parent / 'shared/data'
)


def folder(name: str) -> Path:
    if not (FOLDER / name).is_dir():
        pytest.skip(f'{FOLDER / name} is absent: set DEPTH_PERCEPTION_DATA to the data folder')
    return FOLDER / name


def test_official_split():
    splits = read_splits(folder('nyu_splits') / 'splits.mat')
    digests = {
        name: hashlib.sha256((indices + 1).astype('<u2').tobytes()).hexdigest()
        for name, indices in splits.items()
    }
    assert {name: len(indices) for name, indices in splits.items()} == {'train': 795, 'test': 654}
    assert np.array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(1449))
    assert digests == {
        'train': '3e06f93e72a123ac410290a2cd39492ab1db8f922e19871ef292ba6f5048c30e',
        'test': '2eeec7e27c622efec02adeaeb4b46566781fffd5e057d100ee98ca977cf0d0a5',
    }


@pytest.mark.parametrize('split, count, scenes', [('train', 24231, 284), ('test', 654, None)])
def test_bts_lists(split, count, scenes):
    pairs = list(read_list(folder('nyu_splits') / f'nyudepthv2_{split}_files_with_gt.txt'))
    assert len(pairs) == count
    assert not any(name.startswith('/') for pair in pairs for name in pair[:2])
    assert {pair.fx for pair in pairs} == {518.8579}
    if scenes:
        assert len({pair.rgb.split('/')[0] for pair in pairs}) == scenes


@pytest.mark.parametrize(
    'name, layout, count',
    [
        ('real/kitchen', 'sync', 100),
        ('real/lab', 'sync', 10),
        ('real/wardrobe', 'sync', 10),
        ('rooms/scene_0', 'rooms', 100),
        ('rooms/scene_3', 'rooms', 37),
    ],
)
def test_real_and_rendered_scenes(name, layout, count):
    dataset = open_dataset(folder(name), 'all')
    assert dataset.layout == layout and len(dataset) == count
    for index in (0, count - 1):
        sample = dataset[index]
        assert sample.rgb.shape[:2] == sample.depth.shape
        assert 0.3 < np.median(sample.depth[sample.depth > 0]) < 8
    assert (sample.fx is None) == (name == 'real/lab')
