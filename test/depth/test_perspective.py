# SPDX-License-Identifier: Apache-2.0
"""Pictures of point clouds: positions of points, and which points hide others."""

from __future__ import annotations

import numpy as np
import pytest

from depth_perception.depth.perspective import View, draw_points, middle_view

RED, BLUE = (200, 0, 0), (0, 0, 200)


def drawn(points, colours, view, size=(40, 30)):
    return draw_points(
        np.array(points, np.float32),
        np.array(colours, np.uint8),
        view,
        *size,
        spacing=0.001,
        background=0,
    )


def place(picture, colour):
    """Return the mean (column, row) of the pixels of a colour."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    return columns.mean(), rows.mean()


def test_right_is_right_and_down_is_down():
    view = View((0, 0, 0), (0, 0, 1))
    column, row = place(drawn([[0.2, 0.1, 1.0]], [RED], view), RED)
    focal = 15 / np.tan(np.radians(25))
    assert column == pytest.approx(20 + 0.2 * focal, abs=1)
    assert row == pytest.approx(15 + 0.1 * focal, abs=1)


def test_what_is_nearer_hides_what_is_farther_from_either_side():
    points, colours = [[0, 0, 1.0], [0, 0, 3.0]], [RED, BLUE]
    front = drawn(points, colours, View((0, 0, 0), (0, 0, 1)))
    assert (front[15, 20] == RED).all()
    behind = drawn(points, colours, View((0, 0, 5), (0, 0, 1)))
    assert (behind[15, 20] == BLUE).all()


def test_a_look_from_the_right_sees_what_is_near_on_the_left():
    points, colours = [[0, 0, 1.0], [0, 0, 2.0]], [RED, BLUE]
    picture = drawn(points, colours, View.around((0, 0, 1.5), 3.0, yaw_deg=-30, down_deg=0))
    assert place(picture, RED)[0] < place(picture, BLUE)[0]


def test_a_look_straight_down_has_ahead_at_its_top():
    picture = drawn([[0, 0, 1.0], [0, 0, 2.0]], [RED, BLUE], View((0, -4, 1.5), (0, 0, 1.5)))
    assert place(picture, BLUE)[1] < place(picture, RED)[1]


def test_nothing_and_what_is_not_finite_or_behind_is_left_out():
    view = View((0, 0, 0), (0, 0, 1))
    assert not drawn(np.zeros((0, 3)), np.zeros((0, 3)), view).any()
    assert not drawn([[np.nan, 0, 1], [0, 0, -1], [0, 0, 0]], [RED] * 3, view).any()
    assert middle_view(np.zeros((0, 3), np.float32)).target == (0.0, 0.0, 1.0)
