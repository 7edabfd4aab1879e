# SPDX-License-Identifier: Apache-2.0
"""Depth, point cloud and obstacle scan of one camera.

    ros2 launch depth_perception depth.launch.py image:=/camera/image_raw rviz:=true
    ros2 launch depth_perception depth.launch.py --show-args
"""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

PACKAGE = 'depth_perception'
SHARE = Path(__file__).resolve().parents[1]
COMPRESSED = '/compressed'
SWITCH = ['true', 'false']
#: Seconds that a bag waits for the node, which loads its network meanwhile.
BAG_PATIENCE = '300'

#: What rviz/depth.rviz calls the topics that have arguments.
RVIZ_IMAGE, RVIZ_SCAN = '/camera/image_raw', '/scan'

ARGUMENTS = (
    DeclareLaunchArgument(
        'image', default_value='camera/image_raw',
        description='Topic of the camera images. A name that ends in /compressed subscribes to '
                    'compressed images.'),
    DeclareLaunchArgument(
        'camera_info', default_value='',
        description="Topic of the camera's calibration. Empty: camera_info beside the images."),
    DeclareLaunchArgument(
        'namespace', default_value='',
        description='Namespace of the node and of its relative topics, such as front.'),
    DeclareLaunchArgument(
        'cameras', default_value='',
        description='Several cameras, such as front,rear, in one process with one network. Each '
                    'name is a namespace below the other, also of image, camera_info and scan. '
                    'Empty: one camera.'),
    DeclareLaunchArgument(
        'model', default_value='',
        description='Weights file (.safetensors). Empty: the one of params_file, otherwise the '
                    'bundled network.'),
    DeclareLaunchArgument(
        'device', default_value='',
        description='Where the network runs: auto, cpu, cuda or cuda:N. Empty: as in params_file.'),
    DeclareLaunchArgument(
        'params_file', default_value=str(SHARE / 'config' / 'depth.yaml'),
        description='YAML file with the parameters of the node.'),
    DeclareLaunchArgument(
        'scan', default_value='scan',
        description='Topic of the obstacle scan. Name another where a lidar has this one.'),
    DeclareLaunchArgument(
        'use_sim_time', default_value='false', choices=SWITCH,
        description='Take the time from /clock. With bag it always is.'),
    DeclareLaunchArgument(
        'bag', default_value='',
        description='rosbag2 folder to play, with /clock. Empty: a live camera.'),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=SWITCH,
        description='Show camera, depth, cloud and scan in RViz.'),
    DeclareLaunchArgument(
        'frame', default_value='camera_optical_frame',
        description='frame_id of the images, an optical frame: the fixed frame of RViz.'),
    DeclareLaunchArgument(
        'camera_tf', default_value='false', choices=SWITCH,
        description='Publish the transform from the frame of the scan to that of the images. For '
                    'a camera without a robot description.'),
    DeclareLaunchArgument(
        'log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='What the node logs.'),
)


