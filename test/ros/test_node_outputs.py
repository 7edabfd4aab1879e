# SPDX-License-Identifier: Apache-2.0
"""Outputs: equal headers, consistent geometry, REP-117 values, and only what is subscribed."""

from __future__ import annotations

import math
import struct

import cv2
import numpy as np
import pytest

from depth_perception.ros.conversions.topics import OUTPUTS
from test.support.estimators import StandIn
from test.support.ros import (
    COMPRESSED,
    TYPES,
    camera_info,
    cloud_array,
    image_array,
    picture,
    rgb_image,
    running_node,
    wait_until,
)

INF = float('inf')


def test_real_network_gives_one_consistent_set_of_outputs_per_frame(namespace, robot, weights_file):
    with running_node(
        namespace, model_file=str(weights_file), point_stride=1, edge_threshold=0.0, device='cpu'
    ):
        robot.listen(*TYPES)
        camera = robot.camera()
        headers = []
        for count in range(1, 6):
            headers.append(camera.send())
            for topic in TYPES:
                robot.wait_for(topic, count)
    for topic in ('depth/image', 'depth/camera_info', 'depth/points', 'depth/image_color'):
        assert [message.header for message in robot.received[topic]] == headers
    scans = [message.header for message in robot.received['scan']]
    assert [header.stamp for header in scans] == [header.stamp for header in headers]
    assert {header.frame_id for header in scans} == {'camera_frame'}
    for depth, info, cloud in zip(
        robot.received['depth/image'],
        robot.received['depth/camera_info'],
        robot.received['depth/points'],
    ):
        check_reprojection(image_array(depth), info, cloud_array(cloud), 1)


@pytest.mark.parametrize('stride', [1, 2, 3, 16])
def test_cloud_pixels_reproject_onto_their_own_pixel(namespace, robot, weights_file, stride):
    with running_node(
        namespace, model_file=str(weights_file), point_stride=stride, edge_threshold=0.0
    ):
        robot.listen(*TYPES)
        robot.camera().send(rgb_image(picture(2, 83, 61)), camera_info(83, 61, 77.0))
        cloud = robot.wait_for('depth/points', 1)[0]
        depth = robot.wait_for('depth/image', 1)[0]
        info = robot.wait_for('depth/camera_info', 1)[0]
    assert (cloud.height, cloud.width) == (math.ceil(61 / stride), math.ceil(83 / stride))
    check_reprojection(image_array(depth), info, cloud_array(cloud), stride)


def check_reprojection(depth: np.ndarray, info, cloud: np.ndarray, stride: int) -> None:
    x, y, z = (cloud[..., i].astype(np.float64) for i in range(3))
    p = np.array(info.p).reshape(3, 4)
    u = (p[0, 0] * x + p[0, 2] * z) / z
    v = (p[1, 1] * y + p[1, 2] * z) / z
    rows, columns = np.mgrid[0 : depth.shape[0] : stride, 0 : depth.shape[1] : stride]
    seen = np.isfinite(z)
    assert seen.any()
    assert np.abs(u - columns)[seen].max() < 1e-3 and np.abs(v - rows)[seen].max() < 1e-3
    thinned = depth[::stride, ::stride]
    np.testing.assert_array_equal(seen, np.isfinite(thinned))
    np.testing.assert_array_equal(cloud[..., 2][seen], thinned[seen])


def test_colours_of_the_cloud_are_those_of_the_image(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), point_stride=2):
        robot.listen('depth/points')
        camera = robot.camera()
        rgb = picture(7)
        camera.send(rgb_image(rgb))
        cloud = cloud_array(robot.wait_for('depth/points', 1)[0])
        bits = np.ascontiguousarray(cloud[..., 3]).view(np.uint32)
        colours = np.stack([bits >> 16, bits >> 8 & 255, bits & 255], -1)
        np.testing.assert_array_equal(colours, rgb[::2, ::2])


def test_rep_117_values_in_depth_and_no_infinity_in_the_cloud(namespace, robot):
    def bands(rgb: np.ndarray, _camera: object) -> np.ndarray:
        depth = np.full(rgb.shape[:2], 2.0, np.float32)
        depth[:20], depth[40:] = 0.2, 11.0
        return depth

    with running_node(namespace, load_estimator=StandIn(bands), point_stride=1, edge_threshold=0.0):
        robot.listen('depth/image', 'depth/points')
        robot.camera().send()
        depth = image_array(robot.wait_for('depth/image', 1)[0])
        cloud = cloud_array(robot.wait_for('depth/points', 1)[0])
    assert (depth[:20] == -INF).all() and (depth[40:] == INF).all()
    np.testing.assert_array_equal(depth[20:40], 2.0)
    assert np.isnan(cloud[40:, :, :3]).all()
    np.testing.assert_array_equal(cloud[20:40, :, 2], 2.0)
    np.testing.assert_array_equal(cloud[:20, :, 2], np.float32(0.2))  # still an obstacle


