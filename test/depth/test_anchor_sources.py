# SPDX-License-Identifier: Apache-2.0
"""Measurements of other sensors, projected into the image, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchor_sources import (
    RANGE_ANCHORS,
    depth_anchors,
    point_anchors,
    range_anchors,
    scan_anchors,
)
from depth_perception.depth.anchors import anchor_depth
from depth_perception.depth.floor_anchors import HIGHEST_CAMERA, floor_anchors
from depth_perception.depth.scan import CameraPose

CAMERA = CameraModel(160, 120, fx=130.0, fy=130.0, cx=79.5, cy=59.5)
#: From a sensor's frame (x forward, y left, z up) to an optical frame at the same place.
BODY = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
SAME = np.eye(4)


def moved(transform: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """Move the sensor by metres in the optical frame."""
    result = transform.copy()
    result[:3, 3] += x, y, z
    return result


def turned_left(transform: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the sensor to the left about its z axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.eye(4)
    turn[:2, :2] = (c, -s), (s, c)
    return transform @ turn


def wall_scan(wall: float, count: int = 360) -> tuple[np.ndarray, float, float]:
    """Return ranges, first angle and increment of a scan of a wall at right angles to x."""
    angles = -math.pi + 2 * math.pi / count * np.arange(count)
    with np.errstate(divide='ignore'):
        ranges = np.where(np.cos(angles) > 1e-6, wall / np.cos(angles), np.inf)
    return ranges, -math.pi, 2 * math.pi / count


def test_beams_before_a_wall_have_its_depth():
    anchors = scan_anchors(*wall_scan(2.0, 720), moved(BODY, y=0.1), CAMERA)
    np.testing.assert_allclose(anchors.depth, 2.0)
    np.testing.assert_allclose(anchors.v, CAMERA.cy + CAMERA.fy * 0.05)
    # The beams, half a degree apart, in 63 degrees of the image; from right to left.
    assert len(anchors) == pytest.approx(2 * 63.2, abs=2)
    assert (np.diff(anchors.u) < 0).all() and anchors.u.min() > -0.5 and anchors.u.max() < 159.5


def test_a_turned_and_moved_scanner():
    # The scanner looks 90 degrees to the left and is one metre to the right of the camera.
    transform = moved(turned_left(BODY, 90), x=1.0)
    anchors = scan_anchors(np.array([1.0]), math.radians(-90), 0.01, transform, CAMERA)
    # Its beam to the right points along the camera's view: u is off by fx * 1 m / 1 m, outside.
    assert len(anchors) == 0
    anchors = scan_anchors(np.array([2.0]), math.radians(-45), 0.01, transform, CAMERA)
    x, z = 1 - math.sqrt(2), math.sqrt(2)
    np.testing.assert_allclose([anchors.u[0], anchors.depth[0]], [CAMERA.cx + 130 * x / z, z])


def test_what_a_scan_did_not_measure_is_no_anchor():
    ranges = np.array([2.0, np.nan, np.inf, 0.0, 0.05, 40.0, -np.inf, 2.0])
    anchors = scan_anchors(ranges, -0.04, 0.01, BODY, CAMERA, range_min=0.1, range_max=30.0)
    assert len(anchors) == 2
    assert len(scan_anchors(np.array([]), 0.0, 0.1, BODY, CAMERA)) == 0


def test_points_in_the_image_and_no_others():
    points = [[0.1, -0.2, 2.0], [0, 0, -2.0], [9, 0, 2.0], [np.nan, 0, 1], [0.3, 0, 0.0]]
    anchors = point_anchors(np.array(points), SAME, CAMERA, radius_deg=2.5)
    np.testing.assert_allclose(
        [anchors.u, anchors.v, anchors.depth], [[79.5 + 6.5], [59.5 - 13.0], [2.0]]
    )
    assert anchors.radius[0] == pytest.approx(130 * math.tan(math.radians(2.5)))
    assert len(point_anchors(np.empty((0, 3)), SAME, CAMERA)) == 0


def test_what_only_the_sensor_can_see_is_no_anchor():
    near = np.stack(np.meshgrid(np.linspace(-0.2, 0.2, 20), np.linspace(-0.2, 0.2, 20), [1.0]), -1)
    behind = np.array([[0.0, 0.0, 3.0], [2.4, 0.0, 5.0]])
    anchors = point_anchors(np.concatenate([near.reshape(-1, 3), behind]), SAME, CAMERA)
    assert sorted(set(anchors.depth)) == [1.0, 5.0]


def test_a_large_cloud_is_thinned():
    points = np.tile([[0.1, 0.1, 2.0]], (500_000, 1))
    assert len(point_anchors(points, SAME, CAMERA)) <= 5_000


def test_all_of_a_sparse_depth_image_is_used():
    depth = np.full((CAMERA.height, CAMERA.width), np.nan)
    depth[60, ::2] = 3.0
    anchors = depth_anchors(depth, CAMERA, np.eye(4), CAMERA)
    assert len(anchors) == CAMERA.width // 2
    np.testing.assert_allclose(anchors.v, 60)


def test_a_depth_image_of_another_camera():
    narrow = CameraModel(80, 60, fx=200.0, fy=200.0, cx=39.5, cy=29.5)
    depth = np.full((60, 80), 2.0, np.float32)
    depth[0], depth[1] = np.nan, 0.0
    anchors = depth_anchors(depth, narrow, moved(SAME, x=0.1, z=0.5), CAMERA)
    np.testing.assert_allclose(anchors.depth, 2.5)
    u = np.unique(anchors.u)
    np.testing.assert_allclose(
        u[[0, -1]], CAMERA.cx + 130 / 2.5 * (2.0 * np.array([-39.5, 39.5]) / 200 + 0.1)
    )
    assert len(anchors) == 58 * 80


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_a_range_is_of_the_nearest_thing_in_its_cone(kind):
    truth = np.full((120, 160), 3.0, np.float32)
    truth[40:80, 88:104] = 1.0  # a post to the right of the middle, which a cone of 25 degrees sees
    predicted = kind((1.4 * truth).astype(np.float32))
    anchors = range_anchors(1.0, math.radians(25), BODY, CAMERA, predicted)
    assert len(anchors) == RANGE_ANCHORS and anchors.weight.sum() == pytest.approx(1)
    np.testing.assert_allclose(anchors.depth, 1.0, rtol=0.02)
    assert ((anchors.u >= 88) & (anchors.u < 104)).all()
    # A narrow cone sees past the post.
    anchors = range_anchors(3.0, math.radians(4), BODY, CAMERA, predicted)
    np.testing.assert_allclose(anchors.depth, 3.0, rtol=0.01)


def test_a_range_sensor_beside_and_before_the_camera():
    predicted = np.full((120, 160), 2.8, np.float32)  # the wall is 2 m away
    anchors = range_anchors(
        1.7, math.radians(10), moved(BODY, x=0.2, y=0.1, z=0.3), CAMERA, predicted
    )
    np.testing.assert_allclose(anchors.depth, 2.0, rtol=0.02)
    corrected, report = anchor_depth(predicted, anchors)
    np.testing.assert_allclose(corrected, 2.0, rtol=0.03)
    assert report.compared >= 4


@pytest.mark.parametrize('distance', [math.inf, math.nan, 0.0, -1.0])
def test_a_range_without_an_echo_is_no_anchor(distance):
    assert len(range_anchors(distance, 0.4, BODY, CAMERA, np.full((120, 160), 2.0))) == 0


def test_a_range_that_looks_elsewhere_is_no_anchor():
    predicted = np.full((120, 160), 2.0, np.float32)
    assert len(range_anchors(1.0, 0.4, turned_left(BODY, 180), CAMERA, predicted)) == 0
    assert len(range_anchors(1.0, 0.4, BODY, CAMERA, predicted * np.nan)) == 0


@pytest.mark.parametrize('transform', [np.eye(3), np.zeros(16)])
def test_a_transform_has_four_rows(transform):
    with pytest.raises(ValueError, match='4x4'):
        point_anchors(np.zeros((1, 3)), transform, CAMERA)


def floor_and_wall(pose: CameraPose, wall: float = 4.0, table: float | None = None) -> np.ndarray:
    """Return true depth of a floor, a wall, and optionally a table top of height `table`."""
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)])
    forward, left, up = np.einsum('ij,jhw->ihw', pose.rotation(), rays)
    with np.errstate(divide='ignore'):
        depth = np.minimum(wall / forward, np.where(up < 0, pose.height / -up, np.inf))
        if table is not None:
            top = np.where(up < 0, (pose.height - table) / -up, np.inf)
            on_it = (abs(left * top) < 0.5) & (forward * top > 0.4) & (forward * top < 1.2)
            depth = np.where(on_it, top, depth)
    return depth.astype(np.float32)


@pytest.mark.parametrize('pitch, roll', [(0.0, 0.0), (15.0, 0.0), (10.0, 8.0), (-5.0, 0.0)])
@pytest.mark.parametrize('factor', [0.8, 1.0, 1.5, 2.0])
def test_the_floor_is_found_at_any_scale_and_tilt(pitch, roll, factor):
    pose = CameraPose(math.radians(pitch), math.radians(roll), height=0.3)
    truth = floor_and_wall(pose)
    depth = (factor * truth).astype(np.float32)
    anchors = floor_anchors(depth, CAMERA, pose)
    assert 20 <= len(anchors) <= 48
    np.testing.assert_allclose(
        anchors.depth, truth[anchors.v.astype(int), anchors.u.astype(int)], rtol=1e-5
    )
    corrected, _ = anchor_depth(depth, anchors)
    np.testing.assert_allclose(corrected, truth, rtol=0.03)


def test_a_table_seen_from_above_is_not_the_floor():
    pose = CameraPose(math.radians(20), height=0.65)
    truth = floor_and_wall(pose, table=0.35)
    assert (truth < floor_and_wall(pose) - 0.1).mean() > 0.1  # the table fills much of the image
    anchors = floor_anchors(1.3 * truth, CAMERA, pose)
    np.testing.assert_allclose(
        anchors.depth, truth[anchors.v.astype(int), anchors.u.astype(int)], rtol=1e-5
    )


def test_a_bed_that_hides_the_floor_does_not_put_it_farther_away():
    """If the level bed were taken for the floor, all depth would be half of the truth."""
    pose = CameraPose(math.radians(20), height=0.6)
    truth = floor_and_wall(CameraPose(math.radians(20), height=0.3))  # only the bed, 0.3 m high
    assert len(floor_anchors(truth, CAMERA, pose)) == 0


@pytest.mark.parametrize(
    'pose',
    [
        CameraPose(math.radians(10)),
        CameraPose(math.radians(10), height=HIGHEST_CAMERA + 0.01),
        CameraPose(math.radians(-40), height=0.3),
    ],
    ids=['no height', 'too high', 'sees no floor'],
)
def test_without_a_floor_there_is_no_anchor(pose):
    depth = floor_and_wall(CameraPose(math.radians(10), height=0.3))
    assert len(floor_anchors(depth, CAMERA, pose)) == 0


@pytest.mark.parametrize(
    'depth',
    [
        np.full((120, 160), 2.0),
        np.full((120, 160), np.nan),
        2 + np.random.default_rng(0).random((120, 160)),
    ],
    ids=['wall', 'unknown', 'noise'],
)
def test_what_is_not_level_is_no_floor(depth):
    pose = CameraPose(math.radians(10), height=0.3)
    assert len(floor_anchors(depth.astype(np.float32), CAMERA, pose)) == 0
