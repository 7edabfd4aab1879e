# SPDX-License-Identifier: Apache-2.0
"""The obstacle scan against closed forms: walls, floors and boxes, cameras at any tilt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth import by_numpy, geometry
from depth_perception.depth.arrays import on_host
from depth_perception.depth.scan import (
    FLOOR_GROWTH,
    LEVEL,
    CameraPose,
    ObstacleBand,
    PoseError,
    scan_layout,
    scan_ranges,
)
from test.support.cuda import cuda_only
from test.support.scenes import box_on_the_floor, floor, level_rays, with_box

CAMERA = CameraModel(64, 48, 50.0, 52.0, 31.3, 23.6)
#: A typical robot camera: 320x240, 66 degrees wide.
ROBOT = CameraModel(320, 240, 250.0, 250.0, 159.5, 119.5)
INF, NAN = float('inf'), float('nan')
BAND = ObstacleBand(-0.2, 0.3)


@pytest.fixture(params=['cpu', 'device code', pytest.param('cuda', marks=cuda_only)])
def device(request, monkeypatch):
    """Return the device; 'device code' is the code for a GPU with tensors on the CPU."""
    if request.param == 'device code':
        monkeypatch.setattr(by_numpy, '_is_on_cpu', lambda image: False)
        monkeypatch.setattr(
            'depth_perception.depth.scan.on_device', lambda array, device: torch.tensor(array)
        )
        return 'cpu'
    return request.param


def constant(value, camera=CAMERA):
    return np.full((camera.height, camera.width), value, np.float32)


def columns(camera=CAMERA):
    """Return x / z of each column, float64 (W,)."""
    return (np.arange(camera.width) - camera.cx) / camera.fx


def scan(device, depth, camera=CAMERA, band=BAND, pose=LEVEL, min_depth=0.3, range_max=10.0):
    """Return the ranges and angles of the beams, and the layout."""
    layout = scan_layout(camera, range_max, band, pose, device)
    ranges = scan_ranges(torch.from_numpy(depth).to(device), layout, min_depth)
    assert ranges.device.type == device and ranges.dtype == torch.float32
    assert ranges.shape == (layout.count,)
    angles = layout.angle_min + np.arange(layout.count) * layout.angle_increment
    return ranges.cpu().numpy(), angles, layout


def column_beams(layout, camera=CAMERA):
    """Return the beam of each column of a level camera."""
    beams = on_host(layout.beam).reshape(camera.height, camera.width)
    assert (beams == beams[0]).all()
    return beams[0]


# A level camera of unknown height.


def test_wall_ahead_is_its_distance_over_the_cosine(device):
    ranges, angles, layout = scan(device, constant(2.0))
    # A beam covers columns up to half an increment to either side.
    np.testing.assert_allclose(ranges, 2.0 / np.cos(angles), atol=layout.angle_increment * 2.0)
    assert ranges.min() == pytest.approx(2.0, abs=1e-3)


def test_wall_is_exact_at_the_columns_own_angles(device):
    ranges, _, layout = scan(device, constant(2.0))
    exact = np.full(len(ranges), np.inf)
    np.minimum.at(exact, column_beams(layout), 2.0 * np.sqrt(1 + columns() ** 2))
    np.testing.assert_allclose(ranges, exact, rtol=1e-6)


def test_slanted_wall(device):
    ranges, angles, _ = scan(device, np.tile(2 / (1 + 0.5 * columns()), (48, 1)).astype('f4'))
    # The plane's distance along a beam: 2 / (cos - 0.5 sin), as angles grow to the left.
    exact = 2.0 / (np.cos(angles) - 0.5 * np.sin(angles))
    np.testing.assert_allclose(ranges, exact, rtol=0.03)


def test_box_on_the_left_is_at_positive_angles(device):
    depth = constant(INF)
    depth[20:28, 5:15] = 1.5
    ranges, angles, _ = scan(device, depth)
    hit = np.isfinite(ranges)
    assert (angles[hit] > 0).all()
    assert angles[hit].max() == pytest.approx(-math.atan(columns()[5]), abs=0.02)
    assert angles[hit].min() == pytest.approx(-math.atan(columns()[14]), abs=0.02)
    assert (ranges[~hit] == INF).all()


def test_nearest_of_a_column_counts(device):
    depth = constant(5.0)
    depth[24:26, 30] = 1.0
    assert scan(device, depth)[0].min() == pytest.approx(math.hypot(1.0, columns()[30]), rel=1e-6)


@pytest.mark.parametrize('lowest, seen', [(-0.45, False), (-0.6, True)])
def test_floor_is_seen_if_it_is_in_the_band(device, lowest, seen):
    ranges, angles, _ = scan(
        device, floor(CAMERA, CameraPose(height=0.5)), band=ObstacleBand(lowest, 0.3)
    )
    if seen:
        nearest = 0.5 / ((47 - CAMERA.cy) / CAMERA.fy)
        np.testing.assert_allclose(ranges, nearest / np.cos(angles), rtol=0.02)
    else:
        assert (ranges == INF).all()


def test_what_hangs_above_the_band_is_not_seen(device):
    depth = constant(INF)
    depth[:5] = 2.0
    assert (scan(device, depth)[0] == INF).all()
    assert np.isfinite(scan(device, depth, band=ObstacleBand(-0.2, 1.0))[0]).all()


def test_farther_than_the_range_is_free(device):
    assert (scan(device, constant(9.9), range_max=9.0)[0] == INF).all()


@pytest.mark.parametrize('near', [-INF, 0.05, 0.29])
def test_too_near_in_the_band_is_an_obstacle_at_the_least_range(device, near):
    """Nav2 would not treat the -Inf of REP-117 as an obstacle."""
    depth = constant(4.0)
    depth[:, 10:20] = near
    ranges, _, layout = scan(device, depth)
    beams = np.unique(column_beams(layout)[10:20])
    # In the message, both are float32.
    assert (ranges[beams] >= np.float32(layout.range_min(0.3))).all()
    assert ranges[beams].max() < 0.4
    assert (np.delete(ranges, beams) > 3).all()


def test_a_near_obstacle_is_judged_where_it_is(device):
    """A 10 cm box, a camera at 0.12 m: placed at min_depth, the points would be below the floor."""
    pose = CameraPose(height=0.12)
    depth = with_box(floor(ROBOT, pose), ROBOT, pose, *box_on_the_floor(pose, 0.15, 0.1))
    ranges, angles, layout = scan(device, depth, ROBOT, pose=pose)
    assert (ranges[np.abs(angles) < 0.5] == np.float32(layout.range_min(0.3))).all()
    near_floor = scan(device, floor(ROBOT, pose), ROBOT, pose=pose)[0]
    assert (near_floor == INF).all()


def test_too_near_outside_the_band_is_no_obstacle(device):
    depth = constant(INF)
    depth[-1] = -INF
    ranges = scan(device, depth, band=ObstacleBand(-0.1, 0.3), min_depth=0.5)[0]
    assert (ranges == INF).all()


def test_unknown_columns_are_nan_and_one_known_pixel_is_enough(device):
    depth = constant(NAN)
    depth[24, 40] = 2.0
    ranges, _, layout = scan(device, depth)
    beam = column_beams(layout)[40]
    assert ranges[beam] == pytest.approx(2.0 * math.hypot(1, columns()[40]), rel=1e-6)
    assert np.isnan(np.delete(ranges, beam)).all()


@pytest.mark.parametrize('pose', [LEVEL, CameraPose(0.2, 0.1, 0.5)], ids=['level', 'tilted'])
def test_a_scan_is_the_same_band_by_band(monkeypatch, pose):
    rng = np.random.default_rng(7)
    depth = rng.uniform(0.3, 12, (48, 64)).astype(np.float32)
    for value in (NAN, INF, -INF):
        depth[rng.random((48, 64)) < 0.1] = value
    whole = scan('cpu', depth, pose=pose)[0]
    monkeypatch.setattr(by_numpy, 'BAND', 7 * 64)
    np.testing.assert_array_equal(scan('cpu', depth, pose=pose)[0], whole)


def test_a_row_that_looks_at_the_horizon_is_free(device):
    level = CameraModel(64, 48, 50.0, 50.0, 32.0, 24.0)
    assert (scan(device, constant(INF), level)[0] == INF).all()


@pytest.mark.parametrize('size', [(48, 63), (47, 64), (24, 32)])
def test_depth_of_another_size_than_the_camera_is_refused(size):
    with pytest.raises(ValueError, match='48 rows x 64 columns'):
        scan_ranges(np.ones(size, np.float32), scan_layout(CAMERA, 10.0), 0.3)


# Tilted cameras, and known heights: scenes are ray-traced in float64, independent of the code.

POSES = [
    CameraPose(math.radians(pitch), math.radians(roll), height)
    for pitch, roll, height in [
        (0, 0, 0.3),
        (15, 0, 0.3),
        (25, 0, 1.2),
        (-5, 0, 0.3),
        (0, 8, 0.5),
        (12, -6, 0.4),
    ]
]


@pytest.mark.parametrize('pose', POSES)
def test_an_empty_floor_is_free_as_far_as_it_is_seen(device, pose):
    ranges, angles, _ = scan(device, floor(ROBOT, pose), ROBOT, pose=pose)
    assert not np.isfinite(ranges).any()
    inner = np.abs(angles) < 0.4
    assert (ranges[inner] == INF).all() and inner.sum() > 100


def shows_floor(pose, distance):
    return pose.height / distance < math.tan(pose.pitch + math.atan(119.5 / 250)) - 0.05


@pytest.mark.parametrize(
    'pose, distance',
    [
        (pose, distance)
        for pose in POSES
        for distance in (1.0, 1.7, 2.5)
        if shows_floor(pose, distance)
    ],
)
def test_a_box_of_ten_centimetres_on_the_floor_is_seen(device, pose, distance):
    depth = with_box(floor(ROBOT, pose), ROBOT, pose, *box_on_the_floor(pose, distance, 0.1))
    ranges, angles, layout = scan(device, depth, ROBOT, pose=pose)
    ahead = np.abs(angles) < math.atan(0.1 / distance) - layout.angle_increment
    np.testing.assert_allclose(ranges[ahead], distance / np.cos(angles[ahead]), rtol=2e-3)
    aside = (np.abs(angles) > math.atan(0.1 / distance) + layout.angle_increment) & (
        np.abs(angles) < 0.4
    )
    assert (ranges[aside] == INF).all()


@pytest.mark.parametrize('pose', POSES)
def test_what_is_lower_than_the_tolerance_is_floor(device, pose):
    depth = with_box(floor(ROBOT, pose), ROBOT, pose, *box_on_the_floor(pose, 2.0, 0.04))
    assert not np.isfinite(scan(device, depth, ROBOT, pose=pose)[0]).any()
    strict = ObstacleBand(floor_tolerance=0.0)
    box = with_box(floor(ROBOT, pose), ROBOT, pose, *box_on_the_floor(pose, 2.0, 0.06))
    assert np.isfinite(scan(device, box, ROBOT, strict, pose)[0]).any()


def test_the_floors_tolerance_grows_with_the_distance(device):
    pose = POSES[0]
    at = 4.0
    limit = 0.05 + FLOOR_GROWTH * at
    for height, seen in ((limit + 0.03, True), (limit - 0.01, False)):
        depth = with_box(floor(ROBOT, pose), ROBOT, pose, *box_on_the_floor(pose, at, height))
        assert np.isfinite(scan(device, depth, ROBOT, pose=pose)[0]).any() == seen


@pytest.mark.parametrize('pose', POSES)
def test_a_wall_behind_the_floor_is_where_it_stands(device, pose):
    wall = ((3.0, -50.0, -pose.height), (3.1, 50.0, 50.0))
    ranges, angles, layout = scan(
        device, with_box(floor(ROBOT, pose), ROBOT, pose, *wall), ROBOT, pose=pose
    )
    inner = np.abs(angles) < 0.4
    assert layout.range_max > 4.0
    np.testing.assert_allclose(ranges[inner], 3.0 / np.cos(angles[inner]), rtol=2e-3)


@pytest.mark.parametrize('pose', POSES)
def test_the_ceiling_is_no_obstacle(device, pose):
    ceiling = ((-50.0, -50.0, 0.35), (50.0, 50.0, 0.4))
    depth = with_box(floor(ROBOT, pose), ROBOT, pose, *ceiling)
    depth[depth > 10] = INF
    assert not np.isfinite(scan(device, depth, ROBOT, pose=pose)[0]).any()
    looks_up = pose.pitch < 0.4
    higher = scan(device, depth, ROBOT, ObstacleBand(max_height=0.5), pose)[0]
    assert np.isfinite(higher).any() == looks_up


def test_a_post_stays_one_direction_whatever_the_tilt(device):
    """A tilted camera sees a vertical edge across columns; every height must give the same beam."""
    for pose in (CameraPose(0.3, 0.15, 1.0), CameraPose(0.2, -0.2, 1.0)):
        post = ((1.99, 0.49, -1.0), (2.01, 0.51, 2.0))
        ranges, angles, _ = scan(
            device, with_box(constant(INF, ROBOT), ROBOT, pose, *post), ROBOT, pose=pose
        )
        hits = angles[np.isfinite(ranges)]
        assert 1 <= len(hits) <= 6
        assert abs(hits.mean() - math.atan2(0.5, 2.0)) < 0.01


@pytest.mark.parametrize('degrees, seen', [(0.8, False), (2.0, True)])
def test_the_tolerance_bears_a_pitch_that_is_wrong_by_less_than_a_degree(device, degrees, seen):
    depth = floor(ROBOT, CameraPose(math.radians(degrees), 0, 0.3))
    ranges = scan(device, depth, ROBOT, pose=CameraPose(0, 0, 0.3))[0]
    assert np.isfinite(ranges).any() == seen


def test_free_means_seen_free_up_to_the_range_of_the_scan(device):
    """A steep camera sees two metres of floor, so it must not report four metres as free."""
    pose = CameraPose(math.radians(45), 0, 1.0)
    ranges, angles, layout = scan(device, floor(ROBOT, pose), ROBOT, pose=pose)
    top = math.radians(45) - math.atan(119.5 / 250)
    farthest = 0.95 / (math.tan(top) + FLOOR_GROWTH)
    assert layout.range_max == pytest.approx(farthest, rel=0.01)
    assert (ranges[np.abs(angles) < 0.3] == INF).all()
    # The lower corners see to the sides, and only the floor nearby.
    assert np.isnan(ranges[[0, -1]]).all()
    far_box = with_box(floor(ROBOT, pose), ROBOT, pose, (2.6, -9, -1.0), (2.7, 9, 0.0))
    assert not np.isfinite(scan(device, far_box, ROBOT, pose=pose)[0]).any()


def test_unknown_pixels_of_a_tilted_camera_are_unknown(device):
    pose = POSES[1]
    depth = floor(ROBOT, pose)
    depth[:, :160] = NAN
    ranges, angles, _ = scan(device, depth, ROBOT, pose=pose)
    assert np.isnan(ranges[angles > 0.01]).all()
    assert (ranges[(angles < -0.01) & (angles > -0.4)] == INF).all()


@pytest.mark.parametrize('height', [None, 0.3])
def test_limits_are_about_the_camera_where_its_height_is_unknown(device, height):
    """The lower limit is used only if the height is unknown, the upper limit always."""
    depth = with_box(constant(INF, ROBOT), ROBOT, LEVEL, (2, -1, -0.15), (2.2, 1, -0.1))
    seen = np.isfinite(
        scan(device, depth, ROBOT, ObstacleBand(-0.09, 0.3), CameraPose(height=height))[0]
    ).any()
    assert seen == (height is not None)


def by_loops(depth, layout, camera, pose, band, min_depth):
    """Compute the same pixel by pixel, directly from the definitions."""
    ranges = np.full(layout.count, NAN)
    for (v, u), z in np.ndenumerate(depth):
        ray = level_rays(camera, pose)[v, u]
        beam = round((math.atan2(ray[1], ray[0]) - layout.angle_min) / layout.angle_increment)
        placed = min_depth if z == -INF else float(z)
        away, up = math.hypot(ray[0], ray[1]), ray[2]
        if math.isfinite(placed):
            above = (
                up * placed >= band.min_height
                if pose.height is None
                else (
                    pose.height + up * placed >= band.floor_tolerance + FLOOR_GROWTH * away * placed
                )
            )
            if above and up * placed <= band.max_height and away * placed <= layout.range_max:
                ranges[beam] = np.fmin(ranges[beam], max(away * z, layout.range_min(min_depth)))
        if not math.isnan(z) and layout.sees_far[beam] and math.isnan(ranges[beam]):
            ranges[beam] = INF
    return ranges


@pytest.mark.parametrize('seed', range(12))
def test_any_depth_at_any_pose_agrees_with_the_definitions(device, seed):
    rng = np.random.default_rng(seed)
    camera = CameraModel(24, 18, 15.0, 16.0, rng.uniform(8, 16), rng.uniform(5, 12))
    pose = CameraPose(
        rng.uniform(-0.5, 1.2),
        rng.uniform(-0.6, 0.6),
        None if seed % 3 == 0 else rng.uniform(0.1, 1.5),
    )
    band = ObstacleBand(rng.uniform(-1, 0), rng.uniform(0.1, 1), rng.uniform(0, 0.2))
    depth = rng.uniform(0.1, 9, (18, 24)).astype(np.float32)
    for value in (NAN, INF, -INF):
        depth[rng.random(depth.shape) < 0.2] = value
    depth[:, :3] = NAN
    layout = scan_layout(camera, 8.0, band, pose, device)
    np.testing.assert_allclose(
        scan_ranges(torch.from_numpy(depth).to(device), layout, 0.3).cpu().numpy(),
        by_loops(depth, layout, camera, pose, band, 0.3),
        rtol=1e-5,
    )


# Poses.


def test_signs_of_pitch_and_roll():
    down, left_up = CameraPose(pitch=0.1).rotation(), CameraPose(roll=0.1).rotation()
    assert (down @ [0, 0, 1.0])[2] < 0  # the camera looks down
    assert (left_up @ [-1.0, 0, 0])[2] > 0  # the camera's left side is up


@pytest.mark.parametrize('up', [(0, 0, -1), (0, 0, 1), (0.05, 0, -0.998)])
def test_a_camera_that_looks_straight_down_or_up_has_no_scan(up):
    with pytest.raises(PoseError, match='-80 to 80'):
        CameraPose.from_up(up)


def test_a_masked_depth_image_of_geometry_goes_in(device):
    depth = torch.full((48, 64), 11.0, device=device)
    depth[:, :32], depth[0] = 0.1, NAN
    ranges = scan_ranges(
        geometry.mask_range(depth, 0.3, 10.0), scan_layout(CAMERA, 10.0, device=device), 0.3
    )
    assert ranges[-1] == pytest.approx(0.3, abs=1e-4) and ranges[0] == INF
