# SPDX-License-Identifier: Apache-2.0
"""PLY files, read back by an independent reader."""

from __future__ import annotations

import numpy as np
import pytest

from depth_perception.io.ply import write_ply
from test.support.ply import read_ply


def test_points_and_colours_are_read_back(tmp_path):
    points = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    colours = np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert write_ply(tmp_path / 'a.ply', points, colours) == 20
    vertices = read_ply(tmp_path / 'a.ply')
    np.testing.assert_array_equal(
        np.stack([vertices[name] for name in 'xyz'], -1), points.reshape(-1, 3)
    )
    np.testing.assert_array_equal(
        np.stack([vertices[name] for name in ('red', 'green', 'blue')], -1), colours.reshape(-1, 3)
    )


def test_points_that_are_not_finite_are_left_out_with_their_colours(tmp_path):
    points = np.arange(12, dtype=np.float32).reshape(4, 3)
    points[1, 2], points[2, 0] = np.nan, np.inf
    colours = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert write_ply(tmp_path / 'a.ply', points, colours) == 2
    vertices = read_ply(tmp_path / 'a.ply')
    assert vertices['x'].tolist() == [0, 9] and vertices['blue'].tolist() == [2, 11]


def test_without_colours_and_without_points(tmp_path):
    assert write_ply(tmp_path / 'a.ply', np.zeros((2, 3), np.float64)) == 2
    assert read_ply(tmp_path / 'a.ply').dtype.names == ('x', 'y', 'z')
    assert write_ply(tmp_path / 'b.ply', np.full((2, 3), np.nan, np.float32)) == 0
    assert len(read_ply(tmp_path / 'b.ply')) == 0


@pytest.mark.parametrize(
    ('points', 'colours'),
    [
        (np.zeros((4, 2)), None),
        (np.zeros((4, 3)), np.zeros((3, 3), np.uint8)),
        (np.zeros((4, 3)), np.zeros((4, 3))),
    ],
    ids=['two columns', 'fewer colours', 'float colours'],
)
def test_wrong_shapes_are_refused_and_nothing_is_written(tmp_path, points, colours):
    with pytest.raises(ValueError, match='need'):
        write_ply(tmp_path / 'a.ply', points, colours)
    assert list(tmp_path.iterdir()) == []
