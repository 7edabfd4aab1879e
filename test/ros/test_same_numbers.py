# SPDX-License-Identifier: Apache-2.0
"""The node, `depth-perception predict` and `view` give the same numbers, with every setting."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from rclpy.time import Time
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from depth_perception.camera.model import CameraModel
from depth_perception.camera.source import camera_source
from depth_perception.cli.main import main
from depth_perception.depth.products import stated_pose
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.image_files import read_image
from depth_perception.io.video_files import VideoReader
from depth_perception.io.weights import save_weights
from depth_perception.ros.conversions.topics import DEPTH, POINTS, PREVIEW, SCAN
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import Pipeline
from depth_perception.ros.node.scan_pose import ScanPose
from depth_perception.view.footage import Folder
from depth_perception.view.predicted import PredictedSource
from test.support.ply import read_ply
from test.support.ros import camera_info, cloud_array, image_array, rgb_image
from test.support.settings import CASES, options_of
from test.support.weights import unsure_info, unsure_network

WANTED = frozenset({DEPTH, POINTS, PREVIEW, SCAN})
INFO = camera_info(128, 96, 90.0)
CAMERA = CameraModel.from_matrix(128, 96, INFO.k)


class Scene(NamedTuple):
    """Files of a network, a picture, a video and their camera."""

    model: Path
    image: Path
    video: Path
    camera: Path


@pytest.fixture(scope='module')
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp('scene')
    network = unsure_network()
    network.head[2].weight.data *= 150  # depths of 0.1 to 9 m, with edges
    network.head[2].bias.data -= 4
    save_weights(folder / 'tiny.safetensors', network, unsure_info())
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (128, 96))
    cv2.imwrite(str(folder / 'a.png'), picture)
    writer = cv2.VideoWriter(
        str(folder / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (128, 96)
    )
    for shift in range(3):
        writer.write(np.roll(picture, shift, 1))
    writer.release()
    (folder / 'camera.json').write_text(json.dumps(dataclasses.asdict(CAMERA)))
    return Scene(*(folder / name for name in ('tiny.safetensors', 'a.png', 'v.avi', 'camera.json')))


class Node:
    """The outputs of the node for images, with these settings."""

    def __init__(self, model: Path, settings: DepthSettings, encoding: str) -> None:
        cameras = Calibrations()
        cameras.update(INFO)
        self._settings = Settings(**dataclasses.asdict(settings), depth_encoding=encoding)
        self._pipeline = Pipeline(
            DepthEstimator.load(model, 'cpu', backend='torch'),
            cameras,
            lambda _, settings: ScanPose(stated_pose(settings), 'level'),
        )

    def outputs(self, rgb: np.ndarray, seconds: float = 0.0) -> dict:
        message: Image = rgb_image(rgb)
        message.header.stamp = Time(seconds=100 + seconds).to_msg()
        outputs = self._pipeline.process(message, WANTED, self._settings).outputs
        assert outputs.keys() == WANTED
        return outputs


def check_depth(metres: Image, millimetres: Image, name: Path) -> None:
    np.testing.assert_array_equal(np.load(f'{name}_depth.npy'), image_array(metres))
    found = cv2.imread(f'{name}_depth.png', cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, image_array(millimetres))


def check_preview(message: Image, name: Path) -> None:
    picture = cv2.imread(f'{name}_color.png')[: message.height]  # the legend is below
    np.testing.assert_array_equal(picture, image_array(message))


def check_cloud(message: PointCloud2, name: Path) -> None:
    cloud = cloud_array(message).reshape(-1, 4)
    cloud = cloud[np.isfinite(cloud[:, :3]).all(1)]
    assert len(cloud)
    vertices = read_ply(Path(f'{name}.ply'))
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in 'xyz'], -1), cloud[:, :3])
    has_colours = any(field.name == 'rgb' for field in message.fields)
    assert ('red' in vertices.dtype.names) == has_colours
    if has_colours:
        bits = np.ascontiguousarray(cloud[:, 3]).view(np.uint32)
        for shift, colour in ((16, 'red'), (8, 'green'), (0, 'blue')):
            np.testing.assert_array_equal(vertices[colour], bits >> shift & 255)


def check_scan(message: LaserScan, name: Path) -> None:
    angles, ranges = np.loadtxt(f'{name}_scan.csv', delimiter=',', skiprows=1, unpack=True)
    np.testing.assert_array_equal(ranges.astype(np.float32), np.array(message.ranges, np.float32))
    np.testing.assert_allclose(
        angles, message.angle_min + message.angle_increment * np.arange(len(angles)), atol=1e-5
    )


def predicted(scene: Scene, file: Path, settings: DepthSettings, out: Path) -> Path:
    """Return the path of the results of a file, without suffixes."""
    near, far = settings.limits(10.0)
    assert (
        main(
            [
                'predict',
                str(file),
                '--out',
                str(out),
                '--model',
                str(scene.model),
                '--device',
                'cpu',
                '--backend',
                'torch',
                '--camera',
                str(scene.camera),
                '--npy',
                '--cloud',
                '--scan',
                '--color-range',
                str(near),
                str(far),
                *options_of(settings),
            ]
        )
        == 0
    )
    return out / file.stem


@pytest.mark.parametrize('settings', [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_of_an_image(scene, settings, tmp_path):
    name = predicted(scene, scene.image, settings, tmp_path)
    rgb = read_image(scene.image)
    metres, millimetres = (
        Node(scene.model, settings, encoding).outputs(rgb) for encoding in ('32FC1', '16UC1')
    )
    check_depth(metres[DEPTH], millimetres[DEPTH], name)
    check_preview(metres[PREVIEW], name)
    check_cloud(metres[POINTS], name)
    check_scan(metres[SCAN], name)


@pytest.mark.parametrize('settings', [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_of_view(scene, settings):
    source = PredictedSource(
        Folder(scene.image, camera_source(scene.camera, None)),
        DepthEstimator.load(scene.model, 'cpu', backend='torch'),
        settings=settings,
    )
    frame = source.next(1.0)
    outputs = Node(scene.model, settings, '32FC1').outputs(frame.image)
    np.testing.assert_array_equal(frame.cloud.points, cloud_array(outputs[POINTS])[..., :3])
    assert (frame.cloud.colours is not None) == settings.point_color
    np.testing.assert_array_equal(frame.scan.ranges, np.array(outputs[SCAN].ranges, np.float32))


@pytest.mark.parametrize('strength', [0, 0.4, 0.95])
def test_of_a_video_whose_frames_follow_each_other(scene, strength, tmp_path):
    settings = DepthSettings(temporal_smoothing=strength)
    folder = predicted(scene, scene.video, settings, tmp_path)
    reader = VideoReader(scene.video)
    nodes = [Node(scene.model, settings, encoding) for encoding in ('32FC1', '16UC1')]
    for number, rgb in reader.frames():
        metres, millimetres = (node.outputs(rgb, number / reader.rate) for node in nodes)
        check_depth(metres[DEPTH], millimetres[DEPTH], folder / f'{number:06d}')
        check_cloud(metres[POINTS], folder / f'{number:06d}')
        check_scan(metres[SCAN], folder / f'{number:06d}')


def test_smoothing_changes_the_second_frame(scene, tmp_path):
    plain, smooth = (
        np.load(
            predicted(
                scene,
                scene.video,
                DepthSettings(temporal_smoothing=strength),
                tmp_path / str(strength),
            )
            / '000001_depth.npy'
        )
        for strength in (0, 0.95)
    )
    assert not np.array_equal(plain, smooth, equal_nan=True)


def test_the_focal_correction_changes_the_depth(scene, tmp_path):
    plain, corrected = (
        np.load(f'{predicted(scene, scene.image, settings, out)}_depth.npy')
        for settings, out in (
            (DepthSettings(focal_correction=False), tmp_path),
            (DepthSettings(), tmp_path / 'corrected'),
        )
    )
    both = np.isfinite(plain) & np.isfinite(corrected)
    np.testing.assert_allclose(corrected[both] / plain[both], 0.9, rtol=1e-3)


@pytest.mark.parametrize('name', [field.name for field in dataclasses.fields(DepthSettings)])
def test_the_node_has_the_same_parameter(name):
    from depth_perception.depth.settings import DEFAULTS, OPTIONS
    from depth_perception.ros.node import parameters

    rule = parameters.RULES[name]
    assert parameters.DEFAULTS[name] == DEFAULTS[name]
    assert (rule.low, rule.high) == (OPTIONS[name].low, OPTIONS[name].high)
