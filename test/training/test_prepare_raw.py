# SPDX-License-Identifier: Apache-2.0
"""Raw NYU data: little-endian PGM, pairing by time, disparity, alignment, and the written pairs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_training import cli
from depth_training.data import DataError, open_dataset
from depth_training.data.conversion import MARK
from depth_training.data.nyu_raw import kinect
from depth_training.data.nyu_raw.prepare import pair_frames, prepare_raw
from depth_training.data.nyu_raw.scenes import TRAINING_SCENES
from test.support import layouts
from test.support.waiting import wait_until


def disparity(metres: float) -> int:
    return round(1092.5 - 351.3 / metres)


def flat(metres: float) -> np.ndarray:
    return np.full((480, 640), disparity(metres), np.uint16)


def raw_scene(folder: Path, count: int = 4) -> Path:
    """Frames every 33 ms; colour 5 ms after depth."""
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for index in range(count):
        time = 1294886360.0 + index / 30
        layouts.write(folder / f'd-{time:.6f}-{index}.pgm', layouts.pgm(flat(2.0)))
        layouts.write(folder / f'r-{time + 0.005:.6f}-{index}.ppm', layouts.ppm(rgb))
        layouts.write(folder / f'a-{time:.6f}-{index}.dump', b'\0' * 8)
    return folder


def test_pgm_is_read_as_little_endian(tmp_path):
    values = np.arange(480 * 640, dtype=np.uint32).reshape(480, 640) % 2048
    file = layouts.write(tmp_path / 'd.pgm', layouts.pgm(values))
    np.testing.assert_array_equal(kinect.read_disparity(file), values)
    # An ordinary reader swaps the bytes, as the format prescribes.
    np.testing.assert_array_equal(
        cv2.imread(str(file), cv2.IMREAD_UNCHANGED), values.astype(np.uint16).byteswap()
    )


def test_pixels_that_look_like_white_space_are_pixels(tmp_path):
    values = np.full((480, 640), 0x0A20, np.uint16)
    file = layouts.write(tmp_path / 'd.pgm', layouts.pgm(values))
    np.testing.assert_array_equal(kinect.read_disparity(file), values)


def test_disparity_to_metres():
    values = np.array([599, 600, 917, 1050, 1057, 1060, 1092, 1093, 2047], np.uint16)
    wanted = [0, 351.3 / 492.5, 351.3 / 175.5, 351.3 / 42.5, 351.3 / 35.5, 10, 10, 0, 0]
    np.testing.assert_allclose(kinect.metres(values), wanted, rtol=1e-6)


def test_flat_wall_stays_flat_and_at_its_place():
    values = flat(2.0)
    values[200:280, 300:340] = disparity(1.0)
    values[:100] = 2047
    aligned = kinect.align_depth(values)
    wall = float(kinect.metres(flat(2.0))[0, 0])
    box = float(kinect.metres(flat(1.0))[0, 0])
    assert set(np.unique(aligned).round(4)) == {
        0,
        np.float32(wall).round(4),
        np.float32(box).round(4),
    }
    # The centre of the box by hand: two pinhole cameras, 25 mm apart.
    x = (319.5 - 313.0448) / 582.62448 * box - 0.0250
    _, columns = np.nonzero(aligned == np.float32(box))
    assert columns.mean() == pytest.approx(x / box * 518.8579 + 325.5824, abs=3)
    assert (aligned[:60] == 0).all() and (aligned[140:400, 60:500] > 0).mean() > 0.99


def test_nearest_point_wins():
    x = y = np.array([5, 5, 5])
    aligned = kinect._nearest_wins(x, y, np.array([3.0, 1.0, 2.0]))
    assert aligned[5, 5] == 1 and aligned.sum() == 1


def test_rotation_is_the_toolboxs():
    np.testing.assert_allclose(kinect.ROTATION @ kinect.ROTATION.T, np.eye(3), atol=1e-6)
    assert np.trace(kinect.ROTATION) == pytest.approx(-3, abs=1e-3)


def test_frames_are_paired_by_time_and_colour_is_used_once():
    names = [
        'd-1.000-1.pgm',
        'd-1.030-2.pgm',
        'd-1.100-3.pgm',
        'd-9.000-4.pgm',
        'd-x-1.pgm',
        'r-1.020-9.ppm',
        'r-1.110-8.ppm',
        'a-1.000-1.dump',
        'INDEX.txt',
    ]
    # Two depth frames claim the first colour frame: the paper drops both.
    assert pair_frames(names) == [('d-1.100-3.pgm', 'r-1.110-8.ppm')]
    assert pair_frames(names, claims='nearest') == [
        ('d-1.030-2.pgm', 'r-1.020-9.ppm'),
        ('d-1.100-3.pgm', 'r-1.110-8.ppm'),
    ]
    assert pair_frames(['d-1.0-1.pgm']) == []


def test_prepared_scenes_open_as_sync(tmp_path):
    raw_scene(tmp_path / 'raw/kitchen_0001')
    broken = raw_scene(tmp_path / 'raw/office_0002') / 'd-1294886360.000000-0.pgm'
    broken.write_bytes(broken.read_bytes()[:1000])
    lines: list[str] = []
    done = prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=1, report=lines.append)
    assert (done.pairs, done.scenes, len(done.skipped)) == (7, 2, 1)
    assert 'd-1294886360.000000-0.pgm is truncated' in done.skipped[0]
    assert lines[0] == f'2 scenes with 8 pairs, of which 8 are written to {tmp_path / "out"}'
    assert lines[1].startswith('[1/2] kitchen_0001: 4 pairs; ') and lines[1].endswith(' left')
    assert lines[2] == '[2/2] office_0002: 3 pairs, 1 skipped'
    dataset = open_dataset(tmp_path / 'out', 'all')
    assert dataset.describe() == 'sync layout, 7 pairs, 16-bit mm, raw depth'
    sample = dataset[0]
    assert sample.fx == pytest.approx(518.8579, abs=1e-4)
    assert sample.depth.max() == pytest.approx(float(kinect.metres(flat(2.0))[0, 0]), abs=1e-3)


def test_every_seventh_pair(tmp_path):
    done = prepare_raw(raw_scene(tmp_path / 'raw', 8), tmp_path / 'out')
    assert done.pairs == 2


def test_so_many_pairs_as_are_asked_for_equally_spaced_over_all_scenes(tmp_path):
    raw_scene(tmp_path / 'raw/a', 5)
    raw_scene(tmp_path / 'raw/b', 7)
    lines: list[str] = []
    done = prepare_raw(tmp_path / 'raw', tmp_path / 'out', pairs=4, report=lines.append)
    assert done.pairs == 4 and 'of which 4 are written' in lines[0]
    assert [len(list((tmp_path / 'out' / name).glob('rgb_*'))) for name in 'ab'] == [2, 2]


def test_test_scenes_of_the_official_split_never_get_among_the_training_pairs(tmp_path, capsys):
    # Official: kitchen_0003 and all parts of kitchen_0011 train, kitchen_0004 tests.
    for name in ('part1/kitchen_0003', 'part1/kitchen_0004', 'part2/kitchen_0011z'):
        raw_scene(tmp_path / 'raw' / name, 1)
    words = ['prepare', 'raw', str(tmp_path / 'raw')]
    for split, names in (('train', ['kitchen_0003', 'kitchen_0011z']), ('test', ['kitchen_0004'])):
        options = [] if split == 'train' else ['--split', split]
        assert cli.main([*words, str(tmp_path / split), '--jobs', '1', *options]) == 0
        written = sorted(file.parent.name for file in (tmp_path / split).glob('*/*/rgb_*'))
        assert written == names
    assert len(TRAINING_SCENES) == 249
    assert cli.main(['prepare', 'raw', str(tmp_path / 'raw/part1/kitchen_0004'), 'x']) == 1
    assert 'none of the wanted ones: give --split all' in capsys.readouterr().err


@pytest.mark.parametrize(
    'text',
    [
        '# mine\nkitchen_0004\n',
        '/kitchen_0004/rgb_00045.jpg /kitchen_0004/sync_depth_00045.png 518.8579\n',
    ],
)
def test_scenes_by_name(text, tmp_path):
    for name in ('kitchen_0003', 'kitchen_0004'):
        raw_scene(tmp_path / 'raw' / name, 1)
    scenes = layouts.write(tmp_path / 'scenes.txt', text)
    prepare_raw(tmp_path / 'raw', tmp_path / 'out', scenes=scenes)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['kitchen_0004']
    with pytest.raises(DataError, match=r'scenes\.txt names no scene'):
        prepare_raw(tmp_path / 'raw', tmp_path / 'out', scenes=layouts.write(scenes, '# nothing\n'))


def test_a_run_that_was_stopped_goes_on_and_several_processes_write_the_same(tmp_path):
    for name in ('a', 'b', 'c'):
        raw_scene(tmp_path / 'raw' / name, 3)
    whole = prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=1, processes=2)
    assert (whole.pairs, whole.scenes, whole.kept) == (9, 3, 0)
    wanted = {path: path.read_bytes() for path in sorted((tmp_path / 'out').glob('*/*'))}
    # The state after a killed run: one scene is not started, the last pair of another is missing.
    shutil.rmtree(tmp_path / 'out/c')
    (tmp_path / 'out/b/rgb_00002.jpg').unlink()
    mark = tmp_path / 'out/b' / MARK
    mark.write_text(mark.read_text().replace('"complete": true', '"complete": false'))
    again = prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=1)
    assert (again.pairs, again.kept) == (9, 5)
    assert {path: path.read_bytes() for path in sorted((tmp_path / 'out').glob('*/*'))} == wanted
    with pytest.raises(DataError, match='prepared with other options'):
        prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=2)
    mark.unlink()
    with pytest.raises(DataError, match='not prepared here'):
        prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=1)


@contextmanager
def long_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `prepare raw` of two scenes in two processes; wait until it has written some pairs."""
    for name in ('a', 'b'):
        scene = raw_scene(folder / 'raw' / name, 1)
        for kind, suffix in (('d', 'pgm'), ('r', 'ppm')):
            first = next(scene.glob(f'{kind}-*'))
            for index in range(200):
                os.link(first, scene / f'{kind}-{index}.0-1.{suffix}')
    words = [
        sys.executable,
        '-m',
        'depth_training',
        'prepare',
        'raw',
        str(folder / 'raw'),
        str(folder / 'out'),
        '--every',
        '1',
        '--split',
        'all',
        '--jobs',
        '2',
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(list((folder / 'out').glob('*/rgb_*'))) > 2, 120)
        yield process


