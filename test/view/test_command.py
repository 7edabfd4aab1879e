# SPDX-License-Identifier: Apache-2.0
"""The command `depth-perception view` on footage."""

from __future__ import annotations

import itertools
import signal
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_perception.camera.source import CameraSource
from depth_perception.cli.main import main
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.bag import Bag
from depth_perception.io.image_messages import decode_compressed
from depth_perception.io.weights import save_weights
from depth_perception.view.footage import Folder, open_footage
from depth_perception.view.frame import Level, Stand
from depth_perception.view.predicted import PredictedSource
from test.support.weights import tiny_info, tiny_network

CLIP = Path(__file__).parents[2] / 'data' / 'clip_bag'


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'tiny.safetensors'
    save_weights(path, tiny_network(), tiny_info())
    return path


@pytest.fixture(scope='module')
def estimator(model):
    return DepthEstimator.load(model, 'cpu')


def test_bundled_clip_reaches_a_browser_and_ctrl_c_ends_with_0(model):
    pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')
    from test.support.browser import Browser, viewing

    with viewing(str(CLIP), '--model', str(model), '--device', 'cpu', '--once') as (process, url):
        with Browser(url) as browser:
            browser.wait_for(
                lambda: browser.all_of('/camera/cloud') and browser.picture('Camera') is not None
            )
            browser.wait_for(lambda: browser.all_of('/camera/view'))
            picture = browser.picture('Camera')
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and not output and not errors, output + errors
    with Bag(CLIP) as bag:
        images = [
            decode_compressed(bag.deserialize(message))
            for message in bag.messages([bag.image_topic().name])
        ]
    assert min(np.abs(picture.astype(int) - image).mean() for image in images) < 5


@pytest.mark.parametrize(
    'arguments, named',
    [
        (['nowhere.mp4'], 'nowhere.mp4'),
        ([str(CLIP), '--image', '/nothing'], '/nothing'),
        ([str(CLIP), '--model', 'none.safetensors'], 'none.safetensors'),
        (['--model', 'a', '--camera-pitch', '5'], '--model, --camera-pitch: only with SOURCE'),
        (['--once'], '--once: only with SOURCE'),
        ([str(CLIP), '--namespace', '/front'], '--namespace: only without SOURCE'),
        ([__file__, '--image', '/camera'], '--image /camera'),
        (['97', '--image', '/camera'], '--image /camera'),
        ([str(CLIP), '--rectified'], 'add --camera'),
    ],
)
def test_an_unusable_input_gives_one_sentence_and_2(capsys, arguments, named):
    pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')
    assert main(['view', '--port', '0', *arguments]) == 2
    output, errors = capsys.readouterr()
    assert not output and errors.count('\n') == 1 and named in errors


def test_a_port_in_use_is_one_sentence_and_2(capsys):
    pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        assert main(['view', str(CLIP), '--port', str(taken.getsockname()[1])]) == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_without_the_extra_it_names_the_command_that_installs_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'viser', None)
    assert main(['view', str(CLIP)]) == 2
    errors = capsys.readouterr().err
    assert 'pip install' in errors and errors.count('\n') == 1


def test_without_ros_a_running_node_cannot_be_seen_and_it_says_so(capsys, monkeypatch):
    pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')
    monkeypatch.setitem(sys.modules, 'depth_perception.view.ros_source', None)
    assert main(['view', '--port', '0']) == 2
    errors = capsys.readouterr().err
    assert 'ROS 2' in errors and errors.count('\n') == 1


def test_frames_contain_the_depth_of_the_network(estimator):
    source = PredictedSource(
        open_footage(str(CLIP), None, CameraSource()),
        estimator,
        settings=DepthSettings(point_stride=1),
    )
    frame = source.next(1.0)
    height, width = frame.image.shape[:2]
    assert (frame.camera.width, frame.camera.height) == (width, height) == (480, 360)
    depth = estimator.infer(frame.image, frame.camera)
    known = np.isfinite(frame.cloud.points[..., 2])
    assert known.any()
    np.testing.assert_allclose(frame.cloud.points[known][:, 2], depth[known])
    np.testing.assert_array_equal(frame.cloud.colours, frame.image)
    assert len(frame.scan.angles) == len(frame.scan.ranges) > 100
    assert (np.diff(frame.scan.angles) > 0).all()
    assert frame.depth.shape == frame.image.shape
    assert all(remark.level == Level.OK for remark in frame.remarks)
    assert 'clip_bag' in frame.remarks[0].text and estimator.info.name in frame.remarks[1].text


def test_frames_are_numbered_and_the_scan_follows_the_pose_of_the_camera(estimator):
    source = PredictedSource(open_footage(str(CLIP), None, CameraSource()), estimator)
    first = source.next(1.0)
    assert first.label == 'frame 1, 0.00 s'
    low = source.restand(Stand(pitch=0.2, height=0.4))
    assert low.image is first.image and low.stand.height == 0.4
    assert not np.array_equal(low.scan.ranges, first.scan.ranges, equal_nan=True)
    assert source.next(2.0).stand == low.stand == source.stand


def test_the_colours_fit_the_last_frames_and_do_not_flicker(estimator):
    source = PredictedSource(open_footage(str(CLIP), None, CameraSource()), estimator)
    ranges = [source.next(2.0).depth_range for _ in range(4)]
    assert ranges[0][1] - ranges[0][0] < estimator.info.max_depth - 0.3
    for before, after in itertools.pairwise(ranges):
        assert after[0] <= before[0] and after[1] >= before[1]


def test_an_unknown_camera_is_assumed_with_a_remark(estimator, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((48, 64, 3), 90, np.uint8))
    source = PredictedSource(Folder(tmp_path, CameraSource()), estimator)
    frame = source.next(1.0)
    assert frame.camera is not None
    assert frame.remarks[0].level == Level.WARN and '--horizontal-fov-deg' in frame.remarks[0].text


def test_an_unreadable_image_gives_a_remark_and_keeps_the_last_picture(estimator, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((48, 64, 3), 90, np.uint8))
    (tmp_path / 'b.png').write_bytes(b'no image')
    source = PredictedSource(Folder(tmp_path, CameraSource(horizontal_fov_deg=60)), estimator)
    first = source.next(1.0)
    second = source.next(2.0)
    assert second.remarks[0].level == Level.ERROR and second.image is first.image
    assert source.next(2.0).remarks[0].level == Level.OK
