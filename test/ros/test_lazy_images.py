# SPDX-License-Identifier: Apache-2.0
"""Without a subscriber the node does not read images, says so, and starts again by itself."""

from __future__ import annotations

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool

from depth_perception.ros.node import depth_node, lazy_images
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
        awake = len(list(node.timers))
        rest(camera := robot.camera())
        # The node looks for subscribers from shortly after its subscription has gone.
        timers = wait_until(lambda: (now := len(list(node.timers))) > awake and now)
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


LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def still_image(robot: Robot, age: float = 30.0) -> list:
    """Publish one image and one camera_info, latched and of an old stamp; return the publishers."""
    publishers = [
        robot.node.create_publisher(kind, topic, LATCHED)
        for kind, topic in ((CameraInfo, 'camera_info'), (Image, 'image'))
    ]
    for publisher, message in zip(publishers, (camera_info(), rgb_image(picture()))):
        message.header.stamp = (robot.node.get_clock().now() - Duration(seconds=age)).to_msg()
        publisher.publish(message)
    return publishers


def test_a_latched_image_gets_depth_for_a_late_subscriber(namespace, robot):
    images = still_image(robot)[1]
    with running_node(namespace, load_estimator=StandIn()) as node:
        wait_until(
            lambda: images.publish(rgb_image(picture())) or node._parts.images.resting,
            what='a node that rests',
        )
        robot.listen('depth/image')
        robot.wait_for('depth/image', 1)


def test_a_still_image_gives_depth_to_each_new_subscriber(namespace, robot, monkeypatch):
    """Published once, long ago: max_age is for streams, and each subscriber gets it once."""
    monkeypatch.setattr(lazy_images, 'LINGER', 60.0)  # it stays subscribed
    monkeypatch.setattr(depth_node, 'DIAGNOSTICS_PERIOD', 0.2)
    still_image(robot)
    with running_node(namespace, load_estimator=StandIn()) as node:
        wait_until(lambda: node.health.snapshot().counts['idle'], what='an image without use')
        robot.watch_diagnostics()
        robot.listen('depth/image')
        robot.wait_for('depth/image', 1)
        robot.listen('scan')
        robot.wait_for('scan', 1)
        robot.ignore('depth/image')
        robot.listen('depth/image')  # at once: the number of subscribers may not have changed
        before = len(robot.received['depth/image'])
        robot.wait_for('depth/image', before + 1)
        reports = len(robot.diagnostics)
        wait_until(lambda: len(robot.diagnostics) >= reports + 8, what='peace')
        assert len(robot.received['scan']) <= 2
        says(robot, 'input', WARN, 'its publisher has latched the last one')
        assert 'clock' not in robot.status('input').message


def test_a_still_image_of_a_paused_node_is_processed_afterwards(namespace, robot, monkeypatch):
    monkeypatch.setattr(lazy_images, 'LINGER', 60.0)
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/image')
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False)).success
        still_image(robot)
        wait_until(lambda: node.health.snapshot().counts['paused'], what='an ignored image')
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).success
        robot.wait_for('depth/image', 1)


def test_a_latched_stream_is_not_repeated_and_obeys_max_age(namespace, robot):
    publishers = still_image(robot)
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/image')
        robot.wait_for('depth/image', 1)

        def old_images(count: str, least: int) -> bool:
            image = rgb_image(picture())
            image.header.stamp = (robot.node.get_clock().now() - Duration(seconds=30)).to_msg()
            publishers[1].publish(image)
            return node.health.snapshot().counts[count] >= least

        wait_until(lambda: old_images('stale', 20), what='images that are too old')
        assert node.health.snapshot().counts['processed'] < 20
