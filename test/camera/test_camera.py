# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera: creation, limits, resizing and cropping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_perception.camera.model import CameraError, CameraModel, same_aspect

KINECT = CameraModel(640, 480, 525.0, 520.0, 319.5, 239.5)


def test_k_and_p_give_the_same_camera():
    k = [525, 0, 319.5, 0, 520, 239.5, 0, 0, 1]
    p = [525, 0, 319.5, -40.0, 0, 520, 239.5, 0, 0, 0, 1, 0]
    assert CameraModel.from_matrix(640, 480, k) == CameraModel.from_matrix(640, 480, p) == KINECT
    assert CameraModel.from_matrix(640, 480, np.array(k)) == KINECT


@pytest.mark.parametrize(
    'matrix',
    [
        [0.0] * 9,
        [0.0] * 12,
        [float('nan')] * 9,
        [math.inf] * 12,
        [-525, 0, 319.5, 0, 520, 239.5, 0, 0, 1],
    ],
)
def test_uncalibrated_matrix_is_refused(matrix):
    with pytest.raises(CameraError, match='uncalibrated'):
        CameraModel.from_matrix(640, 480, matrix)


@pytest.mark.parametrize('matrix', [[], [1.0] * 8, np.eye(3)], ids=['empty', 'eight', 'nested'])
def test_matrix_of_another_length_is_refused(matrix):
    with pytest.raises(CameraError, match='need a 3x3 K or a 3x4 P'):
        CameraModel.from_matrix(640, 480, matrix)


@pytest.mark.parametrize('size', [(0, 480), (640, 0), (-1, 1)])
def test_camera_without_size_is_refused(size):
    with pytest.raises(CameraError, match='no image size'):
        CameraModel(*size, 1, 1, 0, 0)


def test_focal_length_at_90_degrees_is_half_the_width():
    camera = CameraModel.from_field_of_view(640, 480, 90)
    assert camera.fx == camera.fy == pytest.approx(320)
    assert (camera.cx, camera.cy) == (319.5, 239.5)


@pytest.mark.parametrize('angle', [0, -1, 180, 270, float('nan')])
def test_impossible_field_of_view_is_refused(angle):
    with pytest.raises(CameraError, match='field of view'):
        CameraModel.from_field_of_view(640, 480, angle)


def test_half_the_size_halves_every_value():
    assert KINECT.scaled_to(320, 240) == CameraModel(320, 240, 262.5, 260.0, 159.75, 119.75)


@given(st.integers(1, 40), st.integers(1, 40))
def test_scaling_keeps_the_relative_position_of_a_projected_point(numerator, denominator):
    width, height = 640 * numerator // denominator, 480 * numerator // denominator
    if min(width, height) < 100:
        return
    scaled = KINECT.scaled_to(width, height)
    for x, y in ((0.3, -0.2), (-0.5, 0.4)):
        u, v = KINECT.fx * x + KINECT.cx, KINECT.fy * y + KINECT.cy
        assert (scaled.fx * x + scaled.cx) / width == pytest.approx(u / 640)
        assert (scaled.fy * y + scaled.cy) / height == pytest.approx(v / 480)


def test_scaling_there_and_back_changes_nothing():
    back = KINECT.scaled_to(160, 120).scaled_to(640, 480)
    assert back.as_dict() == pytest.approx(KINECT.as_dict())


def test_another_aspect_ratio_is_refused_with_both_sizes():
    with pytest.raises(CameraError, match=r'640x480.*640x360'):
        KINECT.scaled_to(640, 360)


def test_rounded_sizes_have_the_same_aspect():
    assert same_aspect((640, 480), (213, 160)) and not same_aspect((640, 480), (640, 470))


@pytest.mark.parametrize(
    'values',
    [(1e300, 60, 39.5, 29.5), (64, 1e-5, 39.5, 29.5), (64, 64, 1e12, 29.5), (64, 64, 39.5, -1e30)],
)
def test_impossible_intrinsics_are_refused(values):
    with pytest.raises(CameraError, match='no camera of 80x60'):
        CameraModel(80, 60, *values)


def test_window_moves_the_principal_point_and_binning_divides():
    window = KINECT.windowed(100, 40, 400, 200, 2, 2)
    assert window == CameraModel(200, 100, 262.5, 260.0, 109.75, 99.75)


def test_binning_0_is_binning_1_as_in_camera_info():
    assert KINECT.windowed(0, 0, 640, 480, 0, 0) == KINECT


def test_camera_is_restored_from_its_dictionary():
    assert CameraModel(**KINECT.as_dict()) == KINECT
