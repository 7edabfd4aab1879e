# SPDX-License-Identifier: Apache-2.0
"""Level the floor in true depth, at a wrong scale, and with the errors of a network."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth.floor import floor_layout, level_floor
from depth_perception.depth.scan import CameraPose, ObstacleBand, scan_layout, scan_ranges
from test.support.cuda import DEVICES
from test.support.scenes import box_on_the_floor, floor, level_rays, ramp, with_box

#: A typical robot camera: 66 degrees wide.
CAMERA = CameraModel(320, 240, 250.0, 250.0, 159.5, 119.5)
POSES = [
    CameraPose(math.radians(pitch), math.radians(roll), height)
    for pitch, roll, height in [(0, 0, 0.15), (8, 0, 0.3), (0, 5, 0.3), (7, 0, 0.5), (20, -4, 1.0)]
]
INF, NAN = float('inf'), float('nan')
BAND = ObstacleBand(max_height=0.5)


def boxes(pose):
    """Return the scenes by name: the corners of boxes in front of the camera."""
    down = -pose.height
    return {
        'nothing': [],
        'wall': [((2.5, -9, down), (2.6, 9, 9))],
        'near wall': [((0.7, -9, down), (0.8, 9, 9))],
        'post of 4 cm': [((1.98, -0.32, down), (2.02, -0.28, 9))],
        'box of 10 cm at 2 m': [box_on_the_floor(pose, 2.0, 0.1)],
        'box of 30 cm at 1 m': [box_on_the_floor(pose, 1.0, 0.3)],
        'rug of 2 cm': [((0.8, -0.6, down), (2.2, 0.5, down + 0.02))],
        'table top at 0.7 m': [
            ((1.5, -0.5, down + 0.67), (2.3, 0.5, down + 0.7)),
            ((3.2, -9, down), (3.3, 9, 9)),
        ],
        'doorway of 0.8 m': [((2.0, -9, down), (2.1, -0.4, 9)), ((2.0, 0.4, down), (2.1, 9, 9))],
        'box before a wall': [box_on_the_floor(pose, 1.6, 0.2), ((3.0, -9, down), (3.1, 9, 9))],
    }


def scene(pose, name, camera=CAMERA):
    depth = floor(camera, pose)
    for low, high in boxes(pose)[name]:
        depth = with_box(depth, camera, pose, low, high)
    return depth


def finite(depth, pose, camera=CAMERA):
    """Return depth like that of a network: the floor continues, up to 40 m away."""
    with np.errstate(divide='ignore'):
        far = pose.height / np.maximum(-level_rays(camera, pose)[..., 2], pose.height / 40)
    return np.where(np.isinf(depth), far, depth).astype(np.float32)


layout_of_scan = functools.lru_cache(scan_layout)
layout_of_floor = functools.lru_cache(floor_layout)


def ranges(depth, pose, camera=CAMERA):
    layout = layout_of_scan(camera, 5.0, BAND, pose)
    masked = np.where(depth > 10, INF, depth).astype(np.float32)
    return scan_ranges(masked, layout, 0.3), layout


def levelled(depth, pose, camera=CAMERA, anchored=False):
    return level_floor(depth, layout_of_floor(camera, pose), anchored)


def shows_floor(depth, pose, camera=CAMERA):
    """Return whether the lower edge of the image shows floor in front of any object."""
    return np.isclose(depth[-1], floor(camera, pose)[-1], rtol=1e-3).mean() > 0.2


def mostly_close(found, true, share):
    """Return whether 98 % agree; the lowest part of a face is floor within the tolerance."""
    return np.mean(np.abs(found / true - 1) < share) > 0.98


def judged(found, expected):
    """Return which ranges are wrong by more than 10 % or 0.1 m, whichever is larger.

    Beams at the edge of an object may hit or miss it; they and unknown ranges are not judged.
    """
    near = np.where(np.isinf(expected), 99, expected)
    with np.errstate(invalid='ignore'):
        wrong = abs(np.where(np.isinf(found), 99, found) - near) > np.maximum(0.1, 0.1 * near)
        side = np.abs(np.diff(near)) > 0.3
    beside = np.convolve(np.append(side, False), np.ones(9), 'same') > 0
    return (wrong | np.isnan(found)) & ~beside & ~np.isnan(expected)


@pytest.mark.parametrize('scale', [0.6, 1.0, 1.6])
@pytest.mark.parametrize('name', boxes(POSES[0]))
@pytest.mark.parametrize('pose', POSES, ids=lambda pose: f'{pose.height} m')
def test_everything_is_found_at_its_place_and_nothing_is_invented(pose, name, scale):
    true = scene(pose, name)
    if not shows_floor(true, pose):
        scale = 1.0  # the scale is unknown without any floor
    expected, _ = ranges(true, pose)
    found, _ = ranges(levelled(finite(true, pose) * np.float32(scale), pose), pose)
    wrong = np.flatnonzero(judged(found, expected))
    assert not wrong.size, [(i, expected[i], found[i]) for i in wrong]


@pytest.mark.parametrize('scale', [0.6, 1.0, 1.6])
@pytest.mark.parametrize('pose', POSES, ids=lambda pose: f'{pose.height} m')
def test_a_ramp_of_three_degrees_is_floor_and_a_box_on_it_is_none(pose, scale):
    empty = ramp(floor(CAMERA, pose), CAMERA, pose, 1.0, 3.0, 3.0)
    found, layout = ranges(levelled(finite(empty, pose) * np.float32(scale), pose), pose)
    assert not np.isfinite(found).any()
    low, high = box_on_the_floor(pose, 2.0, 0.2)
    boxed = with_box(empty, CAMERA, pose, low, high)
    found, layout = ranges(levelled(finite(boxed, pose) * np.float32(scale), pose), pose)
    angles = layout.angle_min + layout.angle_increment * np.arange(layout.count)
    np.testing.assert_allclose(found[abs(angles) < 0.04], 2.0, rtol=0.25)
    assert not np.isfinite(found[abs(angles) > 0.07]).any()


@pytest.mark.parametrize('pose', POSES[1:4], ids=lambda pose: f'{pose.height} m')
def test_a_floor_that_a_network_bends_and_a_rug_that_it_lifts_are_floor(pose):
    """As by the bundled network on its clip: rug 35 % too near, floor at the sides 30 % nearer."""
    true = scene(pose, 'wall')
    u = np.linspace(-1, 1, CAMERA.width)[None]
    seen = finite(true, pose) * np.exp(0.15 * u)
    is_floor = np.isclose(true, floor(CAMERA, pose), rtol=1e-3)
    rug = (np.arange(CAMERA.height)[:, None] > 180 + 60 * abs(u)) & is_floor
    lifted = np.where(rug, 0.65 * seen, seen).astype(np.float32)
    lifted = cv2.blur(lifted, (3, 3))
    expected, _ = ranges(true, pose)
    plain, _ = ranges(lifted, pose)
    found, _ = ranges(levelled(lifted, pose), pose)
    assert (judged(plain, expected) & (plain < 2)).sum() > 50
    assert not (found < 2).any()
    known = ~np.isnan(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=0.15)


@pytest.mark.parametrize('pose', POSES[3:4], ids=lambda pose: f'{pose.height} m')
@pytest.mark.parametrize('scale', [0.7, 1.4])
def test_a_face_that_a_network_sees_leaning_away_is_upright(pose, scale):
    """As by the bundled network before a bed: a face recedes by a third, below a cover."""
    low, high = (1.2, -9, -pose.height), (1.3, 9, 0.1)
    cover = (1.0, -9, -0.1), (1.3, 9, 0.1)
    true = with_box(with_box(floor(CAMERA, pose), CAMERA, pose, low, high), CAMERA, pose, *cover)
    forward, _, up = np.moveaxis(level_rays(CAMERA, pose), -1, 0)
    height = np.where(np.isfinite(true), true, 0) * up + pose.height
    is_thing = np.isfinite(true) & (true * forward < 1.25) & (height > 0.01)
    leaning = np.where(is_thing, 1 + 0.35 * (height / 0.4).clip(0, 1), 1)
    seen = (finite(true, pose) * leaning * scale).astype(np.float32)
    expected, _ = ranges(true, pose)
    found, _ = ranges(levelled(seen, pose), pose)
    known = ~np.isnan(expected)
    assert expected[known].min() < 1.05  # the cover
    np.testing.assert_allclose(found[known], expected[known], rtol=0.12)


@pytest.mark.parametrize('pose', POSES[1:4], ids=lambda pose: f'{pose.height} m')
def test_errors_of_the_foot_in_single_columns_do_not_make_a_wall_rough(pose):
    """Each column of the floor is wrong by a factor of its own; the wall is not."""
    true = finite(scene(pose, 'wall'), pose)
    is_floor = np.isclose(true, finite(floor(CAMERA, pose), pose), rtol=1e-3)
    factor = np.exp(np.random.default_rng(1).normal(0, 0.05, CAMERA.width))
    seen = np.where(is_floor, true * factor, true).astype(np.float32)
    expected, _ = ranges(true, pose)
    found, _ = ranges(levelled(seen, pose), pose)
    known = np.isfinite(expected)
    assert np.std(found[known] / expected[known]) < 0.02


def test_what_is_level_above_the_floor_keeps_its_depth():
    """The top of a box does not move to its front."""
    pose = POSES[3]
    true = scene(pose, 'box of 30 cm at 1 m')
    inner = with_box(floor(CAMERA, pose), CAMERA, pose, *box_on_the_floor(pose, 1.0, 0.3))
    up = level_rays(CAMERA, pose)[..., 2]
    top = np.isfinite(true) & np.isclose(inner * up, 0.3 - pose.height, atol=1e-3)
    assert top.sum() > 100
    found = levelled(finite(true, pose) * np.float32(1.3), pose)
    np.testing.assert_allclose(np.median(found[top] / true[top]), 1.0, rtol=0.1)


@pytest.mark.parametrize('pose', POSES[1:4], ids=lambda pose: f'{pose.height} m')
def test_where_the_depth_is_anchored_the_floor_alone_is_moved(pose):
    true = finite(scene(pose, 'box before a wall'), pose)
    is_floor = np.isclose(true, finite(floor(CAMERA, pose), pose), rtol=1e-3)
    seen = np.where(is_floor, true * 0.8, true).astype(np.float32)
    moved = levelled(seen, pose, anchored=True)
    inner = cv2.erode(is_floor.astype(np.uint8), np.ones((15, 15))).astype(bool)
    assert mostly_close(moved[inner], true[inner], 0.01)
    things = cv2.erode((~is_floor).astype(np.uint8), np.ones((15, 15))).astype(bool)
    assert mostly_close(moved[things], true[things], 0.01)


def test_unknown_stays_unknown_and_unknown_pixels_change_nothing_else():
    pose = POSES[3]
    true = finite(scene(pose, 'box before a wall'), pose) * np.float32(1.3)
    holes = np.random.default_rng(3).random(true.shape) < 0.3
    holes[:, 40:60] = True
    holes[200:, 100:140] = True
    seen = np.where(holes, np.float32(NAN), true)
    found = levelled(seen, pose)
    assert (np.isnan(found) == holes).all()
    assert mostly_close(found[~holes], levelled(true, pose)[~holes], 0.05)
    assert np.isnan(levelled(np.full_like(true, NAN), pose)).all()


@pytest.mark.parametrize(
    'pose', [CameraPose(), CameraPose(height=0.0), CameraPose(math.radians(-60), 0, 0.5)]
)
def test_there_is_no_layout_where_the_floor_is_not_known_or_not_seen(pose):
    assert floor_layout(CAMERA, pose) is None


def test_depth_of_another_size_is_refused():
    with pytest.raises(ValueError, match='240 rows x 320 columns'):
        levelled(np.ones((24, 32), np.float32), POSES[1])


@pytest.mark.parametrize('size', [(320, 240), (322, 243), (61, 47)])
@pytest.mark.parametrize('anchored', [False, True])
@pytest.mark.parametrize('device', DEVICES)
def test_tensors_give_what_arrays_give(size, anchored, device):
    width, height = size
    camera = CameraModel(width, height, 0.8 * width, 0.8 * width, width / 2, height / 2)
    pose, rng = POSES[3], np.random.default_rng(1)
    seen = finite(scene(pose, 'box before a wall', camera), pose, camera)
    seen *= np.exp(cv2.blur(rng.normal(0, 0.5, seen.shape), (9, 9))).astype(np.float32)
    seen[rng.random(seen.shape) < 0.05] = NAN
    by_numpy = levelled(seen, pose, camera, anchored)
    on_cpu = level_floor(torch.from_numpy(seen), floor_layout(camera, pose), anchored)
    np.testing.assert_array_equal(on_cpu.numpy(), by_numpy)
    on_device = level_floor.__wrapped__(  # the code that runs on a GPU
        torch.from_numpy(seen).to(device), floor_layout(camera, pose, device=device), anchored
    )
    np.testing.assert_allclose(on_device.cpu().numpy(), by_numpy, rtol=1e-3)
