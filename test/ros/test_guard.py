# SPDX-License-Identifier: Apache-2.0
"""After any call or error, the caller gets an answer, and the node runs in a correct state."""

from __future__ import annotations

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter as RclpyParameter
from std_srvs.srv import SetBool

from depth_perception.ros.node import depth_node
from depth_perception.ros.node.depth_node import DepthNode
from depth_perception.ros.node.diagnostics import ERROR
from depth_perception.ros.node.receiver import Receiver
from depth_perception.ros.node.subscriptions import AdaptiveSubscription
from test.ros.test_node_process import node_command
from test.support.estimators import StandIn
from test.support.processes import process
from test.support.ros import running_node, wait_until

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
TYPES = {
    'bool': ParameterType.PARAMETER_BOOL,
    'not set': ParameterType.PARAMETER_NOT_SET,
    'bytes': ParameterType.PARAMETER_BYTE_ARRAY,
    'no type': 99,
}


def said_by(robot, task: str, text: str) -> None:
    wait_until(
        lambda: (s := robot.status(task)) and s.level == ERROR and text in s.message,
        what=f'{task} to say {text}, not {robot.status(task)}',
    )


@pytest.mark.parametrize('cameras', [(), ('--cameras', 'front')], ids=['one', 'several'])
def test_a_transition_that_does_not_fit_is_refused_and_the_process_goes_on(
    namespace, robot, weights_file, cameras
):
    name = 'front/depth_node' if cameras else 'depth_node'
    words = node_command(namespace, weights_file, '-p', 'device:=cpu')
    at = words.index('--ros-args')
    with process(*words[:at], *cameras, *words[at:]) as node:
        wait_until(lambda: robot.node.count_publishers(f'{name.removesuffix("depth_node")}scan'))
        for request in (
            Transition(id=CONFIGURE),
            Transition(id=ACTIVATE),
            Transition(id=99),
            Transition(label='nonsense'),
            Transition(id=CLEANUP),
        ):
            answer = robot.call(
                ChangeState, f'{name}/change_state', ChangeState.Request(transition=request)
            )
            assert not answer.success
        assert robot.call(
            ChangeState,
            f'{name}/change_state',
            ChangeState.Request(transition=Transition(label='deactivate')),
        ).success
        assert node.poll() is None
        node.terminate()
        output, _ = node.communicate(timeout=30)
    assert node.returncode == 0 and 'Traceback' not in output, output
    assert 'cannot configure (1) while active: there it can deactivate (4), shut' in output, output
    assert 'there is no transition nonsense, while active' in output, output
    assert 'there is no transition 99, while active: there it can deactivate (4)' in output, output


@pytest.mark.parametrize('kind', TYPES)
@pytest.mark.parametrize('name', ['max_depth', 'use_sim_time', 'nowhere', '', 'qos_overrides./x'])
def test_any_parameter_value_is_answered(namespace, robot, kind, name):
    with running_node(namespace, load_estimator=StandIn()) as node:
        before = node.get_parameter('max_depth').value
        value = Parameter(name=name, value=ParameterValue(type=TYPES[kind], bool_value=True))
        for call in (SetParameters, SetParametersAtomically):
            service = 'set_parameters' + '_atomically' * (call is SetParametersAtomically)
            answer = robot.call(call, f'depth_node/{service}', call.Request(parameters=[value]))
            result = answer.results[0] if call is SetParameters else answer.result
            assert result.successful == (name == 'use_sim_time' and kind == 'bool')
            assert result.successful or result.reason
        assert node.get_parameter('max_depth').value == before
        assert (
            robot.call(
                GetParameters,
                'depth_node/get_parameters',
                GetParameters.Request(names=['max_depth']),
            )
            .values[0]
            .type
            == ParameterType.PARAMETER_DOUBLE
        )
        names = robot.call(
            ListParameters, 'depth_node/list_parameters', ListParameters.Request()
        ).result.names
        assert 'max_depth' in names and robot.state() == 'active'


def test_a_service_that_raises_answers_no(namespace, robot, monkeypatch, capfd):
    def fail(node, request, response):
        raise RuntimeError('a mistake in the node')

    monkeypatch.setattr(DepthNode, '_on_enable', fail)
    with running_node(namespace, load_estimator=StandIn()):
        answer = robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False))
        assert not answer.success and 'RuntimeError: a mistake in the node' in answer.message
        assert robot.state() == 'active'
    assert capfd.readouterr().err.count('a mistake in the node') == 1