def test_a_wall_gives_an_exact_cloud_and_scan(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), point_stride=1):
        robot.listen('depth/points', 'scan')
        info = camera_info(81, 60, 64.0)
        robot.camera().send(rgb_image(picture(0, 81, 60)), info)
        cloud = cloud_array(robot.wait_for('depth/points', 1)[0])
        scan = robot.wait_for('scan', 1)[0]
    rows, columns = np.mgrid[0:60, 0:81]
    np.testing.assert_allclose(cloud[..., 0], (columns - 40) * 2 / 64, atol=1e-6)
    np.testing.assert_allclose(cloud[..., 1], (rows - 29.5) * 2 / 64, atol=1e-6)
    np.testing.assert_array_equal(cloud[..., 2], 2.0)
    angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
    # A beam has the range of its nearest pixel, which is at most half a beam away.
    expected = 2 / np.cos(angles)
    slack = 2 / np.cos(np.abs(angles) + scan.angle_increment / 2) - expected + 1e-5
    assert (np.abs(np.array(scan.ranges) - expected) <= slack).all()
    assert scan.angle_min == pytest.approx(-math.atan(40 / 64))
    assert scan.range_min == pytest.approx(0.3) and scan.range_max == 10.0


def test_scan_tells_obstacles_from_free_and_has_near_ones_at_its_least_range(namespace, robot):
    def scene(rgb: np.ndarray, _camera: object) -> np.ndarray:
        depth = np.full(rgb.shape[:2], 50.0, np.float32)
        depth[:, 20:40], depth[:, 60:] = 3.0, 0.1
        return depth

    with running_node(namespace, load_estimator=StandIn(scene)):
        robot.listen('scan')
        robot.camera().send()
        scan = robot.wait_for('scan', 1)[0]
    ranges = np.array(scan.ranges)
    assert ranges[0] == scan.range_min and ranges[-1] == INF
    far = ranges[np.isfinite(ranges) & (ranges > scan.range_min)]
    assert far.size and (np.abs(far - 3.0) < 0.2).all()


def test_obstacle_on_the_left_is_on_the_left_of_the_scan(namespace, robot):
    def left(rgb: np.ndarray, _camera: object) -> np.ndarray:
        depth = np.full(rgb.shape[:2], 50.0, np.float32)
        depth[:, :20] = 2.0
        return depth

    with running_node(namespace, load_estimator=StandIn(left)):
        robot.listen('scan')
        robot.camera().send()
        scan = robot.wait_for('scan', 1)[0]
    angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
    hits = angles[np.isfinite(scan.ranges)]
    assert hits.size and (hits > 0).all(), 'x forward, y left: left is positive (REP-103)'


def test_distorted_camera_is_rectified_and_said_to_be(namespace, robot):
    info = camera_info()
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    info.p[0] = info.p[5] = 50.0
    with running_node(namespace, load_estimator=StandIn(lambda rgb, _: rgb[..., 0] / 100 + 0.5)):
        robot.listen('depth/image', 'depth/camera_info')
        robot.camera().send(info=info)
        published = robot.wait_for('depth/camera_info', 1)[0]
        depth = image_array(robot.wait_for('depth/image', 1)[0])
    assert not any(published.d) and list(published.k)[:3] == [50.0, 0.0, 39.5]
    assert not np.allclose(depth, picture(0)[..., 0] / 100 + 0.5)


