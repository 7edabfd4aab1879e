# SPDX-License-Identifier: Apache-2.0
"""Rectification straightens lines; the lens is simulated independently of OpenCV."""

from __future__ import annotations

import numpy as np
import pytest

from depth_perception.camera.file import CameraFile, RegionOfInterest
from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.rectification import Calibration, Rectifier
from test.support.lenses import LENSES, undone

RAW = CameraModel(320, 240, 200.0, 205.0, 158.0, 122.0)
RECTIFIED = CameraModel(320, 240, 180.0, 180.0, 160.0, 118.0)
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
TILTED = (0.9950041653, 0, 0.0998334166, 0, 1, 0, -0.0998334166, 0, 0.9950041653)


def pattern(x, y):
    """Return a smooth image of straight lines, defined on rays: uint8 (H, W, 3)."""
    channels = [
        127 + 100 * np.sin(25 * x),
        127 + 100 * np.sin(25 * y),
        127 + 100 * np.sin(15 * (x + y)),
    ]
    return np.stack(channels, -1).round().astype(np.uint8)


def pixels(camera):
    """Return the rays through the pixels of a camera as two arrays (H, W)."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy


@pytest.mark.parametrize('rotation', [IDENTITY, TILTED, (0,) * 9], ids=['same', 'tilted', 'zero'])
@pytest.mark.parametrize('case', LENSES)
def test_straight_lines_become_straight_again(case, rotation):
    model, d, distort = LENSES[case]
    matrix = np.array(rotation if any(rotation) else IDENTITY, float).reshape(3, 3)
    # The raw image: each pixel shows the scene along its own distorted ray.
    x, y = undone(*pixels(RAW), distort, d)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    raw = pattern(rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2])
    rectify = Rectifier(Calibration(RAW, RECTIFIED, model, d, rotation))
    result = rectify(raw)
    # Ignore pixels that interpolation mixed with the black outside.
    seen = (rectify(np.full_like(raw, 255)) == 255).all(-1)
    error = np.abs(result.astype(int) - pattern(*pixels(RECTIFIED)))[seen]
    assert seen.mean() > 0.6
    # Interpolation and maps of 1/32 pixel: 100 grey levels x 25 per ray / 180 pixels / 32 = 0.4.
    assert np.percentile(error, 99) <= 3
    assert error.mean() < 1


def test_without_rectification_the_lines_are_bent():
    _, d, distort = LENSES['plumb_bob']
    raw = pattern(*undone(*pixels(RAW), distort, d))
    assert np.abs(raw.astype(int) - pattern(*pixels(RAW))).mean() > 10


@pytest.mark.parametrize('model', ['', 'plumb_bob', 'rational_polynomial'])
def test_no_distortion_and_the_same_camera_change_nothing(model):
    rgb = pattern(*pixels(RAW))
    assert np.array_equal(Rectifier(Calibration(RAW, RAW, model))(rgb), rgb)


@pytest.mark.parametrize('model, count', [('plumb_bob', 3), ('plumb_bob', 15), ('equidistant', 5)])
def test_wrong_number_of_coefficients_is_named(model, count):
    with pytest.raises(CameraError, match=f'{count} distortion coefficients do not fit .*{model}'):
        Rectifier(Calibration(RAW, RAW, model, (0.1,) * count))


def test_error_for_an_unknown_model_lists_the_known_ones():
    with pytest.raises(CameraError, match=r"'thin_prism'.*plumb_bob"):
        Rectifier(Calibration(RAW, RAW, 'thin_prism', (0.1,) * 4))


def test_any_non_zero_coefficient_means_distortion():
    assert not Calibration(RAW, RAW, 'plumb_bob', (0.0,) * 5).is_distorted
    assert not Calibration(RAW, RAW).is_distorted
    assert Calibration(RAW, RAW, 'plumb_bob', (0, 0, 0, 0, 1e-9)).is_distorted


def test_pixels_outside_the_raw_image_are_marked_unseen():
    model, d, distort = LENSES['plumb_bob of 4']
    rectifier = Rectifier(Calibration(RAW, RECTIFIED, model, d))
    x, y = distort(*pixels(RECTIFIED), d)
    column, row = x * RAW.fx + RAW.cx, y * RAW.fy + RAW.cy
    hair = 0.01
    outside = (column < -hair) | (column > 319 + hair) | (row < -hair) | (row > 239 + hair)
    assert 0.05 < outside.mean() < 0.5
    np.testing.assert_array_equal(rectifier.unseen, outside)
    assert Rectifier(Calibration(RAW, RAW)).unseen is None


def test_a_polynomial_that_turns_back_does_not_repeat_the_image():
    # r - 0.28 r^3 grows up to r = 1 / sqrt(3 * 0.28) only; beyond r = 1.89 it is negative.
    wide = CameraModel(320, 240, 70.0, 70.0, 160.0, 118.0)
    rectifier = Rectifier(Calibration(RAW, wide, 'plumb_bob', (-0.28, 0.0, 0.0, 0.0)))
    beyond = np.hypot(*pixels(wide)) > 1.11
    shown = (rectifier(np.full((240, 320, 3), 255, np.uint8)) == 255).all(-1)
    assert shown[beyond].mean() > 0.3, 'the map alone would show ghosts there'
    assert rectifier.unseen[beyond].all()
    assert not rectifier.unseen[100:140, 140:180].any()


def test_a_map_outside_the_raw_image_leaves_all_unseen():
    aside = CameraModel(320, 240, 180.0, 180.0, 5000.0, 118.0)
    assert Rectifier(Calibration(RAW, aside)).unseen.all()


def lens(model, d, fov=70.0, **fields):
    """Return the calibration of a camera file with this lens."""
    camera = CameraModel.from_field_of_view(640, 480, fov)
    k = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
    return CameraFile(640, 480, k, d, model, **fields).calibration(640, 480)


@pytest.mark.parametrize(
    ('model', 'd', 'said'),
    [
        ('plumb_bob', (50, 50, 0, 0, 9), 'leaves 9% of the picture'),
        ('plumb_bob', (0, 0, 5, 5, 0), 'folds the picture over and leaves 3%'),
        ('plumb_bob', (-9, 0, 0, 0, 0), 'folds the picture over and leaves 8%'),
        ('plumb_bob', (1e300, 1e300, 0, 0, 0), 'leaves 0%'),
        ('rational_polynomial', (0.4, 0, 0, 0, 0, -20, 0, 0), 'leaves'),
        ('equidistant', (50, 0, 0, 0), 'leaves'),
    ],
)
def test_a_lens_that_leaves_hardly_anything_is_not_undone_and_told(model, d, said):
    found = lens(model, d)
    shown = ', '.join(f'{value:.4g}' for value in d)
    assert f'D = [{shown}] of model {model!r}' in found.unknown and said in found.unknown
    assert 'calibrate again' in found.unknown and found.doubts == ()


@pytest.mark.parametrize(
    ('d', 'said'), [((2, 0, 0, 0, 0), 'leaves 4'), ((-1.5, 0, 0, 0, 0), 'folds the picture over')]
)
def test_a_lens_that_leaves_too_little_is_undone_and_told(d, said):
    found = lens('plumb_bob', d)
    assert not found.unknown and len(found.doubts) == 1 and said in found.doubts[0]


@pytest.mark.parametrize('case', LENSES)
def test_usual_lenses_are_not_doubted_at_any_field_of_view(case):
    model, d, _ = LENSES[case]
    for fov in (30.0, 60.0, 90.0, 110.0):
        found = lens(model, d, fov)
        assert (found.doubts, found.unknown) == ((), '')


def test_a_region_at_the_border_is_judged_by_the_whole_lens():
    model, d, _ = LENSES['plumb_bob']
    found = lens(model, d, roi=RegionOfInterest(0, 0, 64, 48))
    assert not found.unknown
    # Without P for the region, the rectified one shows mostly what is beside it.
    assert len(found.doubts) == 1 and 'after rectification by R and P' in found.doubts[0]


def test_a_rectified_image_beside_the_raw_one_is_told():
    p = (450.0, 0.0, 1500.0, 0.0, 0.0, 450.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    found = lens('plumb_bob', (-0.2, 0.05, 0, 0, 0), p=p)
    assert not found.unknown
    assert 'after rectification by R and P 0% of the picture' in found.doubts[-1]


def test_the_image_is_shown_where_the_lens_looks_and_not_its_ghost():
    """Beyond the fold of this polynomial a larger, unmirrored image of the same scene follows."""
    rectifier = Rectifier(Calibration(RAW, RAW, 'plumb_bob', (-3.0, 0.0, 0.0, 0.0)))
    fold = 1 / np.sqrt(9)
    radius = np.hypot(*pixels(RAW))
    assert rectifier.unseen is not None
    assert not rectifier.unseen[radius < fold - 0.02].any()
    assert rectifier.unseen[radius > fold + 0.02].all()
