# SPDX-License-Identifier: Apache-2.0
"""Each parameter acts on the next frame or is refused, and has a description."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from depth_perception.ros.node.diagnostics import WARN
from depth_perception.ros.node.parameters import DEFAULTS, RULES
from test.support.estimators import StandIn
from test.support.ros import (
    TYPES,
    camera_info,
    cloud_array,
    image_array,
    picture,
    rgb_image,
    running_node,
    wait_until,
)


def set_parameter(robot, name: str, value: Any):
    message: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[message])
    return robot.call(SetParameters, 'depth_node/set_parameters', request).results[0]


def scene(rgb: np.ndarray, camera: object) -> np.ndarray:
    """Left half at 2 m, right half at 3 m, times the focal correction."""
    depth = np.full(rgb.shape[:2], 2.0, np.float32)
    depth[:, depth.shape[1] // 2 :] = 3.0
    return depth * (1.0 if camera is None else camera.fx / 64)


class Frames:
    """Send frames and return every output of the last one."""

    def __init__(self, robot) -> None:
        self.robot = robot
        robot.listen(*TYPES)
        self.camera = robot.camera()
        self.count = 0

    def next(self) -> dict[str, Any]:
        self.count += 1
        self.camera.send(rgb_image(picture(0)), camera_info(80, 60, 64.0))
        return {topic: self.robot.wait_for(topic, self.count)[-1] for topic in TYPES}


def depth(outputs) -> np.ndarray:
    return image_array(outputs['depth/image'])


def scan(outputs) -> np.ndarray:
    return np.array(outputs['scan'].ranges)


def finite(outputs, axis: int) -> np.ndarray:
    cloud = cloud_array(outputs['depth/points'])[..., axis]
    return cloud[np.isfinite(cloud)]


# name -> (new value, what must be true of the next frame)
ACTS = {
    'min_depth': (2.5, lambda o: (depth(o)[:, :40] == -np.inf).all()),
    'max_depth': (2.5, lambda o: (depth(o)[:, 40:] == np.inf).all() and o['scan'].range_max == 2.5),
    'depth_scale': (1.5, lambda o: np.allclose(depth(o)[:, :40], 3.0)),
    'focal_correction': (False, lambda o: np.allclose(depth(o)[:, :40], 2.0)),
    'edge_threshold': (0.0, lambda o: len(finite(o, 2)) == 30 * 40),
    'min_confidence': (
        0.5,
        lambda o: np.isnan(depth(o)[:, 40:]).all() and np.isfinite(depth(o)[:, :40]).all(),
    ),
    'temporal_smoothing': (0.5, None),  # acts on later frames: test_node_temporal
    'point_stride': (4, lambda o: (o['depth/points'].width, o['depth/points'].height) == (20, 15)),
    'point_color': (False, lambda o: [f.name for f in o['depth/points'].fields] == ['x', 'y', 'z']),
    'scan_min_height': (0.25, lambda o: np.isfinite(scan(o)).any()),
    'scan_max_height': (-0.15, lambda o: np.isfinite(scan(o)).any()),
    'optical_frame': (
        'cam_optical_frame',
        lambda o: (
            o['scan'].header.frame_id == 'cam_frame'
            and o['depth/points'].header.frame_id == 'cam_optical_frame'
        ),
    ),
    'camera_pitch': (10.0, lambda o: o['scan'].header.frame_id == 'camera_level_frame'),
    'camera_height': (0.15, None),  # this and the next: test_scan_pose
    'floor_tolerance': (0.2, None),
    'floor_model': (False, None),  # test_products
    'anchor_max_age': (1.0, None),  # this and the next: test_anchor_inputs
    'anchor_hold': (2.0, None),
    'max_rate': (50.0, None),  # acts on the rate: test_max_rate_is_kept_and_not_called_overload
    'max_age': (1.0, None),  # test_frames_older_than_max_age_are_dropped_and_counted
}


def test_every_changeable_parameter_has_a_case():
    assert set(ACTS) == {
        name for name, rule in RULES.items() if rule.configured and not rule.read_only
    }


@pytest.mark.parametrize('name', ACTS)
def test_a_change_acts_on_the_next_frame(namespace, robot, name):
    value, check = ACTS[name]
    with running_node(namespace, load_estimator=StandIn(scene)) as node:
        frames = Frames(robot)
        before = frames.next()
        assert set_parameter(robot, name, value).successful
        after = frames.next()
        assert node.get_parameter(name).value == value
    if check is not None:
        assert check(after), name
    if check is not None and name not in ('scan_min_height', 'scan_max_height', 'focal_correction'):
        assert not check(before), 'the check must be able to fail'


@pytest.mark.parametrize('limits, kept', [((0.2, 0.3), True), ((1.5, 2.0), False)])
def test_the_scan_sees_only_its_height_band(namespace, robot, limits, kept):
    with running_node(
        namespace,
        load_estimator=StandIn(scene),
        scan_min_height=limits[0],
        scan_max_height=limits[1],
        edge_threshold=0.0,
    ):
        outputs = Frames(robot).next()
    assert np.isfinite(scan(outputs)).any() == kept
    assert kept or (scan(outputs) == np.inf).all()


def test_focal_correction_uses_the_cameras_focal_length(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(scene)):
        robot.listen('depth/image')
        robot.camera().send(info=camera_info(80, 60, 128.0))
        assert np.allclose(image_array(robot.wait_for('depth/image', 1)[0])[:, :40], 4.0)


def other_than(name: str) -> Any:
    default, rule = DEFAULTS[name], RULES[name]
    if name in ('image_sizes', 'anchors'):
        return {'image_sizes': '160x90', 'anchors': 'scan,floor'}[name]
    return (
        rule.choices[1]
        if rule.choices
        else {bool: not default, str: 'other', float: 45.0}[type(default)]
    )


def test_parameters_that_act_at_configure_are_set_while_the_node_is_unconfigured(namespace, robot):
    names = [name for name, rule in RULES.items() if not rule.configured]
    assert {'model_file', 'device', 'base_frame', 'rectify', 'depth_encoding'} <= set(names)
    with running_node(namespace, load_estimator=StandIn(), autostart=False) as node:
        for name in names:
            assert set_parameter(robot, name, other_than(name)).successful, name
            assert getattr(node.settings, name) == other_than(name)
            assert set_parameter(robot, name, DEFAULTS[name]).successful
        assert not set_parameter(robot, 'autostart', True).successful  # read-only
        assert robot.change_state(1)
        for name in names:
            result = set_parameter(robot, name, other_than(name))
            assert not result.successful and 'now it is inactive' in result.reason
            assert set_parameter(robot, name, DEFAULTS[name]).successful  # no change
            assert node.get_parameter(name).value == DEFAULTS[name] == getattr(node.settings, name)


def test_a_model_file_that_failed_is_set_anew(namespace, robot, weights_file):
    with running_node(namespace, model_file='/nowhere/net.safetensors', device='cpu'):
        robot.watch_diagnostics()
        assert robot.state() == 'unconfigured'
        answer = robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True))
        assert not answer.success and 'no depth: the node is unconfigured' in answer.message
        assert '/nowhere/net.safetensors' in answer.message
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False)).success
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).message
        assert set_parameter(robot, 'model_file', str(weights_file)).successful
        assert robot.change_state(1) and robot.change_state(3)
        robot.listen('depth/image')
        robot.camera().send()
        robot.wait_for('depth/image', 1)
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).success


@pytest.mark.parametrize(
    'names', [('scan_min_height', 'scan_max_height'), ('scan_max_height', 'scan_min_height')]
)
@pytest.mark.parametrize('band', [(0.5, 1.0), (-1.0, -0.5)])
def test_the_band_of_the_scan_is_moved_one_limit_at_a_time(namespace, robot, names, band):
    goal = dict(zip(('scan_min_height', 'scan_max_height'), band))
    with running_node(namespace, load_estimator=StandIn(scene), device='cpu') as node:
        robot.watch_diagnostics()
        before = node.settings
        assert set_parameter(robot, names[0], goal[names[0]]).successful
        settings = node.settings
        if settings == before:
            wait_until(
                lambda: (
                    (s := robot.status('inference'))
                    and s.level == WARN
                    and f'{names[0]} {goal[names[0]]}' in s.message
                )
            )
        assert set_parameter(robot, names[1], goal[names[1]]).successful
        assert (node.settings.scan_min_height, node.settings.scan_max_height) == band
        wait_until(lambda: (s := robot.status('inference')) and 'must be below' not in s.message)


def test_what_is_refused_together_changes_nothing(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(scene)) as node:
        before = node.settings
        for other in (Parameter('use_sim_time', value='x'), Parameter('point_stride', value=99)):
            request = SetParametersAtomically.Request(
                parameters=[p.to_parameter_msg() for p in (Parameter('max_depth', value=5), other)]
            )
            assert not robot.call(
                SetParametersAtomically, 'depth_node/set_parameters_atomically', request
            ).result.successful
        assert node.settings == before and node.get_parameter('max_depth').value == 0


@pytest.mark.parametrize(
    'name, value',
    [
        ('point_stride', 0),
        ('point_stride', 17),
        ('point_stride', 'two'),
        ('min_depth', -0.1),
        ('depth_scale', 0.0),
        ('edge_threshold', 1.5),
        ('point_color', 1),
        ('max_age', 11.0),
        ('max_rate', float('nan')),
        ('image_sizes', 'large'),
    ],
)
def test_values_out_of_range_are_refused_with_the_reason(namespace, robot, name, value):
    with running_node(namespace, load_estimator=StandIn(scene)) as node:
        before = node.settings
        result = set_parameter(robot, name, value)
        assert not result.successful and result.reason
        assert node.settings == before
        assert node.get_parameter(name).value == DEFAULTS[name]


def test_limits_that_leave_nothing_of_the_networks_depth_are_told(namespace, robot):
    text = f'min_depth 12 must be below the {StandIn().info.max_depth:g} m that the network reaches'
    with running_node(namespace, load_estimator=StandIn(scene), min_depth=12.0) as node:
        assert node._parts.problem.startswith(f'cannot configure: {text}')
        assert set_parameter(robot, 'min_depth', 0.5).successful
        assert robot.change_state(Transition.TRANSITION_CONFIGURE)
        both = SetParametersAtomically.Request(
            parameters=[
                Parameter(name, value=value).to_parameter_msg()
                for name, value in (('min_depth', 12.0), ('max_depth', 0.0))
            ]
        )
        refused = robot.call(
            SetParametersAtomically, 'depth_node/set_parameters_atomically', both
        ).result
        assert not refused.successful and refused.reason.startswith(text)
        # They may be set one by one; until both are set, the old values stay in use.
        assert set_parameter(robot, 'min_depth', 12.0).successful
        assert node.settings.min_depth == 0.5 and node._parts.parameters.remark.startswith(text)
        assert set_parameter(robot, 'max_depth', 20.0).successful
        assert (node.settings.min_depth, node.settings.max_depth) == (12, 20)


def test_an_integer_is_taken_for_a_float(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(scene), max_depth=5) as node:
        assert node.settings.max_depth == 5.0
        assert type(node.get_parameter('max_depth').value) is float
        assert set_parameter(robot, 'max_depth', 4).successful
        assert node.settings.max_depth == 4.0
        for value in (6, 'far'):  # a refused value does not change the type, either
            set_parameter(robot, 'max_depth', value)
            request = DescribeParameters.Request(names=['max_depth'])
            answer = robot.call(DescribeParameters, 'depth_node/describe_parameters', request)
            assert answer.descriptors[0].type == ParameterType.PARAMETER_DOUBLE
            assert type(node.get_parameter('max_depth').value) is float


def test_every_parameter_describes_itself(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), autostart=False):
        request = DescribeParameters.Request(names=list(RULES))
        answer = robot.call(DescribeParameters, 'depth_node/describe_parameters', request)
    for descriptor, (name, rule) in zip(answer.descriptors, RULES.items()):
        assert descriptor.description == rule.text and descriptor.read_only == rule.read_only
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [] if rule.low is None else [(rule.low, rule.high)]
        ), name


def test_no_parameter_is_hidden(namespace):
    with running_node(namespace, load_estimator=StandIn(), autostart=False) as node:
        names = {
            n
            for n in node._parameters
            if not n.startswith(('qos_overrides.', 'use_sim_time', 'start_type_description'))
        }
        assert names == set(RULES)
