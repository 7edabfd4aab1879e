# SPDX-License-Identifier: Apache-2.0
"""Test with a recording: play it to the node, check the outputs, end with 0 or 1.

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
#: Seconds that the bag waits for the node to load its network.
PATIENCE = '300'
#: Queue of the outputs for `replay_check`, because the next image waits only for the depth.
QUEUE = '10'

#: Arguments that are passed on to depth.launch.py unchanged.
PASSED_ON = (
    'namespace',
    'model',
    'device',
    'params_file',
    'scan',
    'base_frame',
    'camera_pitch',
    'camera_height',
    'log_level',
)
DEPTH_LAUNCH = SHARE / 'launch' / 'depth.launch.py'
DEPTH = runpy.run_path(str(DEPTH_LAUNCH))
NODE_ARGUMENTS = tuple(argument for argument in DEPTH['ARGUMENTS'] if argument.name in PASSED_ON)

ARGUMENTS = (
    DeclareLaunchArgument(
        'bag', description='Recording to play: a rosbag2 folder, or its .mcap or .db3 file.'
    ),
    DeclareLaunchArgument(
        'image',
        default_value='',
        description="The bag's topic of camera images. Empty: the most likely colour camera.",
    ),
    DeclareLaunchArgument(
        'camera_info',
        default_value='',
        description="The bag's topic of the calibration. Empty: camera_info next to the images, or "
        'the only one in the bag.',
    ),
    DeclareLaunchArgument('rate', default_value='1.0', description='2 plays twice as fast.'),
    DeclareLaunchArgument(
        'lockstep',
        default_value='true',
        choices=DEPTH['SWITCH'],
        description='Each image, and /clock, waits for the depth of the last image: none is '
        'skipped, however slow the machine, and none is too old (max_age is 0). false: '
        'like a live camera.',
    ),
    DeclareLaunchArgument(
        'expect',
        default_value='1',
        description='Smallest acceptable number of depth images, or all: one for each image.',
    ),
    DeclareLaunchArgument(
        'record',
        default_value='',
        description='New rosbag2 folder for the outputs and inputs of the node, with TF. Empty: '
        'nothing is recorded.',
    ),
    DeclareLaunchArgument(
        'report',
        default_value='',
        description='JSON file for counts and faults. Empty: only in the log.',
    ),
    *NODE_ARGUMENTS,
)


def generate_launch_description() -> LaunchDescription:
    """Return everything that `ros2 launch` starts."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS
    }
    given['bag'] = str(Path(given['bag']).expanduser())
    bag = DEPTH['bag_contents'](given['bag'])
    image = given['image'] or next(iter(bag['cameras']))
    if image not in bag['cameras']:
        raise RuntimeError(
            f'bag {given["bag"]} has no camera images on {image}; it has them on '
            f'{", ".join(bag["cameras"])}'
        )
    camera = bag['cameras'][image]
    info = given['camera_info'] or camera['camera_info'] or ''
    subscribed = [image, *([info] if info in bag['topics'] else [])]
    return [
        RegisterEventHandler(OnProcessExit(on_exit=_on_exit)),
        _depth(given, image, camera, info),
        _check(given, image, info),
        _player(given, subscribed),
    ]


def _depth(given: dict[str, str], image: str, camera: dict[str, Any], camera_info: str) -> Action:
    # An included launch file sees the arguments of this one: `bag` would play the bag twice.
    arguments = {name: given[name] for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(DEPTH_LAUNCH)),
        launch_arguments={
            **arguments,
            'image': image,
            'image_sizes': camera['size'] or '',
            'image_transport': 'compressed' if camera['compressed'] else 'raw',
            'camera_info': camera_info,
            'bag': '',
            'use_sim_time': 'true',
            'output_queue': QUEUE,
            'max_age': '0.0' if DEPTH['is_on'](given['lockstep']) else '',
        }.items(),
    )


def _check(given: dict[str, str], image: str, camera_info: str) -> Node:
    options = [
        word
        for name in ('record', 'report')
        if given[name]
        for word in (f'--{name}', str(Path(given[name]).expanduser().absolute()))
    ]
    if camera_info:
        options += ['--camera-info', camera_info]
    return Node(
        package=PACKAGE,
        executable='replay_check',
        output='screen',
        namespace=given['namespace'],
        arguments=[given['bag'], '--image', image, '--expect', given['expect'], *options],
        remappings=[('scan', given['scan'])],
    )


def _player(given: dict[str, str], subscribed: list[str]) -> Node:
    def full(name: str) -> str:
        return make_namespace_absolute(prefix_namespace(given['namespace'] or None, name))

    lockstep = ['--lockstep', subscribed[0], full('depth/image')]
    return Node(
        package=PACKAGE,
        executable='replay_bag',
        output='screen',
        arguments=[
            given['bag'],
            '--clock',
            '--rate',
            given['rate'],
            # The bag may have the outputs of another run.
            '--exclude',
            *map(full, (*DEPTH['OUTPUTS'], given['scan'])),
            '/diagnostics',
            '--wait-for-subscribers',
            PATIENCE,
            '--wait-for',
            *subscribed,
            '--wait-for-nodes',
            full('replay_check'),
            *(lockstep if DEPTH['is_on'](given['lockstep']) else []),
        ],
    )


def _on_exit(event: ProcessExited, context: LaunchContext) -> Action | None:
    """End the launch after the check; fail if another process ends too early."""
    if context.is_shutdown:
        return None
    name = event.process_name.rsplit('-', 1)[0]
    if event.returncode:
        # An error in a handler makes `ros2 launch` end with 1.
        raise RuntimeError(f'{name} ended with {event.returncode}: the replay failed')
    if name == 'depth_node':
        raise RuntimeError('depth_node ended before the replay did: the replay failed')
    return EmitEvent(event=Shutdown(reason='replayed')) if name == 'replay_check' else None
