# SPDX-License-Identifier: Apache-2.0
"""Your own data: folders of images and depth maps in all usual forms, and `check-data`."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from depth_perception.camera.model import CameraModel
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights
from depth_training import cli
from depth_training.data import DataError, open_dataset
from depth_training.data.matching import match, match_times
from depth_training.data.sample import UnitError
from test.support import layouts


def described(path: Path, **arguments) -> str:
    return open_dataset(path, 'all', **arguments).describe()


@pytest.mark.parametrize('pictures', ['images', 'rgb', 'color', 'Colour'])
@pytest.mark.parametrize(
    'names',
    [
        ('{:04d}.jpg', '{:04d}.png'),
        ('rgb_{:04d}.PNG', 'depth_{:04d}.png'),
        ('frame-{:06d}.color.png', 'frame-{:06d}.depth.png'),
        ('{:04d}_rgb.jpg', '{:04d}_depth.npy'),
    ],
)
def test_pictures_find_their_depth_by_name(pictures, names, tmp_path):
    data = open_dataset(
        layouts.folders(tmp_path, pictures=pictures, picture_name=names[0], depth_name=names[1]),
        'all',
    )
    assert data.layout == 'folders' and len(data) == 4
    np.testing.assert_allclose(data[2].depth, layouts.scene(2)[1], atol=1e-3)
    assert ('float metres' if names[1].endswith('npy') else '16-bit mm') in data.describe()


@pytest.mark.parametrize(
    'names',
    [
        ('frame-{:06d}.color.png', 'frame-{:06d}.depth.png'),
        ('{:03d}_rgb.jpg', '{:03d}_depth.npy'),
        ('IMG_{:03d}.JPG', 'depth_{:03d}.png'),
    ],
)
def test_one_folder_of_both_is_told_apart_by_names(names, tmp_path):
    root = layouts.folders(tmp_path / 'apart', picture_name=names[0], depth_name=names[1])
    for scene in ('a', 'b'):
        shutil.copytree(root / 'images', tmp_path / 'data' / scene)
        shutil.copytree(root / 'depth', tmp_path / 'data' / scene, dirs_exist_ok=True)
    layouts.write(tmp_path / 'data/a/frame-000000.pose.txt', '1 0 0 0')
    for path, count in ((tmp_path / 'data', 8), (tmp_path / 'data/a', 4)):
        data = open_dataset(path, 'all')
        assert data.layout == 'folders' and len(data) == count and 'without' not in data.describe()
        np.testing.assert_allclose(data[2].depth, layouts.scene(2)[1], atol=1e-3)
    assert len(open_dataset(tmp_path / 'data', 'test', hold_out=['b'])) == 4


def test_times_in_names_find_the_nearest_depth(tmp_path):
    root = layouts.tum(tmp_path)
    for file in ('rgb.txt', 'depth.txt'):
        (root / file).unlink()
    with pytest.raises(UnitError, match='likely 5000'):
        open_dataset(root, 'all')
    data = open_dataset(root, 'all', depth_scale=5000)
    assert data.layout == 'folders' and len(data) == 4
    np.testing.assert_allclose(data[3].depth, layouts.scene(3)[1], atol=1e-3)


def test_each_name_is_used_once_the_nearest_first():
    found = match_times([(1.0, 'a'), (1.015, 'b'), (5.0, 'c')], [(1.012, 'x'), (9.0, 'y')])
    assert found.pairs == [('b', 'x')]
    assert (found.pictures, found.depths) == (['a', 'c'], ['y'])


def test_names_that_are_alike_without_their_kind_do_not_match_at_random():
    found = match(['rgb_1.png', '1_rgb.png'], ['depth_1.png'])
    assert not found.pairs and len(found.pictures) == 2


def test_pictures_without_depth_are_counted(tmp_path):
    root = layouts.folders(tmp_path / 'own')
    (root / 'depth/0001.png').unlink()
    (root / 'images/0002.jpg').unlink()
    assert described(root).endswith(
        '; 1 pictures without depth (first images/0001.jpg), '
        '1 depth maps without picture (first depth/0002.png)'
    )
    sync = layouts.sync(tmp_path / 'sync')
    (sync / 'kitchen_0001/sync_depth_00000.png').unlink()
    assert '1 pictures without depth (first kitchen_0001/rgb_00000.jpg)' in described(sync)
    triples = layouts.marigold(tmp_path / 'marigold')
    (triples / 'test/bathroom/filled_0001.png').unlink()
    assert '1 pictures without depth (first test/bathroom/rgb_0001.png)' in described(triples)
    pairs = layouts.npy_pairs(tmp_path / 'npy')
    (pairs / '0001_dpth.npy').unlink()
    assert '1 pictures without depth (first 0001_rgb.png)' in described(pairs)


def test_scenes_are_folders_of_such_folders_or_folders_within_both(tmp_path):
    for scene in ('attic', 'kitchen'):
        layouts.folders(tmp_path / 'outer' / scene)
    for scene in ('attic', 'kitchen'):
        layouts.folders(
            tmp_path / 'inner',
            picture_name=f'{scene}/{{:04d}}.jpg',
            depth_name=f'{scene}/{{:04d}}.png',
        )
    for place in ('outer', 'inner'):
        test = open_dataset(tmp_path / place, 'test', hold_out=['attic'])
        assert len(test) == 4 and all('attic' in test.source(index) for index in range(4))


@pytest.mark.parametrize('name', ['test', 'val', 'validation'])
def test_folders_of_the_splits_decide(name, tmp_path):
    layouts.folders(tmp_path / 'train')
    layouts.folders(tmp_path / name, 2)
    assert [len(open_dataset(tmp_path, split)) for split in ('train', 'test', 'all')] == [4, 2, 6]


def test_camera_json_says_focal_length_and_unit_once_for_all_commands(tmp_path):
    root = layouts.folders(tmp_path, scale=5000)
    layouts.write(
        root / 'camera.json',
        json.dumps({'width': 128, 'fx': 105.0, 'cx': 63.5, 'depth_scale': 5000}),
    )
    data = open_dataset(root, 'all')
    assert '5000 units per metre' in data.describe()
    assert (data[0].fx, data[0].cx) == (pytest.approx(52.5), pytest.approx(31.5))
    np.testing.assert_allclose(data[1].depth, layouts.scene(1)[1], atol=1e-3)
    layouts.write(root / 'camera.json', '{"horizontal_fov_deg": 90, "depth_scale": 5000}')
    sample = open_dataset(root, 'all')[0]
    assert (sample.fx, sample.cx) == (pytest.approx(32), pytest.approx(31.5))
    layouts.write(root / 'camera.json', '{"depth_scale": 5000}')
    assert open_dataset(root, 'all')[0].fx is None
    for text in ('{"depth_scale": -1}', '{"horizontal_fov_deg": 190}', '{"fx": 5}', '[]', '{'):
        layouts.write(root / 'camera.json', text)
        with pytest.raises(DataError, match=r'camera\.json'):
            open_dataset(root, 'all')


def test_scenes_with_different_scales_are_not_mixed(tmp_path):
    for scene, scale in (('a', 1000), ('b', 5000)):
        layouts.write(
            layouts.folders(tmp_path / scene, scale=scale) / 'camera.json',
            json.dumps({'depth_scale': scale}),
        )
    with pytest.raises(DataError, match=r'different depth scales \(1000.0, 5000.0\)'):
        open_dataset(tmp_path, 'all')


def test_a_list_pairs_what_names_do_not(tmp_path):
    root = layouts.folders(tmp_path, picture_name='left{}.jpg', depth_name='z{}.png')
    with pytest.raises(DataError, match=r'list them in pairs\.csv'):
        open_dataset(root, 'all')
    rows = ['image, depth, split, scene']
    rows += [
        f'images/left{i}.jpg, depth/z{i}.png, {"val" if i == 3 else "train"}, {i}' for i in range(4)
    ]
    layouts.write(root / 'pairs.csv', '\r\n'.join([*rows, 'images/left9.jpg,,,', 'a,b,,']))
    assert [len(open_dataset(root, split)) for split in ('train', 'test', 'all')] == [3, 1, 4]
    assert '1 pictures without depth (first images/left9.jpg)' in described(root)
    assert '2 files are missing, first a' in described(root)
    layouts.write(root / 'pairs.csv', 'a,b\n')
    with pytest.raises(DataError, match='first line must be "image,depth"'):
        open_dataset(root, 'all')


def test_depth_of_another_size_but_the_same_shape_is_fitted(tmp_path):
    root = layouts.folders(tmp_path)
    for file in (root / 'images').iterdir():
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (256, 192)))
    layouts.write(root / 'camera.json', '{"width": 256, "fx": 200, "cx": 127.5}')
    sample = open_dataset(root, 'all')[1]
    assert sample.rgb.shape == (48, 64, 3) and sample.fx == pytest.approx(50)
    np.testing.assert_allclose(sample.depth, layouts.scene(1)[1], atol=1e-3)
    for file in (root / 'images').iterdir():
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (32, 24)))
    assert open_dataset(root, 'all')[1].depth.shape == (24, 32)


@pytest.mark.parametrize(
    'break_it, pattern',
    [
        (
            lambda root: [file.unlink() for file in (root / 'depth').iterdir()],
            r'there are 4 pictures \(.jpg, .*\) and 0 depth maps',
        ),
        (
            lambda root: cv2.imwrite(str(root / 'depth/0000.png'), np.ones((48, 64), np.uint8)),
            '8 bits per pixel.* --depth-scale, for example 25.5 if 255 is 10 m',
        ),
        (
            lambda root: [
                cv2.imwrite(str(file), np.ones((48, 64, 3), np.uint8) * 200)
                for file in (root / 'depth').iterdir()
            ],
            'one-channel',
        ),
        (lambda root: (root / 'depth/0000.png').write_bytes(b''), 'is empty'),
        (
            lambda root: layouts.write(root / 'camera.json', '{"width": 64, "fx": "fifty"}'),
            "or horizontal_fov_deg: could not convert string to float: 'fifty'$",
        ),
    ],
)
def test_malformed_folders(break_it, pattern, tmp_path):
    root = layouts.folders(tmp_path / 'data')
    break_it(root)
    with pytest.raises(DataError, match=pattern):
        open_dataset(root, 'all')


def test_eight_bits_with_a_scale(tmp_path):
    root = layouts.folders(tmp_path)
    for file in (root / 'depth').iterdir():
        cv2.imwrite(str(file), np.round(cv2.imread(str(file), -1) * 0.0255).astype(np.uint8))
    data = open_dataset(root, 'all', depth_scale=25.5)
    np.testing.assert_allclose(data[0].depth, layouts.scene()[1], atol=0.02)


def test_tum_sequences(tmp_path):
    for name in ('rgbd_dataset_freiburg1_xyz', 'rgbd_dataset_freiburg3_office'):
        layouts.tum(tmp_path / name)
    data = open_dataset(tmp_path, 'train')
    assert data.layout == 'tum' and len(data) == 4
    assert data[0].fx == pytest.approx(517.3 * 64 / 640)
    (tmp_path / 'rgbd_dataset_freiburg1_xyz' / 'rgb.txt').write_text('1.0\n')
    with pytest.raises(DataError, match=r'rgb\.txt line 1: "1\.0" is not "time file"'):
        open_dataset(tmp_path, 'train')


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys):
    """Run check-data in an empty folder; return exit code and output."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        code = cli.main(['check-data', *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_check_data_prints_what_it_found_and_shows_pairs(tmp_path, checked):
    root = layouts.folders(tmp_path / 'own', 12)
    (root / 'depth/0001.png').unlink()
    (root / 'depth/0002.png').write_bytes(b'x')
    code, said = checked(str(root))
    assert code == 0
    for text in (
        'folders layout, 11 pairs, 16-bit mm',
        '1 pictures without depth',
        f'folders: 1, {root}/images (11)',
        'read: 11 pairs, 1 of them bad',
        '0002.png is damaged or not an image',
        'sizes: 64x48 (10)',
        'depth: 1.50 to',
        'holes: 1.6 % of the pixels',
        'focal length: unknown',
        'training: 10 pairs',
        'validation: 1 pairs',
        'sheet: own_pairs.jpg',
    ):
        assert text in said, text
    # Two pairs per row, each as image, depth and overlay; ten of the twelve are good.
    assert cv2.imread(str(tmp_path / 'own_pairs.jpg')).shape == (5 * 150, 1200, 3)


