# SPDX-License-Identifier: Apache-2.0
"""Imported networks in the node over DDS: every output, metres by anchors, the library's depth."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from depth_perception import CameraModel
from depth_perception.camera.source import camera_source
from depth_perception.cli.main import main
from depth_perception.depth.products import depth_products
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.backends import openvino
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.bag import Bag
from depth_perception.ros.conversions.messages import depth_message
from depth_perception.ros.conversions.topics import ALWAYS, ANCHOR_DEPTH_INFO, DEPTH
from depth_perception.ros.node.diagnostics import OK
from depth_perception.ros.offline.process_bag import main as process_bag
from depth_perception.view.footage import Folder
from depth_perception.view.predicted import PredictedSource
from test.support.bags import write_bag
from test.support.onnx_files import mean_depth
from test.support.ros import camera_info, image_array, picture, rgb_image, running_node
from test.support.waiting import wait_until

WIDTH, HEIGHT = 96, 64
#: Depth of a place = 1 / (SLOPE * brightness + SHIFT), metres.
SLOPE, SHIFT = 0.002, 0.1


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('imported')


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path


def imported(source, *more):
    out = source.with_suffix('.safetensors')
    assert main(['import-model', str(source), '--out', str(out), *more]) == 0
    return out


def onnx_network(folder, name, output, *more):
    """Return a network whose output is 3 plus the mean of the channels, of 0 to 255."""
    source = mean_depth(folder / f'{name}.onnx')
    size = ['--size', f'{WIDTH}x{HEIGHT}', '--output', output]
    return imported(source, *size, '--mean', *'000', '--std', *[str(1 / 255)] * 3, *more)


def test_a_network_of_transformers_publishes_every_output(folder, namespace, robot, cache, capfd):
    from test.support.hugging_face import write

    model = imported(write('depth_anything_metric', folder / 'small'))
    settings = {'max_age': 0.0, 'camera_height': 0.5, 'edge_threshold': 0.0, 'device': 'cpu'}
    with running_node(namespace, model_file=str(model), **settings):
        robot.listen(*ALWAYS)
        robot.watch_diagnostics()
        camera = robot.camera()
        wait_until(lambda: camera.send() and all(robot.received[topic] for topic in ALWAYS))
        wait_until(lambda: (status := robot.status('depth')) and status.level == OK)
        said = [pair.value for status in robot.diagnostics[-1].status for pair in status.values]
        assert 'small' in said
    if openvino.is_installed():  # the node says why its first start takes a while
        assert 'OpenVINO compiles the network for input of 70x70' in capfd.readouterr().err


def test_affine_disparity_becomes_metres_by_anchors(folder, namespace, robot):
    model = onnx_network(folder, 'relative', 'relative_disparity', '--max-depth', '100')
    shade = np.linspace(20, 235, WIDTH).astype(np.uint8)
    rgb = np.repeat(np.tile(shade, (HEIGHT, 1))[..., None], 3, 2)
    truth = (1 / (SLOPE * rgb[..., 0] + SHIFT)).astype(np.float32)  # 1.8 to 7.1 m
    settings = {'max_age': 0.0, 'precision': 'fp32', 'device': 'cpu', 'edge_threshold': 0.0}
    with running_node(namespace, model_file=str(model), anchors='depth', **settings) as node:
        robot.listen(DEPTH)
        robot.watch_diagnostics()
        camera = robot.camera()
        images = robot.node.create_publisher(Image, 'anchors/depth', QoSProfile(depth=5))
        info = camera_info(WIDTH, HEIGHT, 90.0)
        infos = robot.node.create_publisher(type(info), ANCHOR_DEPTH_INFO, QoSProfile(depth=5))
        info.header = header = camera.header(100.0)
        measured = truth.copy()
        measured[:, : WIDTH // 4] = np.nan  # outside the view of the sensor

        def measure():
            infos.publish(info)
            images.publish(depth_message(measured, header, '32FC1'))
            inputs = node._parts.anchors
            return inputs._depth_info is not None and bool(inputs._messages['depth'])

        wait_until(measure)
        message = rgb_image(rgb)
        message.header = header
        camera.infos.publish(info)
        camera.images.publish(message)
        depth = image_array(robot.wait_for(DEPTH, 1)[-1])
        np.testing.assert_allclose(depth, truth, rtol=0.02)
        wait_until(lambda: (status := robot.status('depth')) and status.level == OK)


def test_library_node_predict_and_view_give_the_same_depth(folder, namespace, robot, tmp_path):
    """With the focal length of the training, and a range of the network that cuts depth off."""
    focal = ['--max-depth', '200', '--focal-length', '60', '--image-width', '96']
    model = onnx_network(folder, 'metric', 'metres', *focal)
    rgb = picture(3, WIDTH, HEIGHT)
    info = camera_info(WIDTH, HEIGHT, 90.0)
    estimator = DepthEstimator.load(model, 'cpu', 'fp32')
    seen_by = CameraModel.from_matrix(WIDTH, HEIGHT, info.k)
    metres = estimator.infer(rgb, seen_by)
    assert estimator.focal_factor(seen_by) != 1
    expected = np.where(metres > 200, np.inf, metres)
    assert np.isinf(expected).any() and np.isfinite(expected).any()
    settings = {'max_age': 0.0, 'precision': 'fp32', 'device': 'cpu', 'edge_threshold': 0.0}
    with running_node(namespace, model_file=str(model), **settings):
        robot.listen(DEPTH)
        camera = robot.camera()
        message = rgb_image(rgb)
        message.header = info.header = camera.header(100.0)
        wait_until(
            lambda: (
                camera.infos.publish(info)
                or camera.images.publish(message)
                or robot.received[DEPTH]
            )
        )
        found = image_array(robot.received[DEPTH][-1])
    np.testing.assert_array_equal(found, expected)
    cv2.imwrite(str(tmp_path / 'a.png'), rgb[..., ::-1])
    (tmp_path / 'camera.json').write_text(json.dumps(dataclasses.asdict(seen_by)))
    words = ['--npy', '--precision', 'fp32', '--device', 'cpu', '--edge-threshold', '0']
    words += ['--model', str(model), '--camera', str(tmp_path / 'camera.json')]
    assert main(['predict', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out'), *words]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / 'out' / 'a_depth.npy'), expected)
    source = PredictedSource(
        Folder(tmp_path / 'a.png', camera_source(tmp_path / 'camera.json', None)),
        estimator,
        settings=DepthSettings(edge_threshold=0.0),
    )
    shown = source.next(1.0).cloud.points[..., 2]
    strided = expected[::2, ::2]
    known = np.isfinite(strided)
    np.testing.assert_array_equal(shown.reshape(strided.shape)[known], strided[known])


@pytest.mark.parametrize('kind', ['onnx', 'hugging_face'])
def test_process_bag_gives_the_library_s_depth(kind, folder, tmp_path, cache):
    from rosbags.rosbag2 import StoragePlugin

    if kind == 'onnx':
        focal = ['--max-depth', '200', '--focal-length', '60', '--image-width', '96']
        model = onnx_network(folder, 'recorded', 'metres', *focal)
    else:
        from test.support.hugging_face import write

        model = imported(write('depth_anything_metric', folder / 'recorded_hub'))
    pictures = [picture(i, WIDTH, HEIGHT) for i in range(2)]
    bag = write_bag(tmp_path / 'bag', pictures, storage=StoragePlugin.MCAP, jpeg=False)
    settings = {'model_file': model, 'device': 'cpu', 'edge_threshold': 0.0}
    words = [f'-p{name}:={value}' for name, value in settings.items()]
    assert process_bag([str(bag), str(tmp_path / 'out'), '--outputs', DEPTH, *words]) == 0
    estimator = DepthEstimator.load(model, 'cpu')
    f = 0.8 * WIDTH  # as in the bag
    camera = CameraModel(width=WIDTH, height=HEIGHT, fx=f, fy=f, cx=WIDTH / 2, cy=HEIGHT / 2)
    with Bag(tmp_path / 'out') as made:
        found = [image_array(made.deserialize(m)) for m in made.messages([f'/{DEPTH}'])]
    assert len(found) == len(pictures)
    for rgb, depth in zip(pictures, found):
        metres = estimator.infer(rgb, camera)
        far = estimator.info.max_depth
        plain = DepthSettings(edge_threshold=0.0)
        expected = depth_products(rgb, camera, metres, plain, network_max_depth=far).depth
        assert np.isfinite(expected).any()
        np.testing.assert_array_equal(depth, expected)
