# SPDX-License-Identifier: Apache-2.0
"""Simulated sensors, and what the benchmarks of anchored depth say of them."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest

from depth_perception.camera.model import CameraModel
from depth_perception.depth.simulated_anchors import (
    OUTLIERS,
    SENSORS,
    USUAL_FOV_DEG,
    ZONES,
    lidar_row,
    sensed,
    zones,
)

CAMERA = CameraModel(160, 120, fx=130.0, fy=130.0, cx=79.5, cy=59.5)


def test_a_row_lies_in_the_level_plane_with_noise_and_nonsense():
    truth = np.full((120, 160), 2.0)
    row = lidar_row(truth, CAMERA, np.random.default_rng(0), pitch=math.radians(10))
    assert set(row.v) == {round(59.5 - 130 * math.tan(math.radians(10)))}
    right = abs(row.depth / 2 - 1) < 4 * (0.03 + 0.01)
    assert 100 < len(row) < 140 and abs((~right).mean() - OUTLIERS) < 0.06
    assert np.std(row.depth[right]) == pytest.approx(0.08, rel=0.2)
    truth[:] = np.nan
    assert len(lidar_row(truth, CAMERA, np.random.default_rng(0))) == 0


def test_zones_average_and_need_half_of_their_pixels():
    truth = np.tile(np.linspace(1.0, 3.0, 160), (120, 1))
    truth[:, :80] = np.nan
    found = zones(truth, CAMERA, np.random.default_rng(0))
    assert len(found) == ZONES**2 / 2 and (found.u > 80).all()
    assert found.radius[0] == pytest.approx(130 * math.tan(math.radians(2.5)))
    off = abs(found.depth / np.interp(found.u, np.arange(160), truth[0]) - 1)
    assert np.median(off) < 0.05


def test_a_seed_always_gives_the_same_anchors_of_each_sensor():
    truth = np.tile(np.linspace(1.0, 3.0, 160), (120, 1))
    usual = CameraModel.from_field_of_view(160, 120, USUAL_FOV_DEG)
    one, same, other = (
        sensed(truth, camera, seed) for camera, seed in ((None, 4), (usual, 4), (usual, 5))
    )
    assert tuple(one) == SENSORS and len(one[SENSORS[1]]) == ZONES**2 < len(one[SENSORS[0]])
    for name in SENSORS:
        np.testing.assert_array_equal(one[name].u, same[name].u)
        np.testing.assert_array_equal(one[name].depth, same[name].depth)
        assert (one[name].depth != other[name].depth).all()


def test_the_speed_is_measured():
    benchmark = pytest.importorskip('benchmarks.anchors')
    report = benchmark.run((64, 48), 40, 'cpu', seconds=0.02)
    assert report['used'] >= 0.8 * report['compared'] > 20
    assert all(times['median'] > 0 for times in report['milliseconds'].values())


def test_errors_of_a_folder_and_of_the_clip(tmp_path, capsys):
    pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
    from benchmarks import anchors_real

    pairs = tmp_path / 'data' / 'room'
    pairs.mkdir(parents=True)
    frame = next(anchors_real.clip())
    for number in range(2):
        cv2.imwrite(str(pairs / f'rgb_{number:05d}.jpg'), frame.rgb[..., ::-1])
        depth = np.nan_to_num(frame.truth * 1000).astype(np.uint16)
        cv2.imwrite(str(pairs / f'sync_depth_{number:05d}.png'), depth)
    (pairs / 'camera.json').write_text(json.dumps(frame.camera.as_dict()))
    out = tmp_path / 'out'
    assert anchors_real.main(['--data', str(pairs.parent), '--every', '20', '--out', str(out)]) == 0
    results = json.loads((out / 'anchors_real.json').read_text())['results']
    assert results['room']['pictures'] == 1 and results['bundled clip']['pictures'] == 2
    for result in results.values():
        assert result['AbsRel']['8x8'] < result['AbsRel']['plain']
    assert '| room | 1 | 0.' in capsys.readouterr().out and (out / 'anchors.jpg').stat().st_size
    with pytest.raises(SystemExit):
        anchors_real.main(['--data', str(tmp_path / 'nothing')])
