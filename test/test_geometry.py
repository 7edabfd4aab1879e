# SPDX-License-Identifier: Apache-2.0
"""Geometry against closed forms, in numpy, in torch and, where there is one, on a GPU."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_perception import geometry
from depth_perception.camera import CameraModel

CAMERA = CameraModel(64, 48, 50.0, 52.0, 31.3, 23.6)
INF, NAN = float('inf'), float('nan')
KINDS = ['numpy', 'torch', pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no CUDA device here'))]


@pytest.fixture(params=KINDS)
def kind(request):
    """Which library, and where."""
    return request.param


def given_as(kind, array):
    """A numpy array as the library's own kind."""
    if kind == 'numpy':
        return array
    return torch.from_numpy(np.ascontiguousarray(array)).to('cpu' if kind == 'torch' else 'cuda')


def returned(kind, array):
    """Back to numpy, after checking that the kind and the place were kept."""
    if kind == 'numpy':
        assert isinstance(array, np.ndarray)
        return array
    assert array.device.type == ('cpu' if kind == 'torch' else 'cuda')
    return array.cpu().numpy()


def constant(value, camera=CAMERA):
    return np.full((camera.height, camera.width), value, np.float32)


def rays(camera=CAMERA):
    """Independent of the code: x / z and y / z of each pixel, float64 (H, W) each."""
    v, u = np.indices((camera.height, camera.width)).astype(np.float64)
    return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy


def plane(normal, offset, camera=CAMERA):
    """Depth of the plane normal . (x, y, z) = offset, float32 (H, W)."""
    x, y = rays(camera)
    return (offset / (normal[0] * x + normal[1] * y + normal[2])).astype(np.float32)


def scan(kind, depth, camera=CAMERA, band=(-0.2, 0.3), min_depth=0.3, range_max=10.0):
    """Ranges and angles of the beams, as numpy arrays."""
    layout = geometry.scan_layout(camera)
    ranges = geometry.scan_ranges(
        given_as(kind, depth), camera, *band, min_depth, range_max)
    angles = layout.angle_min + np.arange(layout.count) * layout.angle_increment
    result = returned(kind, ranges)
    assert result.shape == (layout.count,) and result.dtype == np.float32
    return result, angles


# Masks.

def test_rep_117_table(kind):
    depth = np.array([[NAN, INF, -INF, 0.0, -1.0, 0.29, 0.3, 5.0, 10.0, 10.01]], np.float32)
    masked = returned(kind, geometry.mask_range(given_as(kind, depth), 0.3, 10.0))
    expected = [[NAN, INF, -INF, -INF, -INF, -INF, 0.3, 5.0, 10.0, INF]]
    np.testing.assert_array_equal(masked, np.array(expected, np.float32))
    assert masked.dtype == np.float32


def test_zero_metres_are_too_near_even_without_a_minimum(kind):
    masked = returned(kind, geometry.mask_range(given_as(kind, constant(0.0)), 0.0, 10.0))
    assert (masked == -INF).all()


def test_edge_mask_removes_the_far_side_of_a_step(kind):
    depth = constant(1.0)
    depth[:, 20:] = 3.0
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.1))
    assert np.isnan(clean[:, 20]).all()
    kept = np.delete(clean, 20, axis=1)
    np.testing.assert_array_equal(kept, np.delete(depth, 20, axis=1))


def test_edge_mask_removes_the_whole_ramp_of_a_blurred_step(kind):
    depth = constant(1.0)
    depth[10:] = 3.0
    depth[10:13] = np.array([1.5, 2.0, 2.5], np.float32)[:, None]
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.1))
    assert np.isnan(clean[10:14]).all()
    assert np.isfinite(clean[:10]).all() and np.isfinite(clean[14:]).all()


@pytest.mark.parametrize('normal', [(0, 0, 1), (0.7, 0, 1), (0, 0.6, 1), (-0.6, 0.5, 1)])
def test_edge_mask_keeps_smooth_slanted_planes(kind, normal):
    depth = plane(normal, 2.0)
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.1))
    np.testing.assert_array_equal(clean, depth)


