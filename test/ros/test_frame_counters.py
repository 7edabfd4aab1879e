# SPDX-License-Identifier: Apache-2.0
"""Frame counters read from diagnostics over DDS; the robot's node acts as the depth node."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image

from depth_perception.ros.replay.frame_counters import FrameCounters
from test.support.ros import wait_until


@pytest.fixture
def node(robot, namespace):
    """Return counters of the robot's node, and a function that publishes its diagnostics."""
    robot.node.create_publisher(Image, 'depth/image', 1)
    diagnostics = robot.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
    counters = FrameCounters(robot.node, f'{namespace}/depth/image')
    wait_until(lambda: counters.expected and diagnostics.get_subscription_count())

    def say(
        level: bytes = DiagnosticStatus.OK, text: str = '', name: str = 'robot', **values: int
    ) -> None:
        before = counters.heard_at
        status = DiagnosticStatus(
            level=level,
            name=f'{namespace[1:]}/{name}: inference',
            message=text,
            values=[
                KeyValue(key=key.replace('_of_', ' '), value=str(value))
                for key, value in values.items()
            ],
        )
        diagnostics.publish(DiagnosticArray(status=[status]))
        if name == 'robot':
            wait_until(lambda: counters.heard_at != before, what='diagnostics')

    return counters, say


def test_frames_are_counted_through_a_jump_back_in_time(node):
    counters, say = node
    assert counters.heard_at is None and not counters.settled
    say(received=3, processed=1, bad=1, **{'published_of_scan': 1})
    assert not counters.settled and counters.lost == {'bad': 1}
    say(received=3, processed=1, bad=2, **{'published_of_scan': 1})
    assert counters.settled and counters.lost == {'bad': 2} and counters.published == {'scan': 1}
    say(received=1, processed=1, **{'published_of_scan': 1})
    assert counters.totals['received'] == 4 and counters.published == {'scan': 2}
    assert counters.lost == {'bad': 2}


def test_quiet_time_starts_at_the_last_change_and_an_error_is_kept(node):
    counters, say = node
    say(received=1)
    assert counters.quiet_for(0.0) == 0.0, 'a frame is under way'
    say(DiagnosticStatus.ERROR, 'image dropped: no JPEG', received=1, bad=1)
    changed = counters.heard_at
    assert counters.error == 'image dropped: no JPEG' and counters.quiet_for(0.0) == 0.0
    say(received=1, bad=1)
    assert counters.quiet_for(0.0) == counters.heard_at - changed > 0 and counters.error == ''
    assert counters.quiet_for(counters.heard_at) == 0.0


def test_diagnostics_of_another_node_are_ignored(node):
    counters, say = node
    say(name='other_robot', received=7)
    say(received=1)
    assert counters.totals == {'received': 1}