@pytest.mark.parametrize(
    'owner, callback',
    [(Receiver, 'on_image'), (Receiver, 'on_camera_info'), (DepthNode, '_every_second')],
)
def test_a_callback_that_raises_costs_that_call(
    namespace, robot, monkeypatch, owner, callback, capfd
):
    original, failed = getattr(owner, callback), []

    def fail_twice(self, *message):
        if len(failed) < 2:
            failed.append(True)
            raise RuntimeError('a mistake in the node')
        original(self, *message)

    monkeypatch.setattr(owner, callback, fail_twice)
    monkeypatch.setattr(depth_node, 'DIAGNOSTICS_PERIOD', 0.1)
    with running_node(namespace, load_estimator=StandIn(), max_age=0.0):
        robot.watch_diagnostics()
        robot.listen('scan')
        camera = robot.camera()
        wait_until(
            lambda: (
                camera.send() and len(failed) == 2 and robot.received['scan'] and robot.diagnostics
            )
        )
        assert robot.state() == 'active'
    output = capfd.readouterr().err
    assert 'goes on after an error: RuntimeError: a mistake in the node' in output
    assert 'Traceback' not in output


@pytest.mark.parametrize(
    'part, transition, tries, left',
    [
        ('_start_work', 'activate', (CONFIGURE, ACTIVATE), 'inactive'),
        ('_load', 'configure', (CONFIGURE,), 'unconfigured'),
        ('_stop_work', 'deactivate', (CONFIGURE, ACTIVATE, DEACTIVATE), 'unconfigured'),
        ('_free', 'clean up', (CONFIGURE, CLEANUP), 'unconfigured'),
    ],
)
def test_a_transition_that_raises_is_an_error_in_the_state_that_it_left(
    namespace, robot, monkeypatch, capfd, part, transition, tries, left
):
    original, failed = getattr(DepthNode, part), []

    def fail_once(node, *arguments):
        if (
            not failed
            and node._state
            == {
                'activate': 'activating',
                'configure': 'configuring',
                'deactivate': 'deactivating',
                'clean up': 'cleaningup',
            }[transition]
        ):
            failed.append(True)
            raise RuntimeError('a mistake in the node')
        original(node, *arguments)

    monkeypatch.setattr(DepthNode, part, fail_once)
    with running_node(namespace, load_estimator=StandIn(), autostart=False):
        robot.watch_diagnostics()
        assert [robot.change_state(each) for each in tries] == [True] * (len(tries) - 1) + [False]
        assert robot.state() == left
        for task in ('input', 'inference', 'depth'):
            said_by(robot, task, f'cannot {transition}: RuntimeError: a mistake in the node')
        again = (ACTIVATE,) if left == 'inactive' else (CONFIGURE, ACTIVATE)
        assert all(robot.change_state(each) for each in again)
        robot.listen('scan')
        camera = robot.camera()
        wait_until(lambda: camera.send() and robot.received['scan'])
    assert f'cannot {transition}: RuntimeError' in capfd.readouterr().err


def test_autostart_beside_a_lifecycle_manager_that_was_first(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), autostart=False) as node:
        assert robot.change_state(CONFIGURE)
        node._parts.parameters.settings = node.settings.__class__(autostart=True)
        node.autostart()
        assert robot.state() == 'inactive'


def test_the_subscription_of_a_failed_activation_is_taken_back(namespace, robot, monkeypatch):
    original = AdaptiveSubscription.__init__

    def second_fails(subscription, node, kind, topic, *arguments):
        if topic == 'image':
            raise RuntimeError('no subscription')
        original(subscription, node, kind, topic, *arguments)

    monkeypatch.setattr(AdaptiveSubscription, '__init__', second_fails)
    with running_node(namespace, load_estimator=StandIn()):
        assert robot.state() == 'inactive'
        wait_until(lambda: robot.node.count_subscribers('camera_info') == 0)


def test_a_parameter_that_a_callback_of_ours_cannot_read_is_refused(namespace, robot, monkeypatch):
    def fail(*_):
        raise KeyError('a mistake in the node')

    monkeypatch.setattr(depth_node.parameters, 'changed', fail)
    with running_node(namespace, load_estimator=StandIn()):
        request = SetParameters.Request(
            parameters=[RclpyParameter('max_depth', value=5.0).to_parameter_msg()]
        )
        answer = robot.call(SetParameters, 'depth_node/set_parameters', request)
        assert not answer.results[0].successful and 'KeyError' in answer.results[0].reason
