# SPDX-License-Identifier: Apache-2.0
"""Without a subscriber the node does not read images, says so, and starts again by itself."""

from __future__ import annotations

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool

from depth_perception.ros.node import lazy_images
from depth_perception.ros.node.diagnostics import OK, WARN
from test.support.estimators import StandIn
from test.support.ros import (
    BEST_EFFORT,
    Camera,
    Robot,
    camera_info,
    picture,
    rgb_image,
    running_node,
)
from test.support.waiting import wait_until

UNREAD = 'nobody subscribes to an output: no image is read'


@pytest.fixture(autouse=True)
def _rest_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_images, 'LINGER', 0.2)


def rest(camera: Camera) -> None:
    """Send images until the node does not read them any more."""

    def unread() -> bool:
        camera.send()
        return not camera.images.get_subscription_count() + camera.infos.get_subscription_count()

    wait_until(unread, what='a node that rests')


def read_again(camera: Camera) -> None:
    """Wait until the node reads images."""
    wait_until(
        lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count(),
        what='a node that reads images',
    )


def says(robot: Robot, task: str, level: bytes, text: str) -> None:
    wait_until(
        lambda: (s := robot.status(task)) and text in s.message and s.level == level,
        what=f'{task}: {text}, but {robot.status(task)}',
    )


def test_images_are_not_read_until_somebody_subscribes(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), device='cpu') as node:
        robot.watch_diagnostics()
        camera = robot.camera()
        rest(camera)
        says(robot, 'input', OK, UNREAD)
        says(robot, 'inference', OK, 'idle: no subscribers')
        values = {v.key: v.value for v in robot.status('input').values}
        assert values['topic'] == f'{namespace}/image' and values['publishers'] == '1'
        assert values['reliability'] == 'none' and values['encoding'] == 'rgb8'
        for topic in ('depth/points', 'scan'):
            robot.listen(topic)
            read_again(camera)
            camera.send()
            robot.wait_for(topic, 1)
            robot.ignore(topic)
            rest(camera)
        counts = node.health.snapshot().counts
        assert counts['processed'] >= 2 and counts['idle']


def test_the_node_may_be_deactivated_while_it_does_not_read_images(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()) as node:
        rest(camera := robot.camera())
        timers = len(list(node.timers))
        assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
        assert len(list(node.timers)) == timers - 1
        robot.listen('depth/image')
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        read_again(camera)
        camera.send()
        robot.wait_for('depth/image', 1)


def test_a_camera_that_goes_while_images_are_not_read_is_missed(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera()
        rest(camera)
        for publisher in (camera.images, camera.infos):
            robot.node.destroy_publisher(publisher)
        says(robot, 'input', WARN, f'no image on {namespace}/image')
        assert 'nobody publishes it' in robot.status('input').message
        # Another camera, of another quality of service, needs no second attempt.
        other = robot.camera(BEST_EFFORT, matched=False)
        says(robot, 'input', OK, UNREAD)
        robot.listen('depth/image')
        read_again(other)
        other.send()
        robot.wait_for('depth/image', 1)


def test_a_silent_camera_is_not_left(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera()
        says(robot, 'input', WARN, 'its publisher is silent')
        reports = len(robot.diagnostics)
        wait_until(lambda: len(robot.diagnostics) >= reports + 2)
        assert camera.images.get_subscription_count()
        says(robot, 'input', WARN, 'its publisher is silent')


def test_a_paused_node_does_not_read_images(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False)).success
        rest(camera)
        says(robot, 'input', OK, 'paused by ~/enable: no image is read')
        says(robot, 'inference', OK, 'paused by ~/enable')
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).success
        read_again(camera)
        camera.send()
        robot.wait_for('depth/image', 1)


def test_a_latched_image_gets_depth_for_a_late_subscriber(namespace, robot):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    images = robot.node.create_publisher(Image, 'image', latched)
    infos = robot.node.create_publisher(CameraInfo, 'camera_info', latched)
    infos.publish(camera_info())
    images.publish(rgb_image(picture()))
    with running_node(namespace, load_estimator=StandIn(), max_age=0.0) as node:
        wait_until(
            lambda: images.publish(rgb_image(picture())) or node._parts.images.resting,
            what='a node that rests',
        )
        robot.listen('depth/image')
        robot.wait_for('depth/image', 1)
