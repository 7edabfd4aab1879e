# SPDX-License-Identifier: Apache-2.0
"""Geometry against closed forms, in numpy, in torch and, if there is one, on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth import by_numpy, geometry
from test.support.cuda import cuda_only

CAMERA = CameraModel(64, 48, 50.0, 52.0, 31.3, 23.6)
INF, NAN = float('inf'), float('nan')
#: 'device code' is the code that runs on a GPU, here with tensors on the CPU.
KINDS = ['numpy', 'torch', 'device code', pytest.param('cuda', marks=cuda_only)]


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """Return the library and the device to test."""
    if request.param == 'device code':
        monkeypatch.setattr(by_numpy, '_is_on_cpu', lambda image: False)
    return request.param


def given_as(kind, array):
    """Convert a numpy array to the type of the library."""
    if kind == 'numpy':
        return array
    return torch.from_numpy(np.ascontiguousarray(array)).to('cuda' if kind == 'cuda' else 'cpu')


def returned(kind, array):
    """Convert a result to numpy, after checking that its type and device are as expected."""
    if kind == 'numpy':
        assert isinstance(array, np.ndarray)
        return array
    assert array.device.type == ('cuda' if kind == 'cuda' else 'cpu')
    return array.cpu().numpy()


def constant(value, camera=CAMERA):
    return np.full((camera.height, camera.width), value, np.float32)


def rays(camera=CAMERA):
    """Return x / z and y / z of each pixel, float64 (H, W), independently of the tested code."""
    v, u = np.indices((camera.height, camera.width)).astype(np.float64)
    return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy


def plane(normal, offset, camera=CAMERA):
    """Return the depth of the plane normal . (x, y, z) = offset, float32 (H, W)."""
    x, y = rays(camera)
    return (offset / (normal[0] * x + normal[1] * y + normal[2])).astype(np.float32)


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


@pytest.mark.parametrize('turned', [False, True], ids=['floor', 'side wall'])
def test_edge_mask_keeps_a_surface_seen_at_a_grazing_angle(kind, turned):
    rows = np.arange(1, 49, dtype=np.float32)
    depth = np.repeat((12 / rows)[:, None], 48, axis=1)  # with steps of 1/2 to 1/48
    depth = depth.T if turned else depth
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.02))
    np.testing.assert_array_equal(clean, depth)


def test_edge_mask_finds_a_step_on_such_a_surface(kind):
    depth = np.repeat((12 / np.arange(1, 49, dtype=np.float32))[:, None], 48, axis=1)
    depth[3:9, 20:30] = 1.2
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.05))
    gone = np.isnan(clean)
    assert gone[3:9, 19].all() and gone[3:9, 30].all() and gone[2, 20:30].all()
    assert np.isfinite(clean[3:9, 20:30]).all() and gone.mean() < 0.05


def test_edge_mask_keeps_a_thin_pole_and_removes_its_fringe(kind):
    depth = constant(4.0)
    depth[:, 30:33] = 1.0
    depth[:, [29, 33]] = 2.0
    clean = returned(kind, geometry.mask_edges(given_as(kind, depth), 0.05))
    assert np.isnan(clean[:, [28, 29, 33, 34]]).all()
    assert np.isfinite(np.delete(clean, [28, 29, 33, 34], axis=1)).all()


def far_sides(line, threshold):
    """Apply the definition to one row or column of depths, pixel by pixel in float32."""
    with np.errstate(invalid='ignore', divide='ignore'):
        nearness = np.float32(1) / line
        steps = np.diff(nearness)
        far = np.zeros(len(line), bool)
        for i, step in enumerate(steps):
            around = [
                abs(steps[j])
                for j in (i - geometry.WIDEST_BLUR, i + geometry.WIDEST_BLUR)
                if 0 <= j < len(steps) and not np.isnan(steps[j])
            ]
            least = min(nearness[i], nearness[i + 1]) * np.float32(threshold)
            if around and abs(step) - min(around) > least:
                far[i if step > 0 else i + 1] = True
    return far


@pytest.mark.parametrize('size', [(48, 64), (5, 64), (48, 5), (1, 9), (9, 1), (3, 2)])
@pytest.mark.parametrize('unknown', [0.0, 0.3])
@pytest.mark.parametrize('few', [0.0, 1.0], ids=['image', 'single pixels'])
def test_flying_pixels_are_those_of_the_definition(kind, monkeypatch, size, unknown, few):
    monkeypatch.setattr(geometry, '_FEW', few)
    monkeypatch.setattr(by_numpy, 'BAND', 7 * 64)  # several bands, the last one smaller
    rng = np.random.default_rng(5)
    depth = rng.uniform(1.0, 1.3, size).astype(np.float32)
    for value in (NAN, INF, 0.0):
        depth[rng.random(size) < unknown / 3] = value
    expected = np.apply_along_axis(far_sides, 0, depth, 0.1) | np.apply_along_axis(
        far_sides, 1, depth, 0.1
    )
    flying = returned(kind, geometry.flying_pixels(given_as(kind, depth), 0.1))
    np.testing.assert_array_equal(flying, expected)


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


@pytest.mark.parametrize('share', [0.0, 0.1, 1.0])
def test_a_band_filled_in_is_that_alone(monkeypatch, share):
    monkeypatch.setattr(by_numpy, 'BAND', 7 * 64)
    rng = np.random.default_rng(6)
    image = rng.uniform(1, 9, (48, 64)).astype(np.float32)
    where = rng.random((20, 64)) < share
    expected = image.copy()
    expected[10:30][where] = -INF
    by_numpy.fill(image[10:30], where, -INF)
    np.testing.assert_array_equal(image, expected)


def test_whether_all_is_finite_and_times_a_factor(kind):
    depth = constant(2.0)
    assert bool(geometry.all_finite(given_as(kind, depth)))
    assert (returned(kind, geometry.scaled(given_as(kind, depth), 1.5)) == 3).all()
    assert (returned(kind, geometry.scaled(given_as(kind, depth), 1.0)) == 2).all()
    for value in (NAN, INF, -INF):
        depth[7, 9] = value
        assert not bool(geometry.all_finite(given_as(kind, depth)))


# Points and clouds.


@pytest.mark.parametrize('normal', [(0, 0, 1), (0.4, -0.3, 1), (0, 0.9, 0.7)])
def test_points_of_a_plane_lie_on_it_and_on_their_own_pixels(kind, normal):
    depth = plane(normal, 2.5)
    points = returned(kind, geometry.back_project(given_as(kind, depth), CAMERA))
    points = points.astype(np.float64)
    np.testing.assert_allclose(points @ np.array(normal, float), 2.5, atol=2e-6)
    v, u = np.indices(depth.shape)
    np.testing.assert_allclose(
        points[..., 0] / points[..., 2] * CAMERA.fx + CAMERA.cx, u, atol=1e-4
    )
    np.testing.assert_allclose(
        points[..., 1] / points[..., 2] * CAMERA.fy + CAMERA.cy, v, atol=1e-4
    )
    np.testing.assert_array_equal(points[..., 2].astype(np.float32), depth)


def depth_image_proc(depth, camera):
    """Repeat convertDepth of depth_image_proc (conversions.hpp), pixel by pixel in float32."""
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
    part = returned(
        kind, geometry.pack_cloud(given_as(kind, depth), CAMERA, given_as(kind, rgb), stride)
    )
    assert part.shape == (-(-48 // stride), -(-64 // stride), 4)
    np.testing.assert_array_equal(
        part.view(np.uint32), np.ascontiguousarray(full[::stride, ::stride]).view(np.uint32)
    )


def test_colour_is_packed_as_0x00rrggbb(kind):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[0, 0], rgb[0, 1], rgb[0, 2] = (1, 2, 3), (255, 254, 253), (255, 255, 255)
    cloud = returned(
        kind, geometry.pack_cloud(given_as(kind, constant(1.0)), CAMERA, given_as(kind, rgb))
    )
    bits = np.ascontiguousarray(cloud[..., 3]).view(np.uint32)
    assert [hex(bit) for bit in bits[0, :4]] == ['0x10203', '0xfffefd', '0xffffff', '0x0']


def test_every_colour_keeps_its_bits(kind):
    values = np.random.default_rng(4).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cloud = returned(
        kind, geometry.pack_cloud(given_as(kind, constant(NAN)), CAMERA, given_as(kind, values))
    )
    as_bytes = np.ascontiguousarray(cloud[..., 3]).view(np.uint8).reshape(48, 64, 4)
    np.testing.assert_array_equal(as_bytes[..., 2::-1], values)  # little endian: b, g, r, 0
    assert not as_bytes[..., 3].any()


def test_cloud_without_colour_has_zero_there(kind):
    cloud = returned(kind, geometry.pack_cloud(given_as(kind, constant(1.0)), CAMERA))
    assert cloud.dtype == np.float32 and not cloud[..., 3].any() and cloud.flags.c_contiguous


def test_resized_depth_with_scaled_camera_gives_the_same_plane(kind):
    small = CAMERA.scaled_to(32, 24)
    points = returned(
        kind, geometry.back_project(given_as(kind, plane((0.2, 0.1, 1), 2.0, small)), small)
    )
    np.testing.assert_allclose(points @ np.array([0.2, 0.1, 1]), 2.0, atol=2e-6)


@pytest.mark.parametrize('size', [(48, 63), (47, 64), (24, 32)])
def test_depth_of_another_size_than_the_camera_is_refused(kind, size):
    depth = given_as(kind, np.ones(size, np.float32))
    with pytest.raises(ValueError, match='48 rows x 64 columns'):
        geometry.back_project(depth, CAMERA, 2)