def generate_launch_description() -> LaunchDescription:
    """Everything that `ros2 launch` starts."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    given = {argument.name: LaunchConfiguration(argument.name).perform(context)
             for argument in ARGUMENTS}
    sim_time = bool(given['bag']) or given['use_sim_time'] == 'true'
    actions: list[Action] = [_depth_node(given, sim_time)]
    if given['bag']:
        actions.append(_bag(given['bag']))
    if given['camera_tf'] == 'true':
        actions.append(_camera_tf(given['frame'], sim_time))
    if given['rviz'] == 'true':
        actions.append(_rviz(given, sim_time))
    return actions


def _depth_node(given: dict[str, str], sim_time: bool) -> Node:
    several = bool(given['cameras'])
    if several:
        _refuse_absolute(given)
    return Node(
        package=PACKAGE, executable='depth_node', output='screen', namespace=given['namespace'],
        # With a name, launch would give the overrides to that one node alone.
        name=None if several else 'depth_node',
        arguments=['--cameras', given['cameras']] if several else [],
        parameters=[_params_file(given['params_file']), _overrides(given, sim_time)],
        remappings=[*_inputs(given).items(), ('scan', given['scan'])],
        ros_arguments=[word for logger in _loggers(given)
                       for word in ('--log-level', f'{logger}:={given["log_level"]}')])


def _params_file(path: str) -> str:
    """The file, which launch would pass over in silence if it were missing."""
    expanded = Path(path).expanduser().absolute()
    if not expanded.is_file():
        raise RuntimeError(f'params_file:={path}: there is no such file')
    return str(expanded)


def _refuse_absolute(given: dict[str, str]) -> None:
    for name in ('image', 'camera_info', 'scan'):
        if given[name].startswith('/'):
            raise RuntimeError(f'{name}:={given[name]} would be the same for all cameras: name it '
                               'without the first /, below the name of each camera')


def _namespaces(given: dict[str, str]) -> list[str]:
    """Of the nodes, without the first /."""
    names = [name.strip() for name in given['cameras'].split(',')]
    return [f'{given["namespace"].strip("/")}/{name}'.strip('/') for name in names]


def _loggers(given: dict[str, str]) -> list[str]:
    return [f'{namespace}/depth_node'.strip('/').replace('/', '.')
            for namespace in _namespaces(given)]


def _overrides(given: dict[str, str], sim_time: bool) -> dict[str, str | bool]:
    """Parameters of arguments that were given; params_file has the others."""
    overrides: dict[str, str | bool] = {'use_sim_time': sim_time}
    if given['model']:
        overrides['model_file'] = str(Path(given['model']).expanduser().absolute())
    if given['device']:
        overrides['device'] = given['device']
    if given['image'].endswith(COMPRESSED):
        overrides['image_transport'] = 'compressed'
    return overrides


def _inputs(given: dict[str, str]) -> dict[str, str]:
    image = given['image'].removesuffix(COMPRESSED)
    parent, slash, _ = image.rpartition('/')
    return {'image': image, f'image{COMPRESSED}': image + COMPRESSED,
            'camera_info': given['camera_info'] or f'{parent}{slash}camera_info'}


def _bag(path: str) -> Action:
    path = str(Path(path).expanduser())
    if not (Path(path) / 'metadata.yaml').is_file():
        raise RuntimeError(f'{path} is no rosbag2 folder: it has no metadata.yaml')
    # Unlike `ros2 bag play` it waits until the node has its network and listens.
    return Node(
        package=PACKAGE, executable='replay_bag', output='screen',
        arguments=[path, '--clock', '--wait-for-subscribers', BAG_PATIENCE])


def _camera_tf(optical_frame: str, sim_time: bool) -> Node:
    from depth_perception.ros.messages import scan_frame

    if scan_frame(optical_frame) == optical_frame:
        raise RuntimeError(f'camera_tf:=true needs an optical frame, {optical_frame} is none')
    return Node(
        package='tf2_ros', executable='static_transform_publisher', name='camera_tf', output='log',
        # From x forward, z up to z forward, y down (REP 103).
        arguments=['--roll', '-1.5707963', '--yaw', '-1.5707963',
                   '--frame-id', scan_frame(optical_frame), '--child-frame-id', optical_frame],
        parameters=[{'use_sim_time': sim_time}])


def _rviz(given: dict[str, str], sim_time: bool) -> Node:
    if not shutil.which('rviz2'):
        raise RuntimeError('rviz:=true needs RViz: sudo apt install ros-$ROS_DISTRO-rviz2')
    return Node(
        package='rviz2', executable='rviz2', name='rviz', namespace=_namespaces(given)[0],
        output='log', arguments=['-d', _rviz_config(given), '-f', given['frame']],
        parameters=[{'use_sim_time': sim_time}])


def _rviz_config(given: dict[str, str]) -> str:
    """rviz/depth.rviz with the topics of this launch, of its first camera, as a temporary file.

    Remappings would not do: RViz takes an image's transport from the name that it was given.
    """
    names = {RVIZ_IMAGE: given['image'], RVIZ_SCAN: given['scan']}
    config = yaml.safe_load((SHARE / 'rviz' / 'depth.rviz').read_text())
    for display in config['Visualization Manager']['Displays']:
        if topic := display.get('Topic'):
            name = names.get(topic['Value'], topic['Value'].lstrip('/'))
            topic['Value'] = make_namespace_absolute(
                prefix_namespace(_namespaces(given)[0] or None, name))
    with tempfile.NamedTemporaryFile('w', suffix='.rviz', delete=False) as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return file.name
