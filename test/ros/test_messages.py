# SPDX-License-Identifier: Apache-2.0
"""Conversion of arrays to messages and of camera_info to cameras."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from std_msgs.msg import Header

from depth_perception.camera.model import CameraError
from depth_perception.depth.scan import scan_layout
from depth_perception.ros.conversions import messages
from depth_perception.ros.conversions.camera_info import field_of_view_camera, image_camera
from depth_perception.ros.node.calibrations import Calibrations
from test.support.ros import camera_info, cloud_array, image_array

HEADER = Header(frame_id='camera_optical_frame')
NAN, INF = float('nan'), float('inf')


def test_depth_round_trip_keeps_every_bit():
    depth = np.array([[1.5, NAN, INF], [-INF, 0.3, 9.99]], np.float32)
    message = messages.depth_message(depth, HEADER, '32FC1')
    assert (message.step, message.width, message.height) == (12, 3, 2)
    np.testing.assert_array_equal(image_array(message), depth)


def test_millimetres_are_0_without_depth():
    depth = np.array([[1.5, NAN, INF, -INF, 0.0004, 65.535, 65.5361, -1.0]], np.float32)
    message = messages.depth_message(depth, HEADER, '16UC1')
    np.testing.assert_array_equal(image_array(message), [[1500, 0, 0, 0, 0, 65535, 0, 0]])


@pytest.mark.parametrize('coloured', [True, False])
def test_cloud_layout_is_that_of_depth_image_proc(coloured):
    cloud = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    message = messages.cloud_message(cloud, HEADER, coloured)
    names = ['x', 'y', 'z'] + ['rgb'] * coloured
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        (name, 4 * i, 7, 1) for i, name in enumerate(names)
    ]
    assert (message.point_step, message.row_step) == (16, 48)
    assert not message.is_dense and not message.is_bigendian
    np.testing.assert_array_equal(cloud_array(message), cloud)


def test_scan_angles_cover_the_ranges():
    layout = scan_layout(field_of_view_camera(80, 60, 90).camera, 10.0)
    message = messages.scan_message(np.ones(layout.count), layout, HEADER, 0.3)
    last = message.angle_min + (len(message.ranges) - 1) * message.angle_increment
    assert last == pytest.approx(message.angle_max)
    assert message.angle_min == pytest.approx(-math.atan(39.5 / 40))


@pytest.mark.parametrize(
    'optical, forward',
    [
        ('camera_optical_frame', 'camera_frame'),
        ('camera_color_optical_frame', 'camera_color_frame'),
        ('zed_left_camera_frame_optical', 'zed_left_camera_frame'),
        ('front_optical', 'front'),
        ('cam_optical_link', 'cam_link'),
        ('robot1/camera_optical_frame', 'robot1/camera_frame'),
        ('camera', 'camera'),
        ('', ''),
    ],
)
def test_scan_frame_is_the_x_forward_sibling(optical, forward):
    assert messages.scan_frame(optical) == forward


def test_camera_info_of_a_resized_image_is_scaled_in_k_and_p():
    info = camera_info(640, 480, 500.0)
    info.k[4] = info.p[5] = 510.0
    camera = image_camera(info, 320, 240, 'auto', False)
    assert (camera.camera.fx, camera.camera.fy) == (250, 255)
    assert (camera.camera.cx, camera.camera.cy) == (319.5 / 2, 239.5 / 2)
    published = camera.info(HEADER)
    assert (published.width, published.height) == (320, 240)
    assert list(published.k)[:6] == [250, 0, 319.5 / 2, 0, 255, 239.5 / 2]
    assert list(published.p)[:7] == [250, 0, 319.5 / 2, 0, 0, 255, 239.5 / 2]
    assert info.width == 640 and info.k[0] == 500, 'the cached message must not change'


def test_another_aspect_ratio_is_refused_with_both_sizes():
    with pytest.raises(CameraError, match=r'640x480.*640x360'):
        image_camera(camera_info(640, 480), 640, 360, 'auto', False)


def test_uncalibrated_and_non_finite_are_refused():
    zero = camera_info()
    zero.k, zero.p = [0.0] * 9, [0.0] * 12
    with pytest.raises(CameraError, match='uncalibrated'):
        image_camera(zero, 80, 60, 'auto', False)
    broken = camera_info()
    broken.k[4] = NAN
    with pytest.raises(CameraError, match='uncalibrated'):
        image_camera(broken, 80, 60, 'auto', False)


def test_region_of_interest_and_binning_move_the_principal_point():
    info = camera_info(640, 480, 500.0)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 60, 320, 240
    info.binning_x = info.binning_y = 2
    camera = image_camera(info, 160, 120, 'auto', False)
    assert (camera.camera.fx, camera.camera.cx, camera.camera.cy) == (
        250,
        (319.5 - 100) / 2,
        (239.5 - 60) / 2,
    )
    assert camera.info(HEADER).width == 640, 'the message still describes the full sensor'


def test_camera_info_is_published_for_the_size_of_the_image():
    info = camera_info(4, 7, 500.0)
    info.k[2], info.k[5], info.p[3] = 1.5, 3.0, -50.0
    info.binning_y = 2  # 4 x 3 pixels: the aspect ratio of the image
    published = image_camera(info, 40, 30, 'auto', False).info(HEADER)
    assert (published.width, published.height, published.binning_y) == (40, 30, 0)
    assert (published.k[0], published.k[4]) == (5000, 2500)
    assert (published.k[2], published.k[5]) == (15, 15) and published.p[3] == -500


def test_zero_matrices_are_filled_in():
    info = camera_info()
    info.k[0], info.p, info.r = 70.0, [0.0] * 12, [0.0] * 9
    published = image_camera(info, 80, 60, 'auto', False).info(HEADER)
    assert list(published.p) == [70, 0, 39.5, 0, 0, 64, 29.5, 0, 0, 0, 1, 0]
    assert list(published.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    half = image_camera(info, 40, 30, 'auto', False).info(HEADER)
    assert list(half.p)[:7] == [35, 0, 39.5 / 2, 0, 0, 32, 29.5 / 2]


def test_a_region_larger_than_the_image_is_ignored():
    info = camera_info()
    info.roi.width, info.roi.height = 160, 120
    camera = image_camera(info, 80, 60, 'auto', False)
    assert camera.camera.fx == camera.info(HEADER).k[0] == 64.0
    assert '160x120 at (0, 0) is not inside' in camera.remarks[0]


@pytest.mark.parametrize('fy', [0.0, -64.0, NAN, INF])
def test_an_unusable_p_is_replaced_by_k(fy):
    info = camera_info()
    info.k[0], info.p[5] = 70.0, fy
    for size in ((80, 60), (40, 30)):
        camera = image_camera(info, *size, 'auto', False)
        published = camera.info(HEADER)
        assert camera.camera.fx == published.k[0] == published.p[0] == 70.0 * size[0] / 80
        assert published.p[5] == published.k[4]
        assert 'P is not used' in camera.remarks[0]


def test_p_alone_is_the_camera_and_distortion_needs_k():
    info = camera_info()
    info.k, info.d = [0.0] * 9, [-0.2, 0.1, 0.0, 0.0, 0.0]
    camera = image_camera(info, 80, 60, 'auto', False)
    assert camera.camera.fx == 64.0 and not camera.rectify
    assert list(camera.info(HEADER).k) == [64, 0, 39.5, 0, 64, 29.5, 0, 0, 1]


def test_a_size_of_zero_means_that_of_the_image():
    info = camera_info()
    info.width = info.height = 0
    camera = image_camera(info, 80, 60, 'auto', False)
    published = camera.info(HEADER)
    assert camera.camera.cx == 39.5 and (published.width, published.height) == (80, 60)
    info.binning_x = info.binning_y = 2
    camera = image_camera(info, 40, 30, 'auto', False)
    assert camera.camera.fx == 32.0 and camera.info(HEADER).width == 40


@pytest.mark.parametrize(
    'model, d',
    [
        ('Inverse Brown Conrady', (0.1, -0.1, 0, 0, 0)),
        ('thin_prism', (0.1,) * 4),
        ('plumb_bob', (0.1, -0.1, 0.2)),
        ('None', (0.1,) * 4),
    ],
)
@pytest.mark.parametrize('rectify', ['auto', 'on'])
def test_images_of_an_unknown_lens_are_not_rectified_with_a_remark(model, d, rectify):
    info = camera_info()
    info.distortion_model, info.d = model, list(map(float, d))
    camera = image_camera(info, 80, 60, rectify, False)
    assert not camera.rectify and camera.camera.fx == 64.0
    assert model in camera.remarks[0] and 'not rectified' in camera.remarks[0]
    assert camera.info(HEADER).distortion_model == model
    assert not image_camera(info, 80, 60, 'auto', True).remarks


def test_an_image_has_the_camera_info_of_its_own_stamp_otherwise_the_newest():
    source = Calibrations()
    for second, focal in enumerate((50.0, 60.0, 70.0)):
        info = camera_info(focal=focal)
        info.header.stamp.sec = second
        source.update(info)
    focal = [
        source.for_image(80, 60, stamp=second * 10**9).camera.camera.fx for second in (0, 1, 2, 3)
    ]
    assert focal == [50, 60, 70, 70] and source.for_image(80, 60).camera.camera.fx == 70


def test_an_image_waits_for_a_later_camera_info_of_a_zoom_lens():
    source = Calibrations(info_topic=SimpleNamespace(has_info_publisher=True))

    def update(second: int) -> None:
        info = camera_info(focal=50.0 + second)
        info.header.stamp.sec = second
        source.update(info)

    for second in (0, 1):
        update(second)
        assert source.for_image(80, 60, second * 10**9).camera.camera.fx == 50 + second
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(source.for_image, 80, 60, 2 * 10**9)
        update(2)
        assert found.result().camera.camera.fx == 52


def test_the_ros_graph_is_not_asked_while_the_camera_is_known():
    asked: list[None] = []

    class Topic:
        @property
        def has_info_publisher(self) -> bool:
            asked.append(None)
            return False

    source = Calibrations(info_topic=Topic())
    assert source.for_image(80, 60, 0).camera is None and asked == [None]
    source.update(camera_info())
    for second in range(3):
        assert source.for_image(80, 60, second * 10**9).camera is not None
    assert asked == [None]


@pytest.mark.parametrize('name', ['d', 'r'])
def test_distortion_that_is_not_finite_is_refused_by_name(name):
    info = camera_info()
    getattr(info, name)[0] = NAN
    with pytest.raises(CameraError, match=f'not finite in {name.upper()}'):
        image_camera(info, 80, 60, 'auto', False)


def distorted() -> object:
    info = camera_info()
    info.d = [-0.2, 0.05, 0.0, 0.0, 0.0]
    info.p[0] = info.p[5] = 60.0
    return info


@pytest.mark.parametrize(
    'rectify, topic_is_rectified, expected',
    [('auto', False, True), ('auto', True, False), ('on', False, True), ('off', False, False)],
)
def test_rectify_follows_distortion_topic_and_parameter(rectify, topic_is_rectified, expected):
    camera = image_camera(distorted(), 80, 60, rectify, topic_is_rectified)
    assert camera.rectify is expected
    info = camera.info(HEADER)
    if expected:
        assert not any(info.d) and info.k[0] == info.p[0] == 60.0


def test_cameras_are_built_once_for_equal_camera_info():
    source = Calibrations()
    source.update(camera_info())
    first = source.for_image(80, 60).camera
    source.update(camera_info())
    assert source.for_image(80, 60).camera is first
    source.update(camera_info(focal=99.0))
    assert source.for_image(80, 60).camera.camera.fx == 99.0


def test_field_of_view_replaces_only_an_unusable_camera_info():
    source = Calibrations(horizontal_fov_deg=90)
    assert source.for_image(80, 60).camera.camera.fx == pytest.approx(40)
    zero = camera_info()
    zero.k, zero.p = [0.0] * 9, [0.0] * 12
    source.update(zero)
    assert source.for_image(80, 60).camera.camera.fx == pytest.approx(40)
    source.update(camera_info())
    assert source.for_image(80, 60).camera.camera.fx == 64
