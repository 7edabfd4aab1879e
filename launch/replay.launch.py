# SPDX-License-Identifier: Apache-2.0
"""A recording as a test: play it to the node, judge the outputs, end with 0 or 1.

    ros2 launch depth_perception replay.launch.py bag:=recording expect:=all
    ros2 launch depth_perception replay.launch.py --show-args
"""
from __future__ import annotations

import runpy
from pathlib import Path

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

PACKAGE = 'depth_perception'
SHARE = Path(__file__).resolve().parents[1]
SWITCH = ['true', 'false']
#: Seconds that the bag waits for the node, which loads its network meanwhile.
PATIENCE = '300'

#: Arguments of depth.launch.py that a replay passes on as they are.
PASSED_ON = ('namespace', 'model', 'device', 'params_file', 'scan', 'log_level')
DEPTH_LAUNCH = SHARE / 'launch' / 'depth.launch.py'
NODE_ARGUMENTS = tuple(argument for argument in runpy.run_path(str(DEPTH_LAUNCH))['ARGUMENTS']
                       if argument.name in PASSED_ON)

ARGUMENTS = (
    DeclareLaunchArgument(
        'bag', description='rosbag2 folder to play, the one with metadata.yaml.'),
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
        'lockstep', default_value='true', choices=SWITCH,
        description='Each image waits for the depth of the last one, and /clock with it: none is '
                    'skipped, however slow the machine. false: as a live camera.'),
    DeclareLaunchArgument(
        'expect', default_value='1',
        description='Depth images that are the least, or all: one for each image.'),
    DeclareLaunchArgument(
        'record', default_value='',
        description='New rosbag2 folder for the outputs of the node. Empty: they are not kept.'),
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
    image, camera_info = _topics(given)
    return [
        RegisterEventHandler(OnProcessExit(on_exit=_on_exit)),
        _depth(given, image, camera_info),
        _check(given, image),
        _player(given, image, camera_info)]


def _topics(given: dict[str, str]) -> tuple[str, str]:
    """The image and camera_info topics that the node takes from the bag."""
    from depth_perception.bag import Bag, BagError

    try:
        with Bag(given['bag']) as bag:
            image = bag.image_topic(given['image'] or None)
            info = bag.camera_info_topic(image)
    except BagError as error:
        raise RuntimeError(str(error)) from error
    return image.name, given['camera_info'] or (info.name if info else '')


def _depth(given: dict[str, str], image: str, camera_info: str) -> Action:
    # An included launch file sees this one's arguments: `bag` would play the bag a second time.
    arguments = {name: given[name] for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(DEPTH_LAUNCH)),
        launch_arguments={**arguments, 'image': image, 'camera_info': camera_info, 'bag': '',
                          'use_sim_time': 'true'}.items())


def _check(given: dict[str, str], image: str) -> Node:
    options = [word for name in ('record', 'report') if given[name]
               for word in (f'--{name}', str(Path(given[name]).expanduser().absolute()))]
    return Node(
        package=PACKAGE, executable='replay_check', output='screen', namespace=given['namespace'],
        arguments=[given['bag'], '--image', image, '--expect', given['expect'], *options],
        remappings=[('scan', given['scan'])])


def _player(given: dict[str, str], image: str, camera_info: str) -> Node:
    depth = '/'.join(filter(None, ('', given['namespace'].strip('/'), 'depth/image')))
    lockstep = ['--lockstep', image, depth] if given['lockstep'] == 'true' else []
    return Node(
        package=PACKAGE, executable='replay_bag', output='screen',
        arguments=[given['bag'], '--clock', '--rate', given['rate'],
                   '--wait-for-subscribers', PATIENCE, *lockstep])


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