def test_edge_mask_leaves_what_is_not_finite(kind):
    depth = constant(2.0)
    depth[:, 5], depth[:, 15], depth[:, 25] = NAN, INF, -INF
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.1))
    assert np.isnan(clean[:, 5]).all()
    assert (clean[:, 15] == INF).all() and (clean[:, 25] == -INF).all()
    assert (clean[:, [4, 6, 14, 16]] == 2).all()


def test_edge_threshold_0_removes_nothing(kind):
    depth = np.random.default_rng(0).uniform(1, 9, (48, 64)).astype(np.float32)
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.0))
    np.testing.assert_array_equal(clean, depth)


def test_masks_leave_their_input_alone(kind):
    depth = plane((0.3, 0.2, 1), 1.0)
    depth[:, 30:] += 5
    before = depth.copy()
    geometry.mask_edges(given_as(kind, depth), 0.1)
    geometry.mask_range(given_as(kind, depth), 1.0, 2.0)
    np.testing.assert_array_equal(depth, before)


# Points and clouds.

@pytest.mark.parametrize('normal', [(0, 0, 1), (0.4, -0.3, 1), (0, 0.9, 0.7)])
def test_points_of_a_plane_lie_on_it_and_on_their_own_pixels(kind, normal):
    depth = plane(normal, 2.5)
    points = returned(kind, geometry.back_project(given_as(kind, depth), CAMERA))
    points = points.astype(np.float64)
    np.testing.assert_allclose(points @ np.array(normal, float), 2.5, atol=2e-6)
    v, u = np.indices(depth.shape)
    np.testing.assert_allclose(
        points[..., 0] / points[..., 2] * CAMERA.fx + CAMERA.cx, u, atol=1e-4)
    np.testing.assert_allclose(
        points[..., 1] / points[..., 2] * CAMERA.fy + CAMERA.cy, v, atol=1e-4)
    np.testing.assert_array_equal(points[..., 2].astype(np.float32), depth)


def depth_image_proc(depth, camera):
    """Its convertDepth (conversions.hpp), pixel by pixel in float32."""
    constant_x, constant_y = np.float32(1 / camera.fx), np.float32(1 / camera.fy)
    centre_x, centre_y = np.float32(camera.cx), np.float32(camera.cy)
    points = np.empty((*depth.shape, 3), np.float32)
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            points[v, u] = ((u - centre_x) * z * constant_x, (v - centre_y) * z * constant_y, z)
    return points


def test_points_agree_with_depth_image_proc(kind):
    depth = np.random.default_rng(1).uniform(0.3, 10, (48, 64)).astype(np.float32)
    points = returned(kind, geometry.back_project(given_as(kind, depth), CAMERA))
    assert np.mean((points - depth_image_proc(depth, CAMERA)) ** 2) < 1e-10


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_points_that_are_not_known_are_nan_in_all_three(kind, value):
    depth = constant(1.0)
    depth[7, 9] = value
    points = returned(kind, geometry.back_project(given_as(kind, depth), CAMERA))
    assert np.isnan(points[7, 9]).all() and np.isnan(points).sum() == 3


