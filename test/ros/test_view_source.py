# SPDX-License-Identifier: Apache-2.0
"""`depth-perception view` shows a running node, over DDS."""

from __future__ import annotations

import math
import signal
from array import array
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CompressedImage

from depth_perception.depth.visualise import colourise
from depth_perception.errors import UsageError
from depth_perception.view import ros_source as view_source
from depth_perception.view.frame import Level, Stand
from depth_perception.view.ros_source import LiveSource
from test.support.estimators import StandIn
from test.support.ros import TYPES, picture, rgb_image, running_node, wait_until


@contextmanager
def watching(*arguments):
    source = LiveSource(*arguments)
    try:
        yield source
    finally:
        source.close()


def frame_with(source, camera, condition, image=None):
    """Return the first frame that fits while the camera publishes."""
    frames = []

    def found():
        if camera is not None:
            camera.send(image and rgb_image(image()))
        frame = source.next(0.1)
        if frame is not None:
            frames.append(frame)
        return bool(frames) and condition(frames[-1])

    wait_until(found, what='such a frame')
    return frames[-1]


def complete(frame):
    parts = (frame.image, frame.depth, frame.cloud, frame.scan, frame.camera, frame.depth_range)
    return all(part is not None for part in parts)


def ramp(rgb, _camera):
    """Return depth that differs from row to row."""
    return np.linspace(1, 4, rgb.shape[0], dtype=np.float32)[:, None] * np.ones(rgb.shape[1])


def test_a_frame_holds_what_the_node_publishes(namespace, robot):
    with (
        running_node(namespace, load_estimator=StandIn(ramp), edge_threshold=0.0),
        watching(namespace) as source,
    ):
        camera = robot.camera()
        frame = frame_with(source, camera, complete, lambda: picture(3))
    np.testing.assert_array_equal(frame.image, picture(3))
    depth = ramp(picture(3), None)
    assert frame.depth_range == (0.3, 10.0)
    np.testing.assert_array_equal(frame.depth, colourise(depth, 0.3, 10.0)[..., ::-1])
    assert (frame.camera.width, frame.camera.fx) == (80, 64.0)
    assert frame.cloud.points.shape == (30, 40, 3)
    np.testing.assert_allclose(frame.cloud.points[..., 2], depth[::2, ::2], rtol=1e-6)
    np.testing.assert_array_equal(frame.cloud.colours, picture(3)[::2, ::2])
    assert np.isfinite(frame.scan.ranges).any() and (np.diff(frame.scan.angles) > 0).all()


def test_an_image_topic_may_be_compressed_under_any_name(namespace, robot):
    topic = f'{namespace}/image_rect_compressed'
    with (
        running_node(
            namespace,
            load_estimator=StandIn(ramp),
            image_transport='compressed',
            arguments=('-r', f'image:={topic}'),
        ),
        watching(namespace, topic) as source,
    ):
        images = robot.node.create_publisher(CompressedImage, topic, 1)
        data = array('B', cv2.imencode('.png', picture(3)[..., ::-1])[1].tobytes())

        def seen() -> bool:
            images.publish(CompressedImage(format='png', data=data))
            frame = source.next(0.1)
            return frame is not None and frame.image is not None

        wait_until(seen)


def test_an_unchanged_part_is_the_same_object(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()), watching(namespace) as source:
        frame_with(source, robot.camera(), complete)
        wait_until(lambda: source.next(0.3) is None)
        first = frame_with(source, None, complete)  # to have its remarks
        second = frame_with(source, None, complete)
    assert first is not second and first.image is second.image and first.depth is second.depth
    assert first.cloud is second.cloud and first.scan is second.scan


def test_the_pose_of_a_tilted_camera_is_known(namespace, robot):
    with (
        running_node(namespace, load_estimator=StandIn(), camera_pitch=30.0, camera_height=0.7),
        watching(namespace) as source,
    ):
        frame = frame_with(source, robot.camera(), lambda frame: frame.stand != Stand())
    assert frame.stand.pitch == pytest.approx(math.radians(30), abs=1e-3)
    assert (frame.stand.roll, frame.stand.height) == (0, 0.7)


def test_nothing_is_subscribed_while_nobody_watches(namespace, robot):
    def listeners():
        return sum(robot.node.count_subscribers(topic) for topic in TYPES)

    with running_node(namespace, load_estimator=StandIn()), watching(namespace) as source:
        wait_until(lambda: robot.node.count_publishers('depth/points'))
        source.rest()
        assert listeners() == 0
        frame_with(source, robot.camera(), complete)
        assert listeners() == 4
        source.rest()
        wait_until(lambda: listeners() == 0)
        frame_with(source, robot.camera(), lambda frame: listeners() == 4)


def test_without_a_node_the_remark_says_what_to_check(namespace):
    with watching(namespace) as source:
        frame = frame_with(source, None, lambda frame: frame.remarks)
    assert frame.remarks[0].level == Level.ERROR
    assert f'{namespace}/depth/points' in frame.remarks[0].text


def test_remarks_are_the_node_s_diagnostics_and_no_other_s(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()), watching(namespace) as source:
        other = robot.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        camera = robot.camera()

        def own(frame):
            for name in ('wheels: input', 'depth_node: other camera'):
                other.publish(
                    DiagnosticArray(
                        status=[
                            DiagnosticStatus(
                                level=DiagnosticStatus.ERROR, name=name, message='not ours'
                            )
                        ]
                    )
                )
            return [remark.subject for remark in frame.remarks] == ['input', 'inference', 'depth']

        frame = frame_with(source, camera, own)
        frame = frame_with(source, camera, lambda frame: 'Hz' in frame.remarks[0].text)
    assert all(remark.level == Level.OK for remark in frame.remarks[2:])
    assert 'not ours' not in str(frame.remarks)


def test_a_node_that_ends_and_starts_again_is_noticed(namespace, robot, monkeypatch):
    monkeypatch.setattr(view_source, 'OUTDATED', 1.5)
    with watching(namespace) as source:
        for _ in range(2):
            with running_node(namespace, load_estimator=StandIn()):
                camera = robot.camera()
                frame_with(source, camera, lambda frame: len(frame.remarks) == 3)
            frame_with(source, None, lambda frame: len(frame.remarks) == 1)


@pytest.mark.parametrize('arguments', [('no name',), ('/', 'no topic')])
def test_an_invalid_name_gives_one_sentence(arguments):
    with pytest.raises(UsageError, match='no ') as caught:
        LiveSource(*arguments)
    assert '\n' not in str(caught.value)


def test_a_node_s_frames_reach_a_browser(namespace, robot):
    pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')
    from test.support.browser import Browser, viewing

    with (
        running_node(namespace, load_estimator=StandIn()),
        viewing('--namespace', namespace) as (process, url),
        Browser(url) as browser,
    ):
        camera = robot.camera()

        def arrived():
            camera.send(rgb_image(np.full((60, 80, 3), 77, np.uint8)))
            shown = browser.picture('Camera')
            return (
                browser.all_of('/camera/cloud')
                and browser.picture('Depth') is not None
                and shown is not None
                and abs(float(shown.mean()) - 77) < 3
                and 'inference' in browser.text()
            )

        browser.wait_for(arrived)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and not output and not errors, output + errors