def test_a_signal_ends_all_processes_and_leaves_whole_pairs(tmp_path):
    with long_run(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 143 and 'Traceback' not in said
    pictures = list((tmp_path / 'out').glob('*/rgb_*'))
    assert len(pictures) < 402
    for picture in pictures:
        number = picture.stem.rpartition('_')[2]
        assert cv2.imread(str(picture)) is not None
        assert cv2.imread(str(picture.with_name(f'sync_depth_{number}.png')), -1) is not None


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='children are found in /proc')
def test_a_process_that_is_killed_is_said_and_not_waited_for(tmp_path):
    with long_run(tmp_path) as process:
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
        workers = [
            int(child)
            for child in children
            if b'spawn_main' in Path(f'/proc/{child}/cmdline').read_bytes()
        ]
        os.kill(workers[0], signal.SIGKILL)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and 'Traceback' not in said
    assert 'was killed, perhaps because memory ran out' in said


def test_alignment_is_that_of_the_toolbox_whose_pixels_count_from_one(monkeypatch):
    """Compare with project_depth_map.m pixel by pixel, without undistortion."""
    monkeypatch.setattr(
        kinect,
        '_maps',
        lambda camera: cv2.convertMaps(
            *np.meshgrid(np.arange(640, dtype=np.float32), np.arange(480, dtype=np.float32)),
            cv2.CV_32FC1,
        ),
    )
    values = np.full((480, 640), 2047, np.uint16)
    places = [(10, 5), (240, 320), (100, 630), (470, 300), (333, 17)]
    for number, place in enumerate(places):
        values[place] = disparity(1.0 + 0.7 * number)
    aligned, wanted = kinect.align_depth(values), np.zeros((480, 640), np.float32)
    for row, column in places:
        z = float(kinect.metres(values)[row, column])
        point = np.array(
            [
                (column + 1 - kinect.DEPTH_MATRIX[0, 2]) * z / kinect.DEPTH_MATRIX[0, 0],
                (row + 1 - kinect.DEPTH_MATRIX[1, 2]) * z / kinect.DEPTH_MATRIX[1, 1],
                z,
            ]
        )
        x, y, w = kinect.ROTATION @ point + kinect.TRANSLATION
        x = round(x * kinect.RGB_MATRIX[0, 0] / w + kinect.RGB_MATRIX[0, 2])
        y = round(y * kinect.RGB_MATRIX[1, 1] / w + kinect.RGB_MATRIX[1, 2])
        if 0 < x < 640 and 0 < y < 480:
            wanted[y - 1, x - 1] = z
    np.testing.assert_array_equal(aligned, wanted)
    assert np.count_nonzero(aligned) >= 3


