# SPDX-License-Identifier: Apache-2.0
"""A recording as a test: play it to the node, judge the outputs, end with 0 or 1.

    ros2 launch depth_perception replay.launch.py bag:=recording expect:=all
    ros2 launch depth_perception replay.launch.py --show-args
"""
from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

PACKAGE = 'depth_perception'
SHARE = Path(__file__).resolve().parents[1]
#: Seconds that the bag waits for the node, which loads its network meanwhile.
PATIENCE = '300'
#: Outputs that wait for whoever keeps and judges them: the next image waits for depth alone.
QUEUE = '10'

#: Arguments of depth.launch.py that a replay passes on as they are.
PASSED_ON = ('namespace', 'model', 'device', 'params_file', 'scan', 'base_frame', 'camera_pitch',
             'camera_height', 'log_level')
DEPTH_LAUNCH = SHARE / 'launch' / 'depth.launch.py'
DEPTH = runpy.run_path(str(DEPTH_LAUNCH))
NODE_ARGUMENTS = tuple(argument for argument in DEPTH['ARGUMENTS'] if argument.name in PASSED_ON)

ARGUMENTS = (
    DeclareLaunchArgument(
        'bag', description='Recording to play: a rosbag2 folder, or its .mcap or .db3 file.'),
    DeclareLaunchArgument(
        'image', default_value='',
        description="The bag's topic of camera images. Empty: the one that looks most like it."),
    DeclareLaunchArgument(
        'camera_info', default_value='',
        description="The bag's topic of the calibration. Empty: camera_info beside the images, or "
                    'the only one there is.'),
    DeclareLaunchArgument(
        'rate', default_value='1.0', description='2 plays twice as fast.'),
    DeclareLaunchArgument(
        'lockstep', default_value='true', choices=DEPTH['SWITCH'],
        description='Each image waits for the depth of the last one, and /clock with it: none is '
                    'skipped, however slow the machine, and none is too old (max_age is 0). false: '
                    'as a live camera.'),
    DeclareLaunchArgument(
        'expect', default_value='1',
        description='Depth images that are the least, or all: one for each image.'),
    DeclareLaunchArgument(
        'record', default_value='',
        description='New rosbag2 folder for the outputs of the node and its inputs, TF too. Empty: '
                    'they are not kept.'),
    DeclareLaunchArgument(
        'report', default_value='',
        description='JSON file for the counts and what was wrong. Empty: in the log alone.'),
    *NODE_ARGUMENTS,
)


def generate_launch_description() -> LaunchDescription:
    """Everything that `ros2 launch` starts."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    given = {argument.name: LaunchConfiguration(argument.name).perform(context)
             for argument in ARGUMENTS}
    given['bag'] = str(Path(given['bag']).expanduser())
    bag = DEPTH['bag_contents'](given['bag'])
    image = given['image'] or next(iter(bag['cameras']))
    if image not in bag['cameras']:
        raise RuntimeError(f'bag {given["bag"]} has no camera images on {image}; it has them on '
                           f'{", ".join(bag["cameras"])}')
    camera = bag['cameras'][image]
    info = given['camera_info'] or camera['camera_info'] or ''
    heard = [image, *([info] if info in bag['topics'] else [])]
    return [
        RegisterEventHandler(OnProcessExit(on_exit=_on_exit)),
        _depth(given, image, camera, info),
        _check(given, image, info),
        _player(given, heard)]


def _depth(given: dict[str, str], image: str, camera: dict[str, Any], camera_info: str) -> Action:
    # An included launch file sees this one's arguments: `bag` would play the bag a second time.
    arguments = {name: given[name] for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(DEPTH_LAUNCH)),
        launch_arguments={
            **arguments, 'image': image, 'image_sizes': camera['size'] or '',
            'image_transport': 'compressed' if camera['compressed'] else 'raw',
            'camera_info': camera_info, 'bag': '', 'use_sim_time': 'true', 'output_queue': QUEUE,
            'max_age': '0.0' if DEPTH['is_on'](given['lockstep']) else ''}.items())


def _check(given: dict[str, str], image: str, camera_info: str) -> Node:
    options = [word for name in ('record', 'report') if given[name]
               for word in (f'--{name}', str(Path(given[name]).expanduser().absolute()))]
    if camera_info:
        options += ['--camera-info', camera_info]
    return Node(
        package=PACKAGE, executable='replay_check', output='screen', namespace=given['namespace'],
        arguments=[given['bag'], '--image', image, '--expect', given['expect'], *options],
        remappings=[('scan', given['scan'])])


def _player(given: dict[str, str], heard: list[str]) -> Node:
    def full(name: str) -> str:
        return make_namespace_absolute(prefix_namespace(given['namespace'] or None, name))

    lockstep = ['--lockstep', heard[0], full('depth/image')]
    return Node(
        package=PACKAGE, executable='replay_bag', output='screen',
        arguments=[given['bag'], '--clock', '--rate', given['rate'],
                   # A bag that has another run's outputs is played without.
                   '--exclude', *map(full, (*DEPTH['OUTPUTS'], given['scan'])), '/diagnostics',
                   '--wait-for-subscribers', PATIENCE, '--wait-for', *heard,
                   '--wait-for-nodes', full('replay_check'),
                   *(lockstep if DEPTH['is_on'](given['lockstep']) else [])])


def _on_exit(event: ProcessExited, context: LaunchContext) -> Action | None:
    """The judgement ends the launch; anything else that ends too early fails it."""
    if context.is_shutdown:
        return None
    name = event.process_name.rsplit('-', 1)[0]
    if event.returncode:
        # An error in a handler is what makes `ros2 launch` end with 1.
        raise RuntimeError(f'{name} ended with {event.returncode}: the replay failed')
    if name == 'depth_node':
        raise RuntimeError('depth_node ended before the replay did: the replay failed')
    return EmitEvent(event=Shutdown(reason='replayed')) if name == 'replay_check' else None