@pytest.mark.parametrize('stride', [1, 2, 5, 7, 64, 100])
def test_strides_need_not_divide_the_size(kind, stride):
    depth = np.random.default_rng(2).uniform(1, 5, (48, 64)).astype(np.float32)
    rgb = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    full = returned(kind, geometry.pack_cloud(given_as(kind, depth), CAMERA, given_as(kind, rgb)))
    part = returned(kind, geometry.pack_cloud(
        given_as(kind, depth), CAMERA, given_as(kind, rgb), stride))
    assert part.shape == (-(-48 // stride), -(-64 // stride), 4)
    np.testing.assert_array_equal(
        part.view(np.uint32), np.ascontiguousarray(full[::stride, ::stride]).view(np.uint32))


def test_colour_is_packed_as_0x00rrggbb(kind):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[0, 0], rgb[0, 1], rgb[0, 2] = (1, 2, 3), (255, 254, 253), (255, 255, 255)
    cloud = returned(kind, geometry.pack_cloud(
        given_as(kind, constant(1.0)), CAMERA, given_as(kind, rgb)))
    bits = np.ascontiguousarray(cloud[..., 3]).view(np.uint32)
    assert [hex(bit) for bit in bits[0, :4]] == ['0x10203', '0xfffefd', '0xffffff', '0x0']


def test_every_colour_keeps_its_bits(kind):
    values = np.random.default_rng(4).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cloud = returned(kind, geometry.pack_cloud(
        given_as(kind, constant(NAN)), CAMERA, given_as(kind, values)))
    as_bytes = np.ascontiguousarray(cloud[..., 3]).view(np.uint8).reshape(48, 64, 4)
    np.testing.assert_array_equal(as_bytes[..., 2::-1], values)  # little endian: b, g, r, 0
    assert not as_bytes[..., 3].any()


def test_cloud_without_colour_has_zero_there(kind):
    cloud = returned(kind, geometry.pack_cloud(given_as(kind, constant(1.0)), CAMERA))
    assert cloud.dtype == np.float32 and not cloud[..., 3].any() and cloud.flags.c_contiguous


def test_resized_depth_with_scaled_camera_gives_the_same_plane(kind):
    small = CAMERA.scaled_to(32, 24)
    points = returned(kind, geometry.back_project(
        given_as(kind, plane((0.2, 0.1, 1), 2.0, small)), small))
    np.testing.assert_allclose(points @ np.array([0.2, 0.1, 1]), 2.0, atol=2e-6)


@pytest.mark.parametrize('size', [(48, 63), (47, 64), (24, 32)])
def test_depth_of_another_size_than_the_camera_is_refused(kind, size):
    depth = given_as(kind, np.ones(size, np.float32))
    with pytest.raises(ValueError, match='48 rows x 64 columns'):
        geometry.back_project(depth, CAMERA, 2)
    with pytest.raises(ValueError, match='48 rows x 64 columns'):
        geometry.scan_ranges(depth, CAMERA, -0.2, 0.3, 0.3, 10)


# Scans.

def test_scan_of_a_wall_ahead_is_its_distance_over_the_cosine(kind):
    ranges, angles = scan(kind, constant(2.0))
    # A beam stands for columns up to half an increment aside.
    slack = geometry.scan_layout(CAMERA).angle_increment * 2.0
    np.testing.assert_allclose(ranges, 2.0 / np.cos(angles), atol=slack)
    assert ranges.min() == pytest.approx(2.0, abs=1e-3)


def test_scan_of_a_wall_is_exact_at_the_columns_own_angles(kind):
    ranges, _ = scan(kind, constant(2.0))
    x = rays()[0][0]
    beams = geometry.scan_layout(CAMERA).beam_of_column
    exact = np.full(len(ranges), np.inf)
    np.minimum.at(exact, beams, 2.0 * np.sqrt(1 + x * x))
    np.testing.assert_allclose(ranges, exact, rtol=1e-6)


def test_scan_of_a_slanted_wall(kind):
    ranges, angles = scan(kind, plane((0.5, 0, 1), 2.0))
    # The plane's distance along a beam: 2 / (cos - 0.5 sin), as angles grow to the left.
    exact = 2.0 / (np.cos(angles) - 0.5 * np.sin(angles))
    np.testing.assert_allclose(ranges, exact, rtol=0.03)


def test_scan_sees_a_box_on_the_left_at_positive_angles(kind):
    depth = constant(INF)
    depth[20:28, 5:15] = 1.5
    ranges, angles = scan(kind, depth)
    hit = np.isfinite(ranges)
    assert (angles[hit] > 0).all()
    x = rays()[0][0]
    assert angles[hit].max() == pytest.approx(-math.atan(x[5]), abs=0.02)
    assert angles[hit].min() == pytest.approx(-math.atan(x[14]), abs=0.02)
    assert (ranges[~hit] == INF).all()


def test_scan_takes_the_nearest_in_a_column(kind):
    depth = constant(5.0)
    depth[24:26, 30] = 1.0
    ranges, _ = scan(kind, depth)
    assert ranges.min() == pytest.approx(math.hypot(1.0, rays()[0][0, 30]), rel=1e-6)


def floor(height):
    """Depth of a level floor so far below the camera; +Inf above the horizon."""
    y = rays()[1]
    with np.errstate(divide='ignore'):
        return np.where(y > 0, height / y, INF).astype(np.float32)


def test_floor_below_the_band_leaves_every_beam_free(kind):
    ranges, _ = scan(kind, geometry.mask_range(floor(0.5), 0.3, 10.0), band=(-0.45, 0.3))
    assert (ranges == INF).all()


def test_floor_inside_the_band_is_seen(kind):
    ranges, angles = scan(kind, geometry.mask_range(floor(0.5), 0.3, 10.0), band=(-0.6, 0.3))
    nearest = 0.5 / rays()[1][-1, 0]
    np.testing.assert_allclose(ranges, nearest / np.cos(angles), rtol=0.02)


def test_what_hangs_above_the_band_is_not_seen(kind):
    depth = constant(INF)
    depth[:5] = 2.0
    assert (scan(kind, depth)[0] == INF).all()
    assert np.isfinite(scan(kind, depth, band=(-0.2, 1.0))[0]).all()


def test_farther_than_the_range_is_free(kind):
    assert (scan(kind, constant(9.9), range_max=9.0)[0] == INF).all()


def test_too_near_in_the_band_is_minus_infinity(kind):
    depth = constant(4.0)
    depth[:, 10:20] = -INF
    ranges, _ = scan(kind, depth)
    near = np.unique(geometry.scan_layout(CAMERA).beam_of_column[10:20])
    assert (ranges[near] == -INF).all()
    assert np.isfinite(np.delete(ranges, near)).all()


def test_too_near_outside_the_band_is_not_an_obstacle(kind):
    depth = constant(INF)
    depth[-1] = -INF
    assert (scan(kind, depth, band=(-0.1, 0.3), min_depth=0.5)[0] == INF).all()


def test_unknown_columns_are_nan_and_one_known_pixel_is_enough(kind):
    depth = constant(NAN)
    depth[24, 40] = 2.0
    ranges, _ = scan(kind, depth)
    beam = geometry.scan_layout(CAMERA).beam_of_column[40]
    assert ranges[beam] == pytest.approx(2.0 * math.hypot(1, rays()[0][0, 40]), rel=1e-6)
    assert np.isnan(np.delete(ranges, beam)).all()


def test_nothing_but_free_space_warns_of_nothing(kind):
    level = CameraModel(64, 48, 50.0, 50.0, 32.0, 24.0)  # row 24 looks exactly at the horizon
    with np.errstate(all='raise'):
        assert (scan(kind, constant(INF), level)[0] == INF).all()


CAMERAS = st.builds(
    lambda width, fov, centre: CameraModel(
        width, 2, width / 2 / math.tan(math.radians(fov) / 2),
        width / 2 / math.tan(math.radians(fov) / 2), centre * (width - 1), 0.5),
    st.integers(1, 2000), st.floats(1, 175), st.floats(-0.5, 1.5))


@settings(max_examples=300, deadline=None)
@given(CAMERAS)
def test_no_camera_leaves_a_beam_empty(camera):
    layout = geometry.scan_layout.__wrapped__(camera)
    beams = layout.beam_of_column
    assert np.array_equal(np.unique(beams), np.arange(layout.count))
    assert beams[-1] == 0 and (np.diff(beams) <= 0).all()


@settings(max_examples=200, deadline=None)
@given(CAMERAS)
def test_every_column_is_within_half_an_increment_of_its_beam(camera):
    layout = geometry.scan_layout.__wrapped__(camera)
    angles = -np.arctan((np.arange(camera.width) - camera.cx) / camera.fx)
    beams = layout.angle_min + layout.beam_of_column * layout.angle_increment
    assert np.abs(angles - beams).max() <= layout.angle_increment * 0.5 * (1 + 1e-6)
    assert layout.angle_max == pytest.approx(
        layout.angle_min + (layout.count - 1) * layout.angle_increment)


@settings(max_examples=50, deadline=None)
@given(CAMERAS)
def test_numpy_and_torch_give_the_same_scan(camera):
    depth = np.random.default_rng(0).uniform(0.1, 9, (2, camera.width)).astype(np.float32)
    depth[0, ::3], depth[1, ::4], depth[:, ::7] = NAN, INF, -INF
    results = [scan(kind, depth, camera, band=(-1, 1))[0] for kind in ('numpy', 'torch')]
    np.testing.assert_allclose(*results, rtol=1e-6)
