# SPDX-License-Identifier: Apache-2.0
"""The products of depth: equal for arrays and tensors, with every setting."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth import geometry
from depth_perception.depth.arrays import on_host
from depth_perception.depth.millimetres import to_millimetres
from depth_perception.depth.products import DepthProducts, ProductMaker, depth_products
from depth_perception.depth.scan import CameraPose
from depth_perception.depth.settings import (
    DEFAULTS,
    OPTIONS,
    DepthSettings,
    SettingError,
    check,
)
from test.support.cuda import DEVICES
from test.support.scenes import floor, with_box
from test.support.settings import CASES, a_confidence, a_scene, base_of

CAMERA = CameraModel(128, 96, 90.0, 91.0, 64.0, 48.0)
RGB = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
PARTS = ('depth', 'clean', 'points', 'cloud', 'colours')
#: Settings that affect more than one frame, or act before depth is computed.
ELSEWHERE = {'temporal_smoothing', 'focal_correction'}


def arrays(products: DepthProducts) -> dict[str, np.ndarray]:
    """Return all products that exist, in host memory."""
    found = {name: getattr(products, name) for name in PARTS}
    found['ranges'], found['preview'] = products.scan().ranges, products.preview()
    found = {name: value for name, value in found.items() if value is not None}
    return {
        name: value.cpu().numpy() if isinstance(value, torch.Tensor) else value
        for name, value in found.items()
    }


def made(settings: DepthSettings) -> dict[str, np.ndarray]:
    return arrays(
        depth_products(
            RGB, CAMERA, a_scene(), settings, network_max_depth=10.0, confidence=a_confidence()
        )
    )


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('settings', [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_a_tensor_gives_what_an_array_gives(settings, device):
    depth = torch.from_numpy(a_scene()).to(device)
    sure = torch.from_numpy(a_confidence()).to(device)
    products = depth_products(RGB, CAMERA, depth, settings, network_max_depth=10.0, confidence=sure)
    for name in PARTS:
        value = getattr(products, name)
        assert value is None or value.device.type == device, name
    found, expected = arrays(products), made(settings)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # The bits of a colour may be equal to a NaN.
        equal = (
            np.testing.assert_array_equal
            if device == 'cpu'
            else lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5)
        )
        equal(found[name], value)


@pytest.mark.parametrize(
    'name, settings', [(name, case) for name, case in CASES[1:] if name.split()[0] not in ELSEWHERE]
)
def test_every_setting_changes_something(name, settings):
    before, after = made(base_of(settings)), made(settings)
    assert before.keys() != after.keys() or any(
        not np.array_equal(before[name], after[name], equal_nan=value.dtype.kind == 'f')
        for name, value in before.items()
    )


def test_nothing_is_computed_before_it_is_asked_for_and_nothing_twice(monkeypatch):
    calls = []
    for name in ('mask_range', 'flying_pixels', 'pack_cloud', 'back_project'):
        function = getattr(geometry, name)
        monkeypatch.setattr(
            geometry,
            name,
            lambda *arguments, name=name, function=function: (
                calls.append(name),
                function(*arguments),
            )[1],
        )
    products = depth_products(RGB, CAMERA, a_scene())
    assert calls == []
    assert products.depth is products.depth and calls == ['mask_range']
    products.scan()
    products.scan(CameraPose(0.1))
    assert products.cloud is products.cloud
    assert calls == ['mask_range', 'flying_pixels', 'pack_cloud']


def test_flying_pixels_are_unknown_in_cloud_and_scan_but_not_in_the_depth():
    products = depth_products(RGB, CAMERA, a_scene(), DepthSettings(point_stride=1))
    flying = geometry.flying_pixels(a_scene(), 0.05)
    assert flying.any() and not np.isnan(products.depth).any()
    np.testing.assert_array_equal(np.isnan(products.clean), flying)
    assert np.isnan(products.points[flying]).all()


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_what_is_too_near_is_an_obstacle_in_cloud_and_scan_and_masked_in_the_depth(kind):
    """Nothing else changes: unknown and flying pixels are not obstacles."""
    scene = a_scene()
    scene[40:60, 60:70], scene[40:60, 75:80], scene[5:9, 5:9] = 0.1, 0.0, np.nan
    settings = DepthSettings(point_stride=1, camera_height=0.4, floor_model=False)
    products = depth_products(RGB, CAMERA, kind(scene), settings, network_max_depth=10.0)
    depth, clean, standing, points, cloud, ranges = (
        np.asarray(part)
        for part in (
            products.depth,
            products.clean,
            products.standing,
            products.points,
            products.cloud,
            products.scan().ranges,
        )
    )
    near = np.isneginf(clean)
    assert near.any() and (near == (scene < 0.3) & ~np.isnan(clean)).all()
    np.testing.assert_array_equal(standing[~near], clean[~near])
    z = np.where(scene > 0, scene, 0.3)[near]
    np.testing.assert_array_equal(standing[near], z)
    np.testing.assert_array_equal(points[..., 2][near], z)
    np.testing.assert_array_equal(cloud[..., 2][near], z)
    assert np.isnan(points[np.isnan(clean)]).all() and np.isneginf(depth[scene < 0.3]).all()
    assert not np.isneginf(ranges).any()
    assert (ranges == np.float32(products.scan().range_min)).sum() >= 10


def a_floor_seen_too_near(pose):
    """Return depth (96, 128) of a floor and a wall at 3 m, all of it scaled by 0.7."""
    wall = (3.0, -9.0, -9.0), (3.1, 9.0, 9.0)
    return np.minimum(with_box(floor(CAMERA, pose), CAMERA, pose, *wall), 9) * np.float32(0.7)


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_cloud_and_scan_have_the_floor_where_it_is_known_to_be(kind):
    pose = CameraPose(math.radians(10), 0.0, 0.4)
    scene = kind(a_floor_seen_too_near(pose))
    stated = DepthSettings(camera_pitch=10.0, camera_height=0.4, scan_max_height=5.0)
    by_height = dataclasses.replace(stated, floor_model=False)
    for settings, lowest in ((stated, 0.0), (by_height, 0.4 * 0.3)):
        products = depth_products(RGB, CAMERA, scene, settings)
        np.testing.assert_array_equal(products.depth, scene)
        nearest = float(np.nanmin(products.scan().ranges))
        assert nearest == pytest.approx(3.0, rel=0.1) if settings.floor_model else nearest < 0.6
        down = np.array([0, math.cos(pose.pitch), math.sin(pose.pitch)])
        heights = 0.4 - np.asarray(products.points) @ down
        assert float(np.nanmin(heights)) == pytest.approx(lowest, abs=0.02)


def test_the_pose_comes_from_the_settings_or_is_told():
    pose = CameraPose(math.radians(10), 0.0, 0.4)
    scene = a_floor_seen_too_near(pose)
    stated = depth_products(
        None, CAMERA, scene, DepthSettings(camera_pitch=10.0, camera_height=0.4)
    )
    told = depth_products(None, CAMERA, scene)
    told.pose = pose
    np.testing.assert_array_equal(told.points, stated.points)
    np.testing.assert_array_equal(told.scan().ranges, stated.scan().ranges)
    unknown = depth_products(None, CAMERA, scene)
    unknown.pose = None
    np.testing.assert_array_equal(unknown.standing, unknown.clean)
    np.testing.assert_array_equal(unknown.scan(pose).ranges, stated.scan().ranges)


def test_a_maker_keeps_the_layout_of_the_floor_and_anchored_depth_moves_the_floor_alone():
    settings = DepthSettings(camera_pitch=10.0, camera_height=0.4, edge_threshold=0.0)
    scene = a_floor_seen_too_near(CameraPose(math.radians(10), 0.0, 0.4))
    maker = ProductMaker(10.0)
    products = maker(None, CAMERA, scene, settings)
    alone = products.standing
    anchored = products.with_metric(scene, anchored=True).standing
    assert maker._floors.cache_info().misses == 1
    np.testing.assert_allclose(alone[:20], scene[:20] / 0.7, rtol=0.02)
    np.testing.assert_allclose(anchored[:20], scene[:20], rtol=0.02)
    np.testing.assert_allclose(anchored[-20:], alone[-20:], rtol=0.02)


def test_limits_come_from_the_settings_or_from_the_network():
    scene = a_scene()
    for most, network, far in ((0.0, 10.0, 10.0), (3.0, 10.0, 3.0), (0.0, 5.0, 5.0)):
        products = depth_products(
            None, CAMERA, scene, DepthSettings(max_depth=most), network_max_depth=network
        )
        np.testing.assert_array_equal(np.isposinf(products.depth), scene > far)
        np.testing.assert_array_equal(np.isneginf(products.depth), scene < 0.3)
    unlimited = depth_products(None, CAMERA, scene)
    assert not np.isposinf(unlimited.depth).any()
    with pytest.raises(ValueError, match='max_depth'):
        unlimited.preview()
    assert unlimited.preview((0.5, 5.0)).shape == (96, 128, 3)


def test_without_a_camera_there_is_depth_alone_and_it_says_so():
    products = depth_products(RGB, None, a_scene(), network_max_depth=10.0)
    assert products.preview().any() and np.isfinite(products.depth).any()
    for part in (lambda: products.cloud, lambda: products.points, products.scan):
        with pytest.raises(ValueError, match='camera is unknown'):
            part()


def test_a_maker_keeps_the_layout_until_camera_or_pose_change():
    maker = ProductMaker(10.0)
    first, second = (maker(RGB, CAMERA, a_scene()).scan().layout for _ in range(2))
    assert first is second
    assert maker(RGB, CAMERA, a_scene()).scan(CameraPose(0.2)).layout is not first


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_smoothing_is_over_frames_in_their_order_and_only_there(kind):
    settings = DepthSettings(temporal_smoothing=0.9, depth_scale=2.0)
    frames = [np.full((96, 128), metres, np.float32) for metres in (2.0, 2.1)]
    maker = ProductMaker()
    first, second = (
        float(maker(RGB, CAMERA, kind(frame), settings, time=index / 10).depth[0, 0])
        for index, frame in enumerate(frames)
    )
    assert first == 4.0 and 4.0 < second < 4.15
    lone = [float(maker(RGB, CAMERA, kind(frame), settings).depth[0, 0]) for frame in frames]
    assert lone == [4.0, pytest.approx(4.2)]
    maker(RGB, CAMERA, kind(frames[0]), settings, time=0.0)
    maker.reset()
    assert float(
        maker(RGB, CAMERA, kind(frames[1]), settings, time=0.1).depth[0, 0]
    ) == pytest.approx(4.2)


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_what_the_camera_did_not_see_is_unknown_everywhere(kind):
    unseen = np.zeros((96, 128), bool)
    unseen[:, :20] = True
    products = ProductMaker(10.0)(RGB, CAMERA, kind(a_scene()), unseen=unseen)
    for part in (products.depth, products.clean):
        assert np.isnan(np.asarray(part)[:, :20]).all()


@pytest.mark.parametrize('name', OPTIONS)
def test_limits_of_each_setting_hold_and_are_told(name):
    rule, kind = OPTIONS[name], type(DEFAULTS[name])
    wrong = ['x', None] + ([] if kind is bool else [True])
    if rule.low is not None:
        check(name, kind(rule.low)), check(name, kind(rule.high))
        wrong += [rule.low - 1, rule.high + 1, math.nan, math.inf]
    for value in wrong:
        with pytest.raises(SettingError, match=name):
            DepthSettings(**{name: value})


def test_settings_are_frozen_and_told_where_two_do_not_fit():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DepthSettings().max_depth = 3.0
    assert DepthSettings().misfit() is None
    assert 'max_depth' in DepthSettings(max_depth=0.2).misfit()[1]
    assert 'scan_min_height' in DepthSettings(scan_min_height=1.0).misfit()[1]


@pytest.mark.parametrize('kind', [np.float32, np.float64])
def test_millimetres_are_the_nearest_and_unknown_is_zero(kind):
    metres = [1.0004, 1.0006, 65.535, np.nan, np.inf, -np.inf, 0, -0.001, -1, -70, 65.536, 1e9]
    found = to_millimetres(np.array([metres], kind))
    assert found.dtype == np.uint16
    assert found.tolist() == [[1000, 1001, 65535] + [0] * 9]


def test_the_table_of_settings_needs_nothing_heavy():
    code = (
        'import sys, depth_perception.depth.settings\n'
        'assert not {"torch", "cv2", "numpy", "rclpy"} & sys.modules.keys()'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_what_is_not_trusted_is_unknown_in_every_product():
    settings = DepthSettings(min_confidence=0.5, edge_threshold=0.0)
    products = depth_products(RGB, CAMERA, a_scene(), settings, confidence=a_confidence())
    plain = depth_products(RGB, CAMERA, a_scene(), DepthSettings(edge_threshold=0.0))
    doubtful = (a_confidence() < 0.5) & (plain.depth != -np.inf)
    assert np.isnan(products.depth[doubtful]).all() and not np.isnan(products.depth).all()
    np.testing.assert_array_equal(products.depth[~doubtful], plain.depth[~doubtful])
    assert np.isnan(products.points[doubtful[::2, ::2]]).all()
    assert np.array_equal(products.metric, plain.metric), 'anchors need the depth below the mask'
    # A known floor moves depth, but not where it is trusted.
    floor_known = dataclasses.replace(settings, camera_height=0.4, camera_pitch=10.0)
    moved = depth_products(RGB, CAMERA, a_scene(), floor_known, confidence=a_confidence())
    assert np.isnan(moved.standing[doubtful & (moved.standing >= 0.3)]).all()


@pytest.mark.parametrize('floor_known', [False, True])
def test_a_near_obstacle_is_one_however_doubtful_its_distance(floor_known):
    """A robot must not take what is too near to be measured for free space."""
    depth = np.full((96, 128), 2.0, np.float32)
    depth[:, 40:80] = 0.2  # nearer than min_depth
    depth[:, 100:] = 1.0
    unsure = np.ones((96, 128), np.float32)
    unsure[:, 40:] = 0.1
    settings = DepthSettings(min_confidence=0.5, edge_threshold=0.0, min_depth=0.3, point_stride=1)
    if floor_known:
        settings = dataclasses.replace(settings, camera_height=0.4, camera_pitch=0.0)
    for kind in (np.asarray, torch.from_numpy):
        products = depth_products(None, CAMERA, kind(depth), settings, confidence=kind(unsure))
        found = on_host(products.depth)
        assert (found[:, 40:80] == -np.inf).all() and np.isnan(found[:, 80:]).all()
        near = on_host(products.points)[:, 40:80, 2]  # a known floor moves them
        assert (near < 0.3).all() and (floor_known or (near == np.float32(0.2)).all())
        scan = products.scan()
        ranges = on_host(scan.ranges)
        assert ranges[np.isfinite(ranges)].min() == pytest.approx(scan.range_min, abs=0.01)


def test_a_mask_without_confidence_is_an_error_and_where_nothing_is_seen_there_is_none():
    with pytest.raises(ValueError, match=r'min_confidence 0\.5 needs the confidence of the depth'):
        depth_products(RGB, CAMERA, a_scene(), DepthSettings(min_confidence=0.5))
    unseen = np.zeros((96, 128), bool)
    unseen[:10] = True
    sure = np.ones((96, 128), np.float32)
    found = ProductMaker()(RGB, CAMERA, a_scene(), unseen=unseen, confidence=sure)
    assert (found.confidence[:10] == 0).all() and (found.confidence[10:] == 1).all()
    assert sure.min() == 1, 'the input must not change'
