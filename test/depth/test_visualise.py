# SPDX-License-Identifier: Apache-2.0
"""Depth as a picture: fixed colours for fixed distances."""

from __future__ import annotations

import numpy as np
import pytest

from depth_perception.depth.visualise import colourise, fitted_range, legend, with_legend

INF, NAN = float('inf'), float('nan')


def colour(*depths, near=0.3, far=10.0):
    return colourise(np.array([depths], np.float32), near, far)[0].astype(int)


def test_near_is_red_far_is_blue_in_bgr_order():
    near, far = colour(0.3, 10.0)
    assert near[2] > 2 * near[0] and far[0] > 2 * far[2]


def test_unknown_is_black_and_nothing_else_is():
    assert not colour(NAN).any()
    assert (colour(*np.linspace(0.3, 10, 500), INF, -INF).max(axis=1) > 100).all()


def test_beyond_the_range_has_the_colour_of_its_end():
    nearest, farthest, *others = colour(0.3, 10.0, -INF, 0.0, INF, 11.0, 1e30)
    assert (others[:2] == nearest).all() and (others[2:] == farthest).all()


def test_the_range_is_fixed_whatever_else_the_picture_shows():
    assert (colour(2.0, 9.0)[0] == colour(2.0, 1.0)[0]).all()


def test_farther_is_never_warmer_and_near_distances_differ_most():
    ramp = colour(*np.linspace(0.3, 10, 2000))
    steps = (np.diff(ramp, axis=0) != 0).any(axis=1)
    assert 200 <= steps.sum() <= 254
    assert steps[:500].sum() > 100


def test_shape_type_and_input_are_kept():
    depth = np.random.default_rng(0).uniform(0, 12, (7, 5)).astype(np.float32)
    depth[0, 0] = NAN
    before = depth.copy()
    picture = colourise(depth, 0.3, 10)
    assert picture.shape == (7, 5, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(depth, before)


@pytest.mark.parametrize('bounds', [(1, 1), (2, 1), (0, NAN)])
def test_empty_range_is_refused(bounds):
    with pytest.raises(ValueError, match='is not above'):
        colourise(np.ones((2, 2), np.float32), *bounds)


def test_the_fitted_range_holds_nearly_all_depths_and_stays_within_its_bounds():
    depth = np.linspace(1.2, 3.4, 1000, dtype=np.float32)
    depth[:5], depth[5:8], depth[8] = NAN, INF, 9.0
    near, far = fitted_range([depth], 0.1, 10)
    assert 1.0 < near <= 1.3 and 3.3 <= far <= 3.5
    assert fitted_range([depth, depth + 4], 0.1, 5) == (near, 5)
    assert fitted_range([np.full((2, 2), NAN, np.float32)], 0.1, 10) == (0.1, 10)
    near, far = fitted_range([np.full((2, 2), 2.0, np.float32)], 0.1, 10)
    assert far - near >= 0.5


@pytest.mark.parametrize('width', [64, 640, 1920])
def test_the_legend_has_the_colours_of_its_distances_and_labels_below(width):
    bar = legend(width, 1.0, 9.0)
    assert bar.shape[1] == width and bar.dtype == np.uint8
    middle = colourise(np.array([[1 + 8 * 0.25]], np.float32), 1.0, 9.0)[0, 0].astype(int)
    assert np.abs(bar[0, width // 2].astype(int) - middle).max() < 12
    assert (bar[-bar.shape[0] // 2 :] < 60).any()
    picture = np.zeros((10, width, 3), np.uint8)
    assert (with_legend(picture, 1.0, 9.0)[:10, :width] == picture).all()


@pytest.mark.parametrize('height, width', [(16, 2000), (48, 3000), (2000, 16), (600, 64), (16, 16)])
def test_the_legend_of_a_strip_can_be_read_and_is_no_larger_than_needed(height, width):
    picture = np.zeros((height, width, 3), np.uint8)
    result = with_legend(picture, 0.5, 9.0)
    assert (result[:height, :width] == picture).all() and (result[:height, width:] == 255).all()
    assert 28 <= result.shape[0] - height <= 40
    letters = (result[height + 12 :].max(axis=2) < 128).any(axis=0)
    # Both ends have labels, and nothing is cut off at the sides.
    assert letters[:60].any() and letters[-45:].any() and not letters[[0, -1]].any()
