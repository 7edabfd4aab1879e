# SPDX-License-Identifier: Apache-2.0
"""QoS overrides: they act, wrong ones are reported, and defaults do not disable adaptation."""

from __future__ import annotations

import pytest
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from depth_perception.ros.node.diagnostics import ERROR, WARN
from test.support.estimators import StandIn
from test.support.ros import BEST_EFFORT, running_node, wait_until


def given(topic: str, entity: str, policy: str, value: object) -> dict[str, object]:
    return {f'qos_overrides.{topic}.{entity}.{policy}': value}


@pytest.mark.parametrize(
    'topic, entity, policy, value, transition, right',
    [
        ('image', 'subscription', 'reliability', 'besteffort', 'activate', 'is it best_effort?'),
        ('camera_info', 'subscription', 'history', 'unknown', 'activate', 'keep_last'),
        ('image', 'subscription', 'depth', 'ten', 'activate', 'a whole number above 0'),
        ('depth/image', 'publisher', 'reliability', 'relaible', 'configure', 'is it reliable?'),
        ('scan', 'publisher', 'depth', -1, 'configure', 'a whole number above 0'),
    ],
)
def test_a_wrong_override_is_an_error_in_log_and_diagnostics(
    namespace, robot, capfd, topic, entity, policy, value, transition, right
):
    parameters = given(f'{namespace}/{topic}', entity, policy, value)
    with running_node(namespace, load_estimator=StandIn(), **parameters):
        robot.watch_diagnostics()
        assert robot.state() == ('inactive' if transition == 'activate' else 'unconfigured')
        for task in ('input', 'inference', 'depth'):
            wait_until(
                lambda task=task: (
                    (s := robot.status(task))
                    and s.level == ERROR
                    and f'cannot {transition}: {next(iter(parameters))} must be' in s.message
                    and right in s.message
                )
            )
        assert robot.node.count_publishers('scan') == (transition == 'activate')
    assert f'cannot {transition}: qos_overrides.{namespace}/{topic}' in capfd.readouterr().err


def test_an_override_equal_to_the_default_does_not_keep_a_camera_from_being_heard(namespace, robot):
    """Such overrides come from `ros2 param dump`, loaded again with --params-file."""
    dumped = {
        name: value
        for topic in ('image', 'camera_info')
        for policy, value in (('reliability', 'reliable'), ('history', 'keep_last'), ('depth', 1))
        for name, value in given(f'{namespace}/{topic}', 'subscription', policy, value).items()
    }
    with running_node(namespace, load_estimator=StandIn(), **dumped):
        robot.listen('scan')
        camera = robot.camera(BEST_EFFORT, matched=False)
        wait_until(lambda: camera.send() and robot.received['scan'])


def test_an_override_that_keeps_the_input_from_adapting_is_named(namespace, robot):
    with running_node(
        namespace,
        load_estimator=StandIn(),
        **given(f'{namespace}/image', 'subscription', 'reliability', 'SYSTEM_DEFAULT'),
    ):
        robot.watch_diagnostics()
        robot.camera()
        name = f'qos_overrides.{namespace}/image.subscription.reliability: SYSTEM_DEFAULT'
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and s.level == WARN
                and f'its publisher is silent or of another QoS (here it is {name})' in s.message
            )
        )
        values = {v.key: v.value for v in robot.status('input').values}
        assert values['qos_override'] == name


def test_a_publisher_of_another_type_is_named(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.node.create_publisher(CompressedImage, 'image', 1)
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and s.level == WARN
                and 'its publisher sends sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image'
                in s.message
            )
        )


def test_an_override_of_one_output_is_of_that_output_alone(namespace, robot):
    with running_node(
        namespace,
        load_estimator=StandIn(),
        **given(f'{namespace}/depth/camera_info', 'publisher', 'reliability', 'best_effort'),
    ):

        def reliability(topic: str) -> ReliabilityPolicy:
            return wait_until(
                lambda: robot.node.get_publishers_info_by_topic(f'{namespace}/{topic}')
            )[0].qos_profile.reliability

        assert reliability('depth/camera_info') == ReliabilityPolicy.BEST_EFFORT
        assert reliability('depth/image') == ReliabilityPolicy.RELIABLE


def test_small_outputs_are_kept_to_be_sent_again(namespace):
    """With a history of one, a scan that a large image pushes out of a buffer is never re-sent."""
    with running_node(namespace, load_estimator=StandIn()) as node:
        kept = {
            topic: publisher.qos_profile.depth
            for topic, publisher in node._parts.outputs._publishers.items()
        }
    assert kept == {
        'scan': 5,
        'depth/camera_info': 5,
        'depth/image': 1,
        'depth/points': 1,
        'depth/image_color': 1,
        'depth/image/compressedDepth': 1,
        'depth/image_color/compressed': 1,
        'depth/confidence': 1,
    }
