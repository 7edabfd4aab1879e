# SPDX-License-Identifier: Apache-2.0
"""The definitions behind the figures of the obstacle and filter benchmarks."""
from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from benchmarks import edges, obstacles, stages, temporal
from benchmarks.clip import predictions, read_clip
from depth_perception.ros.node.parameters import Settings
from test.support.estimators import INFO, StandIn

INF, NAN = float('inf'), float('nan')


@pytest.mark.parametrize('found, true, verdict', [
    (2.0, 2.0, 'found'), (2.49, 2.0, 'found'), (1.51, 2.0, 'found'), (0.44, 0.3, 'found'),
    (2.51, 2.0, 'missed'), (INF, 2.0, 'missed'), (0.46, 0.3, 'missed'),
    (1.49, 2.0, 'hidden'), (NAN, 2.0, 'unknown'),
    (1.0, INF, 'invented'), (1.0, 5.0, 'invented'), (2.9, 3.5, ''), (4.0, INF, ''),
    (INF, INF, ''), (NAN, INF, ''), (1.0, NAN, '')])
def test_verdict_on_a_beam(found, true, verdict):
    assert obstacles.verdicts(np.array([found]), np.array([true])).tolist() == [verdict]


def test_obstacles_found_in_the_truth_itself_and_in_a_scaled_one():
    frames = read_clip()[::13]
    depths = predictions(StandIn(lambda rgb, camera: np.ones(rgb.shape[:2])), frames)
    assert [tuple(depth.shape) for depth in depths] == [(360, 480)] * 4
    truth = [torch.from_numpy(frame.truth) for frame in frames]
    scans = obstacles.scans(frames, truth, INFO, Settings(edge_threshold=0.0))
    exact, _ = obstacles.measure(frames, truth, scans, INFO, 1.0)
    assert exact['total']['obstacles'] > 1000 and exact['total']['found_percent'] > 99
    far, _ = obstacles.measure(frames, truth, scans, INFO, 1.5)
    assert far['total']['missed_percent'] > 90
    near, _ = obstacles.measure(frames, truth, scans, INFO, 0.6)
    assert near['total']['hidden_percent'] > 90
    assert obstacles.best_scale([depth * 2 for depth in truth], truth) == pytest.approx(0.5)


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