def test_the_colour_cameras_calibration_is_the_toolboxs():
    assert kinect.RGB_DISTORTION[2] == 7.2231363135888329e-04


@pytest.mark.parametrize(
    'content, pattern',
    [
        (b'', 'is empty'),
        (b'P5 640 480 255\n' + b'x' * 640 * 480, 'not a P5 640 480 65535'),
        (b'P6 640 480 65535\n', 'not a P5'),
        (b'P5 640 480 65535\n12', 'truncated'),
    ],
)
def test_bad_frames_are_named(tmp_path, content, pattern):
    file = layouts.write(tmp_path / 'd-1.0-1.pgm', content)
    with pytest.raises(DataError, match=pattern) as caught:
        kinect.read_disparity(file)
    assert str(file) in str(caught.value)


def test_folders_without_frames_are_refused(tmp_path):
    with pytest.raises(DataError, match='no raw frames'):
        prepare_raw(tmp_path, tmp_path / 'out')
    with pytest.raises(ValueError, match='at least 1'):
        prepare_raw(tmp_path, tmp_path / 'out', every=0)


def test_a_source_that_is_not_there_is_named_so(tmp_path, capsys):
    for source, said in (
        (tmp_path / 'none', 'does not exist'),
        (Path(__file__), 'is not a folder'),
    ):
        assert cli.main(['prepare', 'raw', str(source), str(tmp_path / 'out')]) == 1
        assert capsys.readouterr().err == f'depth_training: {source} {said}\n'