def test_check_data_counts_pictures_that_exif_turns_and_depth_does_not_follow(tmp_path, checked):
    root = layouts.folders(tmp_path / 'own', 12)
    _, said = checked(str(root))
    assert 'turned:' not in said
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 3
    for path in sorted((root / 'images').iterdir())[:2]:
        Image.open(path).save(path.with_suffix('.jpg'), exif=orientation)
    code, said = checked(str(root))
    assert code == 0 and 'turned: 2 pictures, as their EXIF orientation says' in said


def test_check_data_names_the_likely_unit_and_shows_the_pairs_all_the_same(tmp_path, checked):
    root = layouts.folders(tmp_path / 'own', scale=5000)
    code, said = checked(str(root), '--out', 'sheets/a.jpg')
    assert code == 1 and 'refused' in said and 'likely 5000' in said
    assert (tmp_path / 'sheets/a.jpg').exists()
    code, said = checked(str(root), '--depth-scale', '5000')
    assert code == 0 and 'refused' not in said and '5000 units per metre' in said


def test_check_data_of_a_known_camera(tmp_path, checked):
    code, said = checked(str(layouts.rooms(tmp_path / 'rooms')))
    assert code == 0 and 'of the width (field of view 64 to 65 degrees)' in said


@pytest.mark.parametrize(
    'make, words, said',
    [
        (lambda root: layouts.folders(root, 1), (), 'a single pair, which cannot be split'),
        (lambda root: layouts.labeled_mat(root / 'a.mat'), (), 'splits.mat is missing'),
        (lambda root: layouts.folders(root), ('--hold-out', 'attic'), 'it is a single scene'),
        (layouts.sync, ('--hold-out', 'attic'), 'it has kitchen_0001, office_0002'),
    ],
)
def test_check_data_ends_with_1_where_train_would_refuse(
    make, words, said, tmp_path, checked, capsys
):
    make(tmp_path / 'own')
    code, text = checked('own', *words)
    assert code == 1 and 'training: none, own' in text and said in text and 'sheet: ' in text
    assert cli.main(['train', 'paper_002_cnn', '--data', 'own', '--fast-dev-run', *words]) == 1
    assert said in capsys.readouterr().err


