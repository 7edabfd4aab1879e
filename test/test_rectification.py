# SPDX-License-Identifier: Apache-2.0
"""Rectification makes straight what a lens bent; the lens here is independent mathematics."""
from __future__ import annotations

import numpy as np
import pytest

from depth_perception.camera import CameraError, CameraModel
from depth_perception.rectification import Calibration, Rectifier

RAW = CameraModel(320, 240, 200.0, 205.0, 158.0, 122.0)
RECTIFIED = CameraModel(320, 240, 180.0, 180.0, 160.0, 118.0)
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
TILTED = (0.9950041653, 0, 0.0998334166, 0, 1, 0, -0.0998334166, 0, 0.9950041653)


def brown(x, y, d):
    """plumb_bob and rational_polynomial (Brown 1966; OpenCV's and ROS's coefficients' order)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(np.asarray(d, float), (0, 8 - len(d)))
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y)


def kannala_brandt(x, y, d):
    """equidistant (Kannala and Brandt 2006): the angle, not its tangent, decides the radius."""
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(d)))
    scale = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1)
    return x * scale, y * scale


def undone(x, y, distort, d):
    """Rays (x, y) that the lens sends to (x, y): Newton's method, derivatives by differences."""
    a, b, step = x.copy(), y.copy(), 1e-6
    for _ in range(50):
        u, v = distort(a, b, d)
        ux, vx = (np.array(distort(a + step, b, d)) - (u, v)) / step
        uy, vy = (np.array(distort(a, b + step, d)) - (u, v)) / step
        determinant = ux * vy - uy * vx
        a = a - (vy * (u - x) - uy * (v - y)) / determinant
        b = b - (ux * (v - y) - vx * (u - x)) / determinant
    return a, b


def pattern(x, y):
    """A smooth picture of straight lines, defined on rays: uint8 (H, W, 3)."""
    channels = [127 + 100 * np.sin(25 * x), 127 + 100 * np.sin(25 * y),
                127 + 100 * np.sin(15 * (x + y))]
    return np.stack(channels, -1).round().astype(np.uint8)


def pixels(camera):
    """Rays through the pixels of a camera: two arrays (H, W)."""
    v, u = np.mgrid[:camera.height, :camera.width].astype(float)
    return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy


CASES = {
    'plumb_bob': ('plumb_bob', (-0.28, 0.09, 0.001, -0.0007, -0.01), brown),
    'plumb_bob of 4': ('plumb_bob', (0.12, -0.05, 0.0, 0.001), brown),
    'rational_polynomial': (
        'rational_polynomial', (0.4, -0.1, 0.0005, -0.0003, 0.02, 0.6, -0.05, 0.03), brown),
    'equidistant': ('equidistant', (-0.02, 0.005, -0.002, 0.0004), kannala_brandt),
}


@pytest.mark.parametrize('rotation', [IDENTITY, TILTED, (0,) * 9], ids=['same', 'tilted', 'zero'])
@pytest.mark.parametrize('case', CASES)
def test_straight_lines_become_straight_again(case, rotation):
    model, d, distort = CASES[case]
    matrix = np.array(rotation if any(rotation) else IDENTITY, float).reshape(3, 3)
    # The picture that the lens gives: each raw pixel shows what its own ray sees.
    x, y = undone(*pixels(RAW), distort, d)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    raw = pattern(rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2])
    rectify = Rectifier(Calibration(RAW, RECTIFIED, model, d, rotation))
    result = rectify(raw)
    # Not where black from outside was mixed in.
    seen = (rectify(np.full_like(raw, 255)) == 255).all(-1)
    error = np.abs(result.astype(int) - pattern(*pixels(RECTIFIED)))[seen]
    assert seen.mean() > 0.6
    # Interpolation and maps of 1/32 pixel: 100 grey levels x 25 per ray / 180 pixels / 32 = 0.4.
    assert np.percentile(error, 99) <= 3
    assert error.mean() < 1


def test_without_rectification_the_same_lines_are_bent():
    _, d, distort = CASES['plumb_bob']
    raw = pattern(*undone(*pixels(RAW), distort, d))
    assert np.abs(raw.astype(int) - pattern(*pixels(RAW))).mean() > 10


@pytest.mark.parametrize('model', ['', 'plumb_bob', 'rational_polynomial'])
def test_no_distortion_and_the_same_camera_change_nothing(model):
    rgb = pattern(*pixels(RAW))
    assert np.array_equal(Rectifier(Calibration(RAW, RAW, model))(rgb), rgb)


@pytest.mark.parametrize('model', ['plumb_bob', 'equidistant'])
def test_wrong_number_of_coefficients_is_named(model):
    with pytest.raises(CameraError, match=f"3 distortion coefficients do not fit model '{model}'"):
        Rectifier(Calibration(RAW, RAW, model, (0.1, 0.2, 0.3)))


def test_unknown_model_names_the_known():
    with pytest.raises(CameraError, match=r"'thin_prism'.*plumb_bob"):
        Rectifier(Calibration(RAW, RAW, 'thin_prism', (0.1,) * 4))


def test_distortion_is_any_coefficient_but_zero():
    assert not Calibration(RAW, RAW, 'plumb_bob', (0.0,) * 5).is_distorted
    assert not Calibration(RAW, RAW).is_distorted
    assert Calibration(RAW, RAW, 'plumb_bob', (0, 0, 0, 0, 1e-9)).is_distorted
