# SPDX-License-Identifier: Apache-2.0
"""The `packed` layout: round trip and errors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_training.data import DataError, open_dataset, pack_rooms
from depth_training.data.layouts.packed import DepthCode, PackedViews, write_pack
from depth_training.data.sample import Sample

HEIGHT, WIDTH = 48, 64


def view(number: int, **values) -> Sample:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    rgb = np.dstack([rows * 5, columns * 4, np.full_like(rows, 20 * number)]).astype(np.uint8)
    depth = 1 + 0.05 * rows + 0.01 * number
    depth[:3] = 0
    return Sample(
        **{
            'rgb': rgb,
            'depth': depth,
            'id': f'room_{number % 2}/{number}',
            'fx': 50.0,
            'cx': 31.0,
            **values,
        }
    )


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / 'rooms.zip'
    write_pack(path, [(view(0), 'train'), (view(1), 'train'), (view(2), 'test')])
    return path


def test_views_come_back(pack):
    dataset = open_dataset(pack, 'train')
    assert isinstance(dataset, PackedViews) and len(dataset) == 2
    for number in range(2):
        before, after = view(number), dataset[number]
        assert (after.id, after.fx, after.cx) == (before.id, before.fx, before.cx)
        known = before.depth > 0
        assert np.array_equal(after.depth > 0, known)
        # Half a step of 10 bits over a range of a factor of 100.
        error = np.abs(after.depth[known] / before.depth[known] - 1)
        assert error.max() < np.log(100) / 1022 / 2 * 1.01
        assert np.abs(after.rgb.astype(int) - before.rgb).mean() < 4
    assert open_dataset(pack, 'test')[0].id == 'room_0/2'
    assert 'packed layout, 2 pairs, 10-bit logarithm' in dataset.describe()


def test_all_views_at_once_are_the_single_ones(pack):
    views = PackedViews(pack, 'all')
    rgb, numbers = views.read_all(threads=2)
    assert rgb.shape == (3, HEIGHT, WIDTH, 3) and numbers.shape == (3, HEIGHT, WIDTH)
    for index in range(3):
        assert np.array_equal(rgb[index], views[index].rgb)
        assert np.array_equal(views.code.decode(numbers[index]), views[index].depth)


@pytest.mark.parametrize('bits', [8, 10, 12, 16])
def test_code_is_exact_to_half_a_step(bits):
    code = DepthCode(bits)
    depth = np.geomspace(0.2, 20, 999, dtype=np.float32)[None]
    step = np.log(100) / (2**bits - 2)
    error = np.abs(np.log(code.decode(code.encode(depth)) / depth))
    assert error.max() <= step / 2 + 2e-6
    assert code.encode(np.array([[0, 0.01, 99]], np.float32)).tolist() == [[0, 1, 2**bits - 1]]


def test_a_file_that_cannot_be_completed_leaves_the_old_one(pack):
    before = pack.read_bytes()
    small = view(1, rgb=np.zeros((8, 8, 3), np.uint8), depth=np.ones((8, 8), np.float32))
    with pytest.raises(DataError, match='8x8, but the views before it are 64x48'):
        write_pack(pack, [(view(0), 'train'), (small, 'train')])
    with pytest.raises(DataError, match='no focal length'):
        write_pack(pack, [(view(0, fx=None), 'train')])
    with pytest.raises(DataError, match='no views to pack'):
        write_pack(pack, [])
    assert pack.read_bytes() == before and list(pack.parent.iterdir()) == [pack]


@pytest.mark.parametrize('bits, near', [(7, 0.2), (17, 0.2), (10, 0.0), (10, 30.0)])
def test_code_refuses_what_makes_no_sense(bits, near):
    with pytest.raises(ValueError, match=r'bits is|near'):
        DepthCode(bits, near)


def test_malformed_files_are_named(pack, tmp_path):
    with zipfile.ZipFile(pack) as archive:
        index = json.loads(archive.read('index.json'))
    for change, text in (({'version': 9}, 'is of version 9'), ({'views': [{}]}, 'malformed')):
        file = tmp_path / 'other.zip'
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('index.json', json.dumps({**index, **change}))
        with pytest.raises(DataError, match=text):
            open_dataset(file)
    with pytest.raises(DataError, match='no views of the split'):
        write_pack(tmp_path / 'train.zip', [(view(0), 'train')])
        open_dataset(tmp_path / 'train.zip', 'test')


def test_the_command_packs_rooms_and_keeps_their_split(tmp_path, capsys):
    frames = tmp_path / 'rooms' / 'frames'
    for room in ('a', 'b'):
        folder = frames / room
        folder.mkdir(parents=True)
        for number in range(3):
            sample = view(number)
            cv2.imwrite(str(folder / f'rgb_{number:05d}.jpg'), sample.rgb)
            cv2.imwrite(
                str(folder / f'depth_{number:05d}.png'), (sample.depth * 1000).astype(np.uint16)
            )
        (folder / 'cameras.csv').write_text(
            'index,fx,fy,cx,cy\n' + ''.join(f'{n},50,50,31,24\n' for n in range(3))
        )
    (frames.parent / 'manifest.json').write_text(
        json.dumps(
            {'rooms': [{'folder': 'a', 'split': 'train'}, {'folder': 'b', 'split': 'validation'}]}
        )
    )
    out = tmp_path / 'rooms.zip'
    assert pack_rooms.main([str(out), str(frames.parent)]) == 0
    assert '6 views' in capsys.readouterr().err
    assert {v['name'][0] for v in PackedViews(out, 'train').views} == {'a'}
    assert {v['name'][0] for v in PackedViews(out, 'test').views} == {'b'}
    assert pack_rooms.main([str(out), str(frames.parent), '--megabytes', '0.0001']) == 0
    assert len(PackedViews(out, 'all')) == 2  # at least one of each split
    assert pack_rooms.main([str(out), str(tmp_path / 'nowhere')]) == 1
    assert 'nowhere does not exist' in capsys.readouterr().err


def test_a_scene_that_is_held_out_is_not_trained_on(tmp_path, capsys):
    """Without the option, data without a manifest hold out the scene that their layout chooses."""
    for scene in ('scene_0', 'scene_1', 'scene_2'):
        folder = tmp_path / 'rooms' / scene
        folder.mkdir(parents=True)
        for number in range(2):
            sample = view(number)
            cv2.imwrite(str(folder / f'rgb_{number:05d}.jpg'), sample.rgb)
            depth = (sample.depth * 1000).astype(np.uint16)
            cv2.imwrite(str(folder / f'depth_{number:05d}.png'), depth)
        rows = ''.join(f'{n},50,50,31,24\n' for n in range(2))
        (folder / 'cameras.csv').write_text('index,fx,fy,cx,cy\n' + rows)
    out = tmp_path / 'rooms.zip'
    command = [str(out), str(tmp_path / 'rooms')]
    assert pack_rooms.main([*command, '--hold-out', 'scene_1']) == 0
    names = {s: {v['name'][:7] for v in PackedViews(out, s).views} for s in ('train', 'test')}
    assert names == {'train': {'scene_0', 'scene_2'}, 'test': {'scene_1'}}
    capsys.readouterr()
    assert pack_rooms.main([*command, '--hold-out', 'scene_9']) == 1
    assert 'scene_9' in capsys.readouterr().err


def test_views_of_several_sizes_are_packed_at_one_size(tmp_path, capsys):
    """A wide picture loses its sides, and its focal length and axis follow the pixels."""
    for scene, width in (('desk', 64), ('hall', 96), ('shop', 64)):
        folder = tmp_path / 'real' / scene
        folder.mkdir(parents=True)
        depth = np.full((HEIGHT, width), 1500, np.uint16)
        depth[:, : width // 2] = 3000
        cv2.imwrite(str(folder / 'rgb_00000.jpg'), np.full((HEIGHT, width, 3), 99, np.uint8))
        cv2.imwrite(str(folder / 'sync_depth_00000.png'), depth)
        camera = {'width': width, 'fx': 50, 'cx': width / 2 - 0.5}
        (folder / 'camera.json').write_text(json.dumps(camera))
    out = tmp_path / 'real.zip'
    command = [str(out), str(tmp_path / 'real'), '--hold-out', 'shop']
    assert pack_rooms.main(command) == 1
    assert 'must be of one size: give --size WIDTHxHEIGHT' in capsys.readouterr().err
    assert pack_rooms.main([*command, '--size', '32x24']) == 0
    for sample in open_dataset(out, 'all'):
        assert sample.depth.shape == (24, 32)
        assert (sample.fx, sample.cx) == (25.0, 15.5)
        assert np.allclose(sample.depth[:, :16], 3, rtol=0.003)
        assert np.allclose(sample.depth[:, 16:], 1.5, rtol=0.003)
