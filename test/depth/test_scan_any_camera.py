# SPDX-License-Identifier: Apache-2.0
"""Scans and poses of cameras that hypothesis makes up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_perception.camera.model import CameraModel
from depth_perception.depth.scan import CameraPose, scan_layout
from test.depth.test_scan import column_beams, columns

CAMERAS = st.builds(
    lambda width, fov, centre: CameraModel(
        width,
        2,
        width / 2 / math.tan(math.radians(fov) / 2),
        width / 2 / math.tan(math.radians(fov) / 2),
        centre * (width - 1),
        0.5,
    ),
    st.integers(1, 2000),
    st.floats(1, 175),
    st.floats(-0.5, 1.5),
)


@settings(max_examples=300, deadline=None)
@given(CAMERAS)
def test_no_level_camera_leaves_a_beam_empty_or_a_column_off_its_beam(camera):
    layout = scan_layout(camera, 10.0)
    beams = column_beams(layout, camera)
    assert np.array_equal(np.unique(beams), np.arange(layout.count))
    assert beams[-1] == 0 and (np.diff(beams) <= 0).all()
    angles = layout.angle_min + beams * layout.angle_increment
    off = np.abs(-np.arctan(columns(camera)) - angles).max()
    assert off <= layout.angle_increment * 0.5 * (1 + 1e-6)
    assert layout.angle_max == pytest.approx(
        layout.angle_min + (layout.count - 1) * layout.angle_increment
    )


@settings(max_examples=100, deadline=None)
@given(st.floats(-1.3, 1.3), st.floats(-3, 3))
def test_a_pose_is_known_by_the_direction_of_up(pitch, roll):
    pose = CameraPose(pitch, roll)
    again = CameraPose.from_up(pose.rotation()[2].tolist())
    assert (again.pitch, again.roll) == pytest.approx((pitch, roll), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1.3, 1.3), st.floats(-3, 3))
def test_the_quaternion_of_the_level_frame_is_the_inverse_rotation(pitch, roll):
    from scipy.spatial.transform import Rotation

    pose = CameraPose(pitch, roll)
    matrix = Rotation.from_quat(pose.level_frame_rotation()).as_matrix()
    np.testing.assert_allclose(matrix, pose.rotation().T, atol=1e-12)
