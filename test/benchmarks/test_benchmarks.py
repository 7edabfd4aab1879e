# SPDX-License-Identifier: Apache-2.0
"""The definitions behind the figures of the obstacle and filter benchmarks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from benchmarks import drives, edges, floor, obstacles, results, stages, temporal
from depth_perception.camera.model import CameraModel
from depth_perception.depth.floor import floor_layout, level_floor
from depth_perception.depth.scan import level_rays

INF, NAN = float('inf'), float('nan')


@pytest.mark.parametrize(
    'found, true, verdict',
    [
        (2.0, 2.0, 'found'),
        (2.49, 2.0, 'found'),
        (1.51, 2.0, 'found'),
        (0.44, 0.3, 'found'),
        (2.51, 2.0, 'missed'),
        (INF, 2.0, 'missed'),
        (0.46, 0.3, 'missed'),
        (1.49, 2.0, 'hidden'),
        (NAN, 2.0, 'unknown'),
        (1.0, INF, 'invented'),
        (1.0, 5.0, 'invented'),
        (2.9, 3.5, ''),
        (4.0, INF, ''),
        (INF, INF, ''),
        (NAN, INF, ''),
        (1.0, NAN, ''),
    ],
)
def test_verdict_on_a_beam(found, true, verdict):
    assert obstacles.verdicts(np.array([found]), np.array([true])).tolist() == [verdict]


@pytest.fixture(scope='module')
def drive():
    """Three frames of the bundled clip."""
    whole = drives.clip_drive()
    return dataclasses.replace(
        whole, images=whole.images[::13], truths=whole.truths[::13], places=whole.places[::13]
    )


@pytest.mark.parametrize('factor, by_height', [(1.0, 'found'), (1.5, 'missed'), (0.6, 'hidden')])
def test_the_floor_model_finds_all_in_the_truth_whatever_its_scale(drive, factor, by_height):
    depths = [truth * np.float32(factor) for truth in drive.truths]
    figures, _ = obstacles.measure(drive, depths, 10.0, (obstacles.HEIGHT, obstacles.FLOOR))
    assert figures[obstacles.HEIGHT]['total'][f'{by_height}_percent'] > 85
    total = figures[obstacles.FLOOR]['total']
    assert total['obstacles'] > 1000 and total['found_percent'] > 99 and total['invented'] == 0


def test_anchors_make_a_wrong_depth_right_and_exact_ones_more_so(drive):
    depths = [truth * np.float32(1.5) for truth in drive.truths]
    for exact, least in ((False, 90), (True, 99)):
        figures, _ = obstacles.measure(drive, depths, 10.0, (obstacles.ROW,), exact)
        assert figures[obstacles.ROW]['total']['found_percent'] > least


def test_cells_of_the_truth_are_true_and_none_is_missing(drive):
    figures, seen = obstacles.measure(drive, drive.truths, 10.0, (obstacles.HEIGHT,))
    for cells in figures[obstacles.HEIGHT]['cells'].values():
        assert cells['true'] > 20 and cells['missing'] < 0.02 * cells['true']
        assert cells['false'] < 0.2 * cells['true']
    one, other = {(0, 0), (5, 5)}, {(1, 1), (9, 9)}
    assert obstacles.compared([one], [other]) == {
        'true': 2,
        'missing': 1,
        'false': 2,
        'false_beyond_a_cell': 1,
    }
    scan = list(obstacles.cells(drive, seen[obstacles.TRUTH], 'scan'))
    cloud = list(obstacles.cells(drive, seen[obstacles.TRUTH], 'cloud'))
    assert len(scan[0]) < len(cloud[0])


def test_the_scene_of_the_floor_benchmark_has_a_floor_to_correct():
    camera = CameraModel(160, 120, 128.0, 128.0, 80.0, 60.0)
    depth = floor.scene(camera)
    levelled = level_floor(depth, floor_layout(camera, floor.POSE))
    heights = floor.POSE.height + level_rays(camera, floor.POSE)[2] * levelled
    assert np.isfinite(levelled).all() and (abs(heights[-30:]) < 0.01).all()


def test_every_drive_of_the_repository_is_whole(tmp_path):
    rooms = drives.room_drives()
    assert len(rooms) == 5
    for room in rooms:
        assert len(room.images) == len(room.truths) == len(room.places) == 12
        assert room.truths[0].shape == room.images[0].shape[:2] == (240, 320)
        # The floor is where height and pitch say it is.
        pose, camera = room.pose, room.camera
        rays = level_rays(camera, pose)[2]
        heights = pose.height + rays * room.truths[-1]
        assert (abs(heights[-40:]) < 0.02).mean() > 0.3, room.name
    with pytest.raises(drives.DriveError, match='not a drive'):
        drives.read_drive(tmp_path)


def test_flying_pixels_are_those_between_two_surfaces():
    truth = np.full((40, 60), 1.0, np.float32)
    truth[:, 30:] = 3.0
    depth = truth.copy()
    depth[:, 29], depth[:, 30], depth[:, 50] = 1.5, 2.2, 2.2
    flying = edges.flying(depth, truth)
    assert flying[:, [29, 30]].all() and flying.sum() == 2 * 40
    assert edges.good(depth, truth).sum() == 57 * 40
    table = edges.table([depth], [truth])['removed_percent']['0.05']
    assert table['flying'] == 100 and table['good'] < 6


@pytest.mark.parametrize('columns, blurred', [(24, 0), (12, 2), (6, 4)])
def test_the_sharpest_edge_is_as_wide_as_the_pixels_of_the_network(columns, blurred):
    truth = np.full((16, 24), 1.0, np.float32)
    truth[:, 12:] = 3.0
    edge = edges.reduced(truth, (columns * 2 // 3, columns))
    assert edge.shape == truth.shape and edge.dtype == truth.dtype
    assert (((edge > 1) & (edge < 3)).sum(1) == blurred).all()


def test_flicker_is_what_changes_beyond_the_truth():
    truth = torch.full((20, 8, 8), 2.0) * 0.99 ** torch.arange(20.0)[:, None, None]
    steady = temporal.scores(truth * 1.2, truth * 1.2, truth)
    assert steady['flicker_median'] < 1e-6 and steady['AbsRel'] == pytest.approx(0.2)
    noise = torch.exp(0.05 * torch.randn(20, 8, 8, generator=torch.Generator().manual_seed(0)))
    noisy = temporal.scores(truth * noise, truth * noise, truth)
    # The median of |N(0, 2 sigma^2)| is 0.674 sqrt(2) sigma.
    assert noisy['flicker_median'] == pytest.approx(0.674 * 2**0.5 * 0.05, rel=0.15)


def test_smear_is_being_nearer_to_the_last_frame_than_to_this_one():
    truth = torch.full((4, 8, 8), 3.0)
    truth[2:, :4] = 1.0
    late = truth.clone()
    late[2, :4] = 2.9
    assert temporal.scores(truth, truth, truth)['smeared'] == 0
    assert temporal.scores(late, truth, truth)['smeared'] == 1


def test_every_stage_is_timed_and_they_add_up():
    seconds = stages.measure((96, 72), 3)
    assert all(len(times) == 3 for times in seconds.values())
    *parts, total, _ = seconds.values()
    np.testing.assert_allclose(np.sum(parts, axis=0), total)
    lines = stages.table(seconds).splitlines()
    assert len(lines) == 1 + len(seconds) and lines[-1].startswith('whole')


def test_every_benchmark_writes_its_results_atomically():
    """A run that is stopped while writing must not leave half a file in place of the last one."""
    written = {
        (file.name, line.strip())
        for file in Path(results.__file__).parent.rglob('*.py')
        for line in file.read_text(encoding='utf-8').splitlines()
        if '.write_text(' in line or 'json.dump(' in line
    }
    assert {name for name, _ in written} <= {
        'imported.py',  # a network's folder, made for the measurement
        'gpu_session.py',  # an empty log
        'resources.py',  # /proc
    }


def test_a_result_keeps_the_last_one_until_it_is_complete(tmp_path):
    file = tmp_path / 'new folder' / 'a.json'
    results.write_json(file, [{'ms': 1}])
    with pytest.raises(TypeError):
        results.write_json(file, [{'ms': object()}])
    assert json.loads(file.read_text()) == [{'ms': 1}] and len(list(file.parent.iterdir())) == 1
