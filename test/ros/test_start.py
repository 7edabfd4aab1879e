# SPDX-License-Identifier: Apache-2.0
"""Arguments at start: used, reported as unused, or refused with one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

from depth_perception.ros import start
from depth_perception.ros.node.parameters import ParameterError, check
from depth_perception.ros.start import StartError, enter_ros, is_for, no_log_folder
from test.support.estimators import StandIn
from test.support.processes import ROOT, command
from test.support.ros import running_node
from test.support.waiting import PATIENCE

TYPO = 'depth_node: {ros__parameters: {max_dept: 5.0, scan_min_hight: -0.1}}\n'


def run(*words: str, until: str = '', **environment: str | None) -> tuple[int, str]:
    """Run the node; return the process and its output, after its end or after the text `until`."""
    env = {**os.environ, 'PYTHONUNBUFFERED': '1', **environment}
    child = subprocess.Popen(
        command('depth_perception.ros.node.main', '--ros-args', *words),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={name: value for name, value in env.items() if value is not None},
    )
    said = ''
    late = threading.Timer(2 * PATIENCE, child.kill)  # also ends the test if a line never comes
    late.start()
    with child:
        for line in child.stdout:
            said += line
            if until and until in line:
                child.send_signal(signal.SIGINT)
    late.cancel()
    return child.returncode, said


def test_without_a_home_it_works_and_lists_unused_arguments(tmp_path, weights_file):
    (tmp_path / 'typo.yaml').write_text(TYPO)
    (tmp_path / 'other.yaml').write_text('depth_nod: {ros__parameters: {max_depth: 5.0}}\n')
    code, said = run(
        '--params-file',
        str(tmp_path / 'typo.yaml'),
        '--params-file',
        str(tmp_path / 'other.yaml'),
        '-p',
        'image:=/camera/image_raw',
        '-p',
        f'model_file:={weights_file}',
        '-p',
        'qos_overrides./imag.subscription.reliability:=best_effort',
        '-p',
        'device:=cpu',
        until='imag.subscription',
        HOME=None,
        ROS_LOG_DIR=None,
        ROS_HOME=None,
    )
    assert code == 0 and 'Traceback' not in said, said
    assert 'no log files: there is no HOME' in said
    warnings = [line for line in said.splitlines() if 'WARN' in line]
    assert (
        sum(
            'max_dept (is it max_depth?), scan_min_hight (is it scan_min_height?)' in line
            for line in warnings
        )
        == 1
    )
    assert any('image (a topic: -r image:=/camera/image_raw)' in line for line in warnings)
    assert any(
        'qos_overrides./imag.subscription.reliability (is it '
        'qos_overrides./image.subscription.reliability?)' in line
        for line in warnings
    )
    assert any(
        'other.yaml has parameters for /depth_nod alone, none for /depth_node' in line
        for line in warnings
    ), said


@pytest.mark.parametrize(
    'words, environment, reason',
    [
        (('-p', 'use_sim_time:="true"'), {}, 'use_sim_time must be true or false, without quotes'),
        (
            (),
            {'ROS_DOMAIN_ID': 'nine'},
            "ROS_DOMAIN_ID must be a whole number from 0 to 232, got 'ni",
        ),
        (
            (),
            {'ROS_DOMAIN_ID': '233'},
            "ROS_DOMAIN_ID must be a whole number from 0 to 232, got '233'",
        ),
    ],
)
def test_unusable_ros_arguments_end_with_one_sentence_and_2(words, environment, reason):
    code, said = run(*words, **environment)
    assert code == 2 and 'Traceback' not in said, said
    assert sum('cannot start' in line for line in said.splitlines()) == 1 and reason in said


@pytest.mark.parametrize(
    'words, reason',
    [
        (('-r', '__ns:=/9bad-ns'), 'names of letters, digits and _ that do not begin with a digit'),
        (('-r', '__ns:=robot'), 'a namespace begins with /'),
        (('-r', '__node:=9bad'), 'does not begin with a digit'),
        (('-r', 'image:=9/bad'), 'a remapping is FROM:=TO'),
        (('-p', 'image:='), 'image is a topic, remapped by -r image:='),
        (('-p', 'model_file:='), 'for an empty text it is -p model_file:="\'\'"'),
        (('-p', 'max_depth'), 'a parameter is NAME:=VALUE'),
        (('--log-level', 'loud'), 'use debug, info'),
        (('--foo',), "does not know the arguments ['--foo']"),
        (('--params-file', '/nowhere.yaml'), '/nowhere.yaml cannot be read: No such file'),
        (('--params-file', '~/nowhere.yaml'), f'{Path.home()}/nowhere.yaml cannot be read'),
        (('--params-file', '/'), '/ cannot be read: Is a directory'),
    ],
)
def test_arguments_that_cannot_be_used(words, reason):
    with pytest.raises(StartError) as caught:
        enter_ros(['depth_node', '--ros-args', *words], context=Context())
    assert reason in str(caught.value)
    assert '.c' not in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    'content, reason',
    [
        ('a: [1,\n', 'is not YAML: line'),
        ('depth_node: {max_depth: 5}', 'no ros__parameters'),
        ('', 'no ros__parameters'),
        ('[1, 2]', 'no ros__parameters'),
        ('\xff\xfe', 'is not a text file in UTF-8'),
        ('a: {ros__parameters: {x: [1, a]}}', 'Sequence should be of same type'),
    ],
)
def test_parameter_files_that_cannot_be_used(tmp_path, content, reason):
    (tmp_path / 'my.yaml').write_bytes(content.encode('latin1'))
    with pytest.raises(StartError, match=reason) as caught:
        enter_ros(
            ['x', '--ros-args', '--params-file', str(tmp_path / 'my.yaml')], context=Context()
        )
    assert str(tmp_path / 'my.yaml') in str(caught.value)


@pytest.mark.parametrize(
    'section, node, holds',
    [
        ('/**', '/a/depth_node', True),
        ('/depth_node', '/depth_node', True),
        ('/depth_node', '/a/depth_node', False),
        ('/*/depth_node', '/a/depth_node', True),
        ('/**/rear/depth_node', '/x/y/rear/depth_node', True),
        ('/*', '/a/depth_node', False),
        ('/depth_nod', '/depth_node', False),
    ],
)
def test_which_nodes_a_section_is_for(tmp_path, section, node, holds):
    """Match sections in the same way as rcl."""
    assert is_for(section, node) == holds
    (tmp_path / 'my.yaml').write_text(f'{section}: {{ros__parameters: {{x: 1}}}}\n')
    context = Context()
    rclpy.init(context=context, args=['--ros-args', '--params-file', str(tmp_path / 'my.yaml')])
    namespace, _, name = node.rpartition('/')
    known = rclpy.create_node(name, namespace=namespace, context=context)
    assert ('x' in known._parameter_overrides) == holds
    known.destroy_node()
    rclpy.try_shutdown(context=context)


def test_where_log_files_go(tmp_path, monkeypatch):
    assert no_log_folder({'HOME': str(tmp_path)}) == '' and (tmp_path / '.ros' / 'log').is_dir()
    assert no_log_folder({'ROS_HOME': str(tmp_path / 'ros')}) == ''
    assert no_log_folder({'HOME': str(tmp_path), 'ROS_LOG_DIR': '~/logs'}) == ''
    assert (tmp_path / 'logs').is_dir()
    (tmp_path / 'file').touch()
    for environment in ({'HOME': str(tmp_path / 'file')}, {'ROS_LOG_DIR': '/proc/x'}):
        assert 'cannot be written' in no_log_folder(environment)
    assert 'no HOME' in no_log_folder({})


def test_ros_starts_even_if_no_log_can_be_written(monkeypatch, capfd):
    monkeypatch.setattr(start, 'no_log_folder', lambda: 'the disk is full')
    context = Context()
    words = enter_ros(['x'], context=context)
    assert words == ['x', '--ros-args', '--disable-external-lib-logs'] and context.ok()
    rclpy.try_shutdown(context=context)
    assert 'no log files: the disk is full; logs go only to this console' in capfd.readouterr().err


@pytest.mark.parametrize(
    'name, value, reason',
    [
        ('depth_scale', 20.0, r'^depth_scale must be in \[0.1, 10\], got 20.0$'),
        ('point_stride', 0, r'^point_stride must be in \[1, 16\], got 0$'),
        ('rectify', False, 'quote them, in a shell twice: -p rectify:="\'off\'"$'),
        ('rectify', 5, '^rectify must be of type str, got 5$'),
    ],
)
def test_a_value_is_refused_at_start_as_at_run_time(namespace, name, value, reason):
    with (
        pytest.raises(ParameterError, match=reason),
        running_node(namespace, load_estimator=StandIn(), **{name: value}),
    ):
        pass
    with pytest.raises(ParameterError, match=reason):
        check(name, value)


def test_unknown_parameters_given_in_code(namespace, capfd):
    with running_node(namespace, load_estimator=StandIn(), max_dept=5.0):
        pass
    assert capfd.readouterr().err.count('max_dept (is it max_depth?)') == 1
