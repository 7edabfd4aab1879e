# SPDX-License-Identifier: Apache-2.0
"""The raw dump: little-endian PGM, pairing by time, disparity, alignment, and the written pairs."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_training.data import DataError, kinect, open_dataset
from depth_training.data.prepare_raw import pair_frames, prepare_raw
from test.support import layouts


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
    # An ordinary reader takes the bytes the other way round, as the format says it should.
    np.testing.assert_array_equal(
        cv2.imread(str(file), cv2.IMREAD_UNCHANGED), values.astype(np.uint16).byteswap())


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
    assert set(np.unique(aligned).round(4)) == {0, np.float32(wall).round(4),
                                                np.float32(box).round(4)}
    # The box's middle by hand: a pinhole each, the colour camera 25 mm to the side.
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
    names = ['d-1.000-1.pgm', 'd-1.030-2.pgm', 'd-1.100-3.pgm', 'd-9.000-4.pgm', 'd-x-1.pgm',
             'r-1.020-9.ppm', 'r-1.110-8.ppm', 'a-1.000-1.dump', 'INDEX.txt']
    assert pair_frames(names) == [('d-1.030-2.pgm', 'r-1.020-9.ppm'),
                                  ('d-1.100-3.pgm', 'r-1.110-8.ppm')]
    assert pair_frames(['d-1.0-1.pgm']) == []


def test_prepared_scenes_open_as_sync(tmp_path):
    raw_scene(tmp_path / 'raw/kitchen_0001')
    broken = raw_scene(tmp_path / 'raw/office_0002') / 'd-1294886360.000000-0.pgm'
    broken.write_bytes(broken.read_bytes()[:1000])
    lines: list[str] = []
    done = prepare_raw(tmp_path / 'raw', tmp_path / 'out', every=1, report=lines.append)
    assert (done.pairs, done.scenes, len(done.skipped)) == (7, 2, 1)
    assert 'd-1294886360.000000-0.pgm is truncated' in done.skipped[0]
    assert lines == ['kitchen_0001: 4 pairs', 'office_0002: 3 pairs']
    dataset = open_dataset(tmp_path / 'out', 'all')
    assert dataset.describe() == 'sync layout, 7 pairs, 16-bit mm, raw depth'
    sample = dataset[0]
    assert sample.fx == pytest.approx(518.8579, abs=1e-4)
    assert sample.depth.max() == pytest.approx(float(kinect.metres(flat(2.0))[0, 0]), abs=1e-3)


def test_every_seventh_pair(tmp_path):
    done = prepare_raw(raw_scene(tmp_path / 'raw', 8), tmp_path / 'out')
    assert done.pairs == 2


@pytest.mark.parametrize('content, pattern', [
    (b'', 'is empty'), (b'P5 640 480 255\n' + b'x' * 640 * 480, 'no P5 640 480 65535'),
    (b'P6 640 480 65535\n', 'no P5'), (b'P5 640 480 65535\n12', 'truncated')])
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
