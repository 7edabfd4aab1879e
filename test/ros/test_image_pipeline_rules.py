# SPDX-License-Identifier: Apache-2.0
"""The node's outputs meet the requirements of image_proc and depth_image_proc on their input.

The C++ nodes are not needed: each test restates a rule and names its source file in
github.com/ros-perception/image_pipeline, branch rolling (commit 30b982a of 2024-03-26).

* Encodings: 32FC1 in metres, invalid if not finite, or 16UC1 in millimetres, invalid if 0; rows of
  `step` bytes in the byte order of the machine: depth_image_proc/include/depth_image_proc/
  conversions.hpp and depth_traits.hpp. depth_image_proc/src/convert_metric.cpp checks only for NaN,
  so ±Inf becomes an undefined number: use the parameter `depth_encoding` for 16UC1, not that node.
* Equal sizes of depth and colour, equal frame_id: depth_image_proc/src/point_cloud_xyzrgb.cpp.
* Equal stamps of depth, camera_info and (with `exact_sync`) colour: the same file; for a node
  with one image and its camera_info, image_transport pairs them by equal stamps and uses the topic
  `camera_info` in the namespace of the image: depth_image_proc/src/point_cloud_xyz.cpp.
* fx, fy, cx, cy from P; the `_radial` nodes use K and D: conversions.hpp, conversions.cpp.
* Reliable publishers, because their subscriptions are: point_cloud_xyzrgb.cpp, point_cloud_xyz.cpp.
* K[0] = 0 is refused; with an all-zero D the image is passed through: image_proc/src/rectify.cpp.
* K, P and ROI are scaled with the size of the image: image_proc/src/resize.cpp.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from depth_perception.depth.settings import DepthSettings
from depth_perception.ros.conversions.stamps import nanoseconds
from test.support.estimators import StandIn
from test.support.ros import (
    camera_info,
    cloud_array,
    image_array,
    picture,
    rgb_image,
    running_node,
    wait_until,
)
from test.support.waiting import PATIENCE

WIDTH, HEIGHT = 83, 61
#: Positions of red, green and blue in a pixel, by encoding.
CHANNELS = {
    'rgb8': (0, 1, 2),
    'bgr8': (2, 1, 0),
    'rgba8': (0, 1, 2),
    'bgra8': (2, 1, 0),
    'mono8': (0, 0, 0),
}


def slope(rgb: np.ndarray, _camera: object) -> np.ndarray:
    """Return metres of a wall that recedes beyond 10 m (the network's range), and a near patch."""
    depth = np.broadcast_to(np.linspace(0.5, 12, rgb.shape[1]), rgb.shape[:2]).astype(np.float32)
    depth[10:20, 10:20] = 0.1
    return depth


MIN_DEPTH = DepthSettings().min_depth


def whole_cloud(**parameters: object) -> dict[str, object]:
    return {
        'load_estimator': StandIn(slope),
        'point_stride': 1,
        'edge_threshold': 0.0,
        'focal_correction': False,
        **parameters,
    }


def off_centre_info() -> CameraInfo:
    info = camera_info(WIDTH, HEIGHT)
    info.k = [71.0, 0.0, 38.25, 0.0, 69.5, 33.75, 0.0, 0.0, 1.0]
    info.p = [71.0, 0.0, 38.25, 0.0, 0.0, 69.5, 33.75, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def coloured(encoding: str) -> tuple[np.ndarray, Image]:
    """Return colours (H, W, 3), and an image message that contains them."""
    rgb = picture(3, WIDTH, HEIGHT)
    if encoding == 'mono8':
        return np.repeat(rgb[..., :1], 3, axis=2), rgb_image(
            np.ascontiguousarray(rgb[..., 0]), encoding
        )
    pixels = np.zeros((HEIGHT, WIDTH, len(encoding) - 1), np.uint8)
    pixels[..., CHANNELS[encoding]] = rgb
    return rgb, rgb_image(pixels, encoding)


def point_cloud(depth: Image, info: CameraInfo) -> np.ndarray:
    """Return points (H, W, 3) as convertDepth (conversions.hpp) computes them."""
    assert depth.is_bigendian == 0
    if depth.encoding == '16UC1':
        raw = np.frombuffer(depth.data, np.uint16).reshape(depth.height, depth.step // 2)
        valid, unit = raw != 0, 0.001
    else:
        raw = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.step // 4)
        valid, unit = np.isfinite(raw), 1.0
    rows, columns = np.mgrid[0 : depth.height, 0 : depth.width]
    with np.errstate(invalid='ignore'):
        z = np.where(valid, raw, np.nan).astype(np.float64)
    x = (columns - info.p[2]) * z * (unit / info.p[0])
    y = (rows - info.p[6]) * z * (unit / info.p[5])
    return np.stack([x, y, z * unit], axis=2)


def exact_matches(arrivals: Iterable[tuple[str, int]], queue: int) -> list[int]:
    """Return the stamps with all three topics, like ExactTime in point_cloud_xyzrgb.cpp.

    ExactTime of message_filters keeps the newest `queue` incomplete sets.
    """
    sets: dict[int, set[str]] = {}
    complete = []
    for topic, stamp in arrivals:
        sets.setdefault(stamp, set()).add(topic)
        if len(sets[stamp]) == 3:
            complete.append(stamp)
            # Older sets can never become complete, so they are dropped, too.
            sets = {other: topics for other, topics in sets.items() if other > stamp}
        while len(sets) > queue:
            del sets[min(sets)]
    return complete


@pytest.mark.parametrize('encoding', CHANNELS)
def test_point_cloud_xyzrgb_makes_our_cloud(namespace, robot, encoding):
    colours, image = coloured(encoding)
    with running_node(namespace, **whole_cloud()):
        robot.listen('depth/image', 'depth/camera_info', 'depth/points')
        header = robot.camera().send(image, off_centre_info())
        depth, info, cloud = (
            robot.wait_for(topic, 1)[0]
            for topic in ('depth/image', 'depth/camera_info', 'depth/points')
        )
    assert depth.header == header == cloud.header and not cloud.is_dense
    assert (depth.width, depth.height) == (image.width, image.height) == (cloud.width, cloud.height)
    theirs, ours = point_cloud(depth, info), cloud_array(cloud)
    seen, near = np.isfinite(theirs[..., 2]), np.isneginf(image_array(depth))
    assert 0 < seen.sum() < seen.size and near.any()
    # Our cloud also has points that are too near, because they are obstacles.
    np.testing.assert_array_equal(seen | near, np.isfinite(ours[..., :3]).all(axis=2))
    assert (ours[..., 2][near] < MIN_DEPTH).all()
    assert np.square(theirs - ours[..., :3])[seen].mean() < 1e-10
    packed = ours[..., 3].copy().view(np.uint8).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(packed[..., 2::-1][seen], colours[seen])


def test_millimetres_make_the_same_cloud_rounded(namespace, robot):
    with running_node(namespace, **whole_cloud(depth_encoding='16UC1')):
        robot.listen('depth/image', 'depth/camera_info', 'depth/points')
        robot.camera().send(rgb_image(picture(3, WIDTH, HEIGHT)), off_centre_info())
        depth = robot.wait_for('depth/image', 1)[0]
        info = robot.wait_for('depth/camera_info', 1)[0]
        cloud = robot.wait_for('depth/points', 1)[0]
    assert depth.encoding == '16UC1' and (image_array(depth) == 0).any()
    theirs, ours = point_cloud(depth, info)[..., 2], cloud_array(cloud)[..., 2]
    seen = np.isfinite(theirs)
    assert np.abs(theirs - ours)[seen].max() < 0.000501
    assert (ours[~seen & np.isfinite(ours)] < MIN_DEPTH).all()


def test_default_subscriptions_get_pairs_of_depth_and_camera_info(namespace, robot):
    """rmw_qos_profile_default: reliable, keep the last 10."""
    stamps: dict[str, list] = {'depth/image': [], 'depth/camera_info': []}
    with running_node(namespace, **whole_cloud()):
        for topic, kind in (('depth/image', Image), ('depth/camera_info', CameraInfo)):
            robot.node.create_subscription(
                kind,
                topic,
                lambda message, topic=topic: stamps[topic].append(message.header),
                QoSProfile(depth=10),
            )
            offered = wait_until(
                lambda topic=topic: robot.node.get_publishers_info_by_topic(f'{namespace}/{topic}')
            )
            assert offered[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE
        camera = robot.camera()
        wait_until(lambda: camera.send() and len(stamps['depth/image']) >= 3)
        wait_until(lambda: len(stamps['depth/camera_info']) >= len(stamps['depth/image']))
    assert stamps['depth/camera_info'][:3] == stamps['depth/image'][:3]


def test_exact_sync_needs_a_queue_as_long_as_the_latency(namespace, robot):
    """Images wait in the queue for their depth, as launch/depth_image_proc.launch.py explains."""
    arrivals: list[tuple[str, int]] = []

    def subscribe(kind: type, topic: str) -> None:
        robot.node.create_subscription(
            kind,
            topic,
            lambda message: arrivals.append((topic, nanoseconds(message.header.stamp))),
            100,
        )

    def count(topic: str) -> int:
        return sum(name == topic for name, _ in arrivals)

    inferring, release = threading.Event(), threading.Event()

    def slow_where_white(rgb: np.ndarray, camera: object) -> np.ndarray:
        if rgb.min() == 255:  # the frame of this test; earlier ones may still arrive
            inferring.set()
            assert release.wait(PATIENCE)
        return slope(rgb, camera)

    with running_node(
        namespace, **whole_cloud(load_estimator=StandIn(slow_where_white), max_age=0.0)
    ):
        for kind, topic in (
            (Image, 'image'),
            (Image, 'depth/image'),
            (CameraInfo, 'depth/camera_info'),
        ):
            subscribe(kind, topic)
        camera = robot.camera()
        wait_until(lambda: camera.send() and count('depth/image') and count('depth/camera_info'))
        first = camera.send(rgb_image(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))).stamp
        assert inferring.wait(PATIENCE)
        wait_until(lambda: ('image', nanoseconds(first)) in arrivals)
        arrivals[:] = [(topic, stamp) for topic, stamp in arrivals if stamp == nanoseconds(first)]
        for _ in range(9):
            images = count('image')
            camera.send()
            wait_until(lambda images=images: count('image') > images)
        release.set()
        wait_until(lambda: count('depth/image') >= 2 and count('depth/camera_info') >= 2)
    late = nanoseconds(first)
    assert late in exact_matches(arrivals, 30)
    assert late not in exact_matches(arrivals, 5), 'the default of depth_image_proc is too short'


def test_a_distorted_camera_has_depth_for_p_and_for_k_with_d_alike(namespace, robot):
    info = off_centre_info()
    info.d = [-0.2, 0.05, 0.001, -0.001, 0.0]
    info.p = [65.0, 0.0, 40.0, 0.0, 0.0, 64.0, 31.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    with running_node(namespace, **whole_cloud()):
        robot.listen('depth/image', 'depth/camera_info', 'depth/points')
        robot.camera().send(rgb_image(picture(3, WIDTH, HEIGHT)), info)
        depth = robot.wait_for('depth/image', 1)[0]
        rectified = robot.wait_for('depth/camera_info', 1)[0]
        cloud = robot.wait_for('depth/points', 1)[0]
    assert not any(rectified.d)
    np.testing.assert_allclose(
        np.reshape(rectified.k, (3, 3)), np.reshape(rectified.p, (3, 4))[:, :3]
    )
    np.testing.assert_allclose([rectified.p[i] for i in (0, 2, 5, 6)], [65.0, 40.0, 64.0, 31.0])
    ours = cloud_array(cloud)[..., :3]
    seen = np.isfinite(image_array(depth))
    assert seen.any()
    assert np.square(point_cloud(depth, rectified) - ours)[seen].mean() < 1e-10


def test_camera_info_of_another_size_is_scaled_as_resize_does(namespace, robot):
    """Here to half the size: focal lengths, centre and p[3]."""
    full = camera_info(2 * WIDTH, 2 * HEIGHT, 140.0)
    full.p[3] = -12.0
    with running_node(namespace, **whole_cloud()):
        robot.listen('depth/camera_info', 'depth/image')
        robot.camera().send(rgb_image(picture(3, WIDTH, HEIGHT)), full)
        info = robot.wait_for('depth/camera_info', 1)[0]
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(info.k, [value / 2 for value in full.k[:8]] + [1.0])
    np.testing.assert_allclose(info.p, [value / 2 for value in full.p[:8]] + list(full.p[8:]))


def test_resized_images_keep_the_camera_info_that_resize_gave_them(namespace, robot):
    info = off_centre_info()
    with running_node(namespace, **whole_cloud()):
        robot.listen('depth/camera_info', 'depth/image')
        robot.camera().send(rgb_image(picture(3, WIDTH, HEIGHT)), info)
        assert robot.wait_for('depth/camera_info', 1)[0] == info


def test_an_uncalibrated_camera_has_no_camera_info_that_rectify_would_refuse(namespace, robot):
    info = camera_info()
    info.k, info.p = [0.0] * 9, [0.0] * 12
    with running_node(namespace, **whole_cloud()):
        robot.listen('depth/camera_info', 'depth/image')
        camera = robot.camera()
        camera.send(info=info)
        camera.send(info=info)
        robot.wait_for('depth/image', 1)
    assert not robot.received['depth/camera_info']
