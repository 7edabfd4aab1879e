# SPDX-License-Identifier: Apache-2.0
"""Drawing: thinned clouds, scan lines, distance marks, and the texts of the panel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_perception.camera.model import CameraModel
from depth_perception.depth.visualise import colourise
from depth_perception.view import drawing
from depth_perception.view.frame import Cloud, Level, Remark, Scan
from depth_perception.view.html import remarks_html, scale_html

CAMERA = CameraModel(640, 480, 500.0, 500.0, 319.5, 239.5)


@pytest.mark.parametrize('shape', [(240, 320), (480, 640), (1, 5000), (5000,), (7, 3)])
@pytest.mark.parametrize('most', [1, 10, 40_000])
def test_a_thinned_cloud_has_no_more_points_than_asked_and_its_own_colours(shape, most):
    points = np.arange(np.prod(shape) * 3, dtype=np.float32).reshape(*shape, 3)
    colours = (points % 251).astype(np.uint8)
    kept, kept_colours = drawing.thinned(Cloud(points, colours), most)
    assert 0 < len(kept) <= most
    np.testing.assert_array_equal(kept_colours, (kept % 251).astype(np.uint8))
    if np.prod(shape) <= most:
        assert len(kept) == np.prod(shape)


def test_a_cloud_is_thinned_along_rows_and_columns_alike():
    rows, columns = np.meshgrid(np.arange(240), np.arange(320), indexing='ij')
    points = np.stack([columns, rows, rows], axis=-1).astype(np.float32)
    kept, _ = drawing.thinned(Cloud(points), 20_000)
    assert len(np.unique(kept[:, 0])) == 160 and len(np.unique(kept[:, 1])) == 120


def test_unknown_points_are_left_out_and_missing_colours_are_grey():
    points = np.ones((4, 4, 3), np.float32)
    points[1, 2] = np.nan
    kept, colours = drawing.thinned(Cloud(points), 100)
    assert len(kept) == 15 and np.isfinite(kept).all()
    assert (colours == drawing.GREY).all()


def test_distance_colours_are_those_of_the_depth_picture():
    points = np.array([[0, 0, 1], [5, 5, 4]], np.float32)
    expected = colourise(np.array([[1, 4]], np.float32), 0.3, 10)[0, :, ::-1]
    np.testing.assert_array_equal(drawing.by_distance(points, 0.3, 10), expected)


def test_scan_points_are_on_the_left_for_positive_angles():
    scan = Scan(np.array([-math.pi / 2, 0, math.pi / 2]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(
        drawing.scan_points(scan), [[0, -1, 0], [2, 0, 0], [0, 3, 0]], atol=1e-6
    )


def test_scan_lines_join_only_neighbours_on_one_surface():
    ranges = np.array([1.0, 1.05, np.inf, 1.1, 3.0, 3.1, np.nan, -np.inf, 2.0])
    scan = Scan(np.linspace(-0.4, 0.4, len(ranges)), ranges)
    lengths = np.linalg.norm(drawing.scan_lines(scan)[:, 0], axis=1)
    np.testing.assert_allclose(lengths, [1.0, 3.0], atol=1e-6)
    assert len(drawing.scan_points(scan)) == 6


@pytest.mark.parametrize(
    'far, distances', [(10.0, [1, 2, 3, 5, 10]), (0.5, []), (80.0, [1, 2, 3, 5, 10, 20, 30, 50])]
)
def test_marks_lie_at_round_distances_within_the_view(far, distances):
    shown, lines = drawing.distance_marks(CAMERA, far)
    assert shown == distances
    radii = np.linalg.norm(lines, axis=2).round(4)
    assert sorted(set(radii.ravel().tolist())) == distances
    angles = np.arctan2(lines[..., 1], lines[..., 0])
    assert np.abs(angles).max(initial=0) < math.atan(321 / 500)


def test_wide_images_shrink_and_small_ones_stay():
    assert drawing.shrunk(np.zeros((480, 640, 3), np.uint8), 480).shape == (360, 480, 3)
    small = np.zeros((60, 80, 3), np.uint8)
    assert drawing.shrunk(small, 480) is small


def test_remarks_are_escaped():
    text = remarks_html([Remark(Level.ERROR, 'input', '<script>alert(1)</script> & more')])
    assert '<script>' not in text and '&lt;script&gt;' in text and '&amp; more' in text


def test_scale_shows_only_round_distances_in_its_range():
    text = scale_html((0.3, 10.0))
    assert '>10 m<' in text and '>1 m<' in text and '>20 m<' not in text
    assert scale_html(None) == ''


def test_the_nearest_point_near_a_ray_is_found():
    points = np.array([[0, 0, 3], [0.001, 0, 2], [1, 0, 1], [np.nan, 0, 1]], np.float32)
    found = drawing.point_on_ray(points, np.zeros(3), np.array([0, 0, 2.0]))
    assert found is not None and found[2] == 2
    assert drawing.point_on_ray(points, np.zeros(3), np.array([0, 1.0, 0])) is None
    assert drawing.point_on_ray(points[:0], np.zeros(3), np.array([0, 1.0, 0])) is None