@pytest.mark.parametrize('encoding, min_depth', [('32FC1', 0.3), ('32FC1', 0.01), ('16UC1', 0.3)])
def test_compressed_depth_is_what_image_transport_decodes(namespace, robot, encoding, min_depth):
    """Decode with the inverse in compressed_depth_image_transport (codec.cpp), and with cv2."""

    def scene(rgb: np.ndarray, _camera: object) -> np.ndarray:
        depth = np.geomspace(min_depth, 9.99, rgb.size // 3, dtype=np.float32)
        depth[:80], depth[-80:] = min_depth / 2, 11.0
        return depth.reshape(rgb.shape[:2])

    with running_node(
        namespace, load_estimator=StandIn(scene), depth_encoding=encoding, min_depth=min_depth
    ):
        robot.listen('depth/image', 'depth/image_color', *COMPRESSED)
        header = robot.camera().send()
        depth, picture, packed, jpeg = (
            robot.wait_for(topic, 1)[0]
            for topic in ('depth/image', 'depth/image_color', *COMPRESSED)
        )
    assert depth.header == packed.header == jpeg.header == header
    assert packed.format == f'{encoding}; compressedDepth png'
    assert jpeg.format == 'bgr8; jpeg compressed bgr8'
    # ConfigHeader: enum compressionFormat { INV_DEPTH = 0 }, float depthParam[2].
    kind, a, b = struct.unpack('<iff', bytes(packed.data[:12]))
    values = cv2.imdecode(np.frombuffer(packed.data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
    assert kind == 0 and values.dtype == np.uint16
    expected = image_array(depth)
    if encoding == '16UC1':
        np.testing.assert_array_equal(values, expected)
    else:
        known = np.isfinite(expected)
        np.testing.assert_array_equal(values > 0, known)
        decoded = a / (values[known].astype(np.float32) - b)
        # Half a step of the inverse depth, and the rounding error of float32.
        assert (np.abs(1 / decoded - 1 / expected[known]) <= 0.51 / a + 1e-6).all()
        assert np.abs(decoded / expected[known] - 1).max() < 0.01
    shown = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - image_array(picture)).mean() < 4


@pytest.mark.parametrize('topic', OUTPUTS)
def test_only_the_subscribed_output_is_made(namespace, robot, topic):
    network = StandIn()
    with running_node(namespace, load_estimator=network) as node:
        robot.listen(topic)
        camera = robot.camera()
        for count in range(1, 4):
            camera.send()
            robot.wait_for(topic, count)
        wait_until(lambda: node.health.snapshot().counts['processed'] == 3)
        counts = node.health.snapshot().counts
    published = {key: value for key, value in counts.items() if key.startswith('published ')}
    assert published == {f'published {topic}': 3}
    assert network.calls == (0 if topic == 'depth/camera_info' else 3)


def test_without_subscribers_nothing_runs_and_diagnostics_say_idle(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network) as node:
        robot.watch_diagnostics()
        camera = robot.camera()
        for _ in range(3):
            camera.send()
            wait_until(lambda: node._parts.worker.mailbox._item is None)
        wait_until(lambda: (s := robot.status('inference')) and 'idle' in s.message)
        assert network.calls == 0
        robot.listen('depth/image')
        camera.send()
        robot.wait_for('depth/image', 1)
        robot.ignore('depth/image')
        calls = network.calls
        wait_until(lambda: not node._parts.outputs.wanted())
        camera.send()
        wait_until(lambda: node.health.snapshot().window_counts['idle'] >= 2)
        assert network.calls == calls


def test_millimetre_encoding(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), depth_encoding='16UC1'):
        robot.listen('depth/image')
        robot.camera().send()
        message = robot.wait_for('depth/image', 1)[0]
        assert message.encoding == '16UC1' and (image_array(message) == 2000).all()


def test_scan_frame_may_be_named(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), scan_frame='base_scan'):
        robot.listen('scan')
        robot.camera().send()
        assert robot.wait_for('scan', 1)[0].header.frame_id == 'base_scan'


def test_an_optical_frame_may_be_named_for_a_driver_that_names_another(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), optical_frame='cam_optical_frame'):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        header = camera.header()
        header.frame_id = 'camera_link'
        camera.send(header=header)
        for topic in TYPES:
            robot.wait_for(topic, 1)
            got = robot.received[topic][0].header
            assert got.stamp == header.stamp
            assert got.frame_id == ('cam_frame' if topic == 'scan' else 'cam_optical_frame')
        status = wait_until(
            lambda: (
                (s := robot.status('input')) and any(v.key == 'frame_id' for v in s.values) and s
            )
        )
        assert 'does not name an optical frame' not in status.message


def test_a_scan_says_how_long_after_the_last_one_it_comes(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), max_age=0.0):
        robot.listen('scan')
        camera = robot.camera()
        for count, stamp in enumerate((1000.0, 1000.25, 1000.75, 1000.5), 1):
            camera.send(header=camera.header(stamp))
            robot.wait_for('scan', count)
        assert [message.scan_time for message in robot.received['scan']] == [0.0, 0.25, 0.5, 0.0]