def test_check_data_of_a_list_does_not_promise_its_pairs_for_validation(tmp_path, checked):
    layouts.sync(tmp_path / 'own')
    layouts.write(
        tmp_path / 'list.txt', '/kitchen_0001/rgb_00000.jpg /kitchen_0001/sync_depth_00000.png 50\n'
    )
    code, text = checked('own', '--list-file', 'list.txt')
    assert code == 0 and 'training: 1 pairs of the list' in text
    assert 'validation: what --validation-data gives' in text


def test_check_data_counts_depth_wherever_it_is_known(tmp_path, checked):
    root = layouts.folders(tmp_path / 'own', 2)
    for file in (root / 'depth').iterdir():
        depth = np.zeros((layouts.HEIGHT, layouts.WIDTH), np.float32)
        depth[1, 1] = 2
        file.write_bytes(layouts.millimetres(depth))
    code, text = checked('own')
    assert code == 0 and 'depth: 2.00 to 2.00 m' in text and '2 pairs with more than half' in text


def shown_commands() -> list[list[str]]:
    """Return the arguments of `python -m depth_training` in the first block of docs/own_data.md."""
    page = (Path(__file__).parents[2] / 'docs/own_data.md').read_text('utf-8')
    block = re.search(r'```bash\n(.*?)```', page, re.S).group(1).replace('\\\n', ' ')
    prefix = 'python -m depth_training '
    return [
        shlex.split(line.removeprefix(prefix))
        for line in block.splitlines()
        if line.startswith(prefix)
    ]


def test_the_commands_of_the_page_lead_to_weights_that_the_node_runs(checked, tmp_path, capsys):
    root = layouts.tum(tmp_path / 'DATA', 10)
    for file in ('rgb.txt', 'depth.txt'):
        (root / file).unlink()
    layouts.write(root / 'camera.json', '{"width": 64, "fx": 52, "cx": 31.5, "depth_scale": 5000}')
    commands = shown_commands()
    assert [words[0] for words in commands] == ['check-data', 'train', 'evaluate']
    for words in commands:
        quick = ['--steps', '1', '--batch', '2', '--workers', '0'] if words[0] == 'train' else []
        assert cli.main([*words, *quick]) == 0, capsys.readouterr().err
    assert 'AbsRel' in capsys.readouterr().out
    weights = tmp_path / 'runs/finetune/weights.safetensors'
    estimator = DepthEstimator.load(weights, 'cpu', backend='torch')
    depth = estimator.infer(layouts.scene()[0], CameraModel(64, 48, 52.0, 52.0, 31.5, 23.5))
    assert depth.shape == (48, 64) and np.isfinite(depth).all()
    info = load_weights(weights).info
    assert info.licence == 'CC-BY-4.0' and 'folders layout, 9 pairs' in info.training_data
