# SPDX-License-Identifier: Apache-2.0
"""Depth, point cloud and obstacle scan of one camera.

ros2 launch depth_perception depth.launch.py image:=/camera/image_raw rviz:=true
ros2 launch depth_perception depth.launch.py --show-args
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

# `ros2 launch` runs the system's Python, which may lack the packages of the node's Python.
import yaml
from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

PACKAGE = 'depth_perception'
SHARE = Path(__file__).resolve().parents[1]
COMPRESSED = '/compressed'
#: Switch values, as written in YAML and by Nav2's launch files.
SWITCH = ['true', 'false', 'True', 'False']
#: Seconds that a bag waits for the node to load its network.
BAG_PATIENCE = '300'
#: Seconds until a node that ended is started again, with respawn.
RESPAWN_DELAY = 2.0

#: Outputs of the node except the scan.
OUTPUTS = (
    'depth/image',
    'depth/camera_info',
    'depth/points',
    'depth/image_color',
    'depth/image/compressedDepth',
    'depth/image_color/compressed',
    'depth/confidence',
)
#: Names in rviz/depth.rviz of the topics that are arguments.
RVIZ_IMAGE, RVIZ_SCAN = '/camera/image_raw', '/scan'

ARGUMENTS = (
    DeclareLaunchArgument(
        'image', default_value='camera/image_raw', description='Topic of the camera images.'
    ),
    DeclareLaunchArgument(
        'image_transport',
        default_value='auto',
        choices=['auto', 'raw', 'compressed'],
        description='Type of the topic `image`: raw is sensor_msgs/Image, compressed is '
        'CompressedImage. auto: as in the bag, otherwise compressed if the name ends '
        'in compressed, otherwise as in params_file.',
    ),
    DeclareLaunchArgument(
        'camera_info',
        default_value='',
        description="Topic of the camera's calibration. Empty: camera_info next to the images.",
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='Namespace of the node and of its relative topics, such as front.',
    ),
    DeclareLaunchArgument(
        'cameras',
        default_value='',
        description='Several cameras, such as front,rear, in one process with one network. Each '
        'name is a namespace inside `namespace`, which also applies to image, '
        'camera_info and scan. Empty: one camera.',
    ),
    DeclareLaunchArgument(
        'model',
        default_value='',
        description='Weights file (.safetensors). Empty: as in params_file, by default the bundled '
        'network.',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        description='Where the network runs: auto, cpu, cuda or cuda:N. Empty: as in params_file.',
    ),
    DeclareLaunchArgument(
        'image_sizes',
        default_value='',
        description='Image sizes, such as 1280x720, for which OpenVINO compiles the network at '
        'start. Empty: that of the bag, otherwise as in params_file.',
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'depth.yaml'),
        description='YAML file with the parameters of the node.',
    ),
    DeclareLaunchArgument(
        'scan',
        default_value='scan',
        description='Topic of the obstacle scan. Use another name if a lidar has this one.',
    ),
    DeclareLaunchArgument(
        'base_frame',
        default_value='',
        description='Frame on the floor with z up, such as base_footprint: TF from the camera to '
        'it gives the pose of the camera. Empty: as in params_file.',
    ),
    DeclareLaunchArgument(
        'camera_pitch',
        default_value='',
        description='Degrees by which the camera looks down, without base_frame. Empty: as in '
        'params_file.',
    ),
    DeclareLaunchArgument(
        'camera_height',
        default_value='',
        description='Height of the camera above the floor in metres. Empty: as in params_file.',
    ),
    DeclareLaunchArgument(
        'anchors',
        default_value='',
        description='What corrects depth by true distances: a list of scan, range, points, depth '
        'and floor, a sensor with its topic, such as scan=/scan,floor. Empty: as in '
        'params_file.',
    ),
    DeclareLaunchArgument(
        'max_age',
        default_value='',
        description='Images older than this many seconds are dropped; 0 keeps all. Empty: as in '
        'params_file.',
    ),
    DeclareLaunchArgument(
        'output_queue',
        default_value='',
        description='Messages of an output that are kept for a slow subscriber. Empty: as in '
        'params_file, by default only the newest.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='false',
        choices=SWITCH,
        description='Take the time from /clock. Always true with bag.',
    ),
    DeclareLaunchArgument(
        'respawn',
        default_value='false',
        choices=SWITCH,
        description='Start the node again when its process ends.',
    ),
    DeclareLaunchArgument(
        'bag',
        default_value='',
        description='Recording to play, with /clock: a rosbag2 folder, or its .mcap or .db3 file. '
        'Empty: live camera.',
    ),
    DeclareLaunchArgument(
        'rate', default_value='1.0', description='Speed of the bag: 2 plays twice as fast.'
    ),
    DeclareLaunchArgument(
        'loop', default_value='false', choices=SWITCH, description='Play the bag again and again.'
    ),
    DeclareLaunchArgument(
        'rviz',
        default_value='false',
        choices=SWITCH,
        description='Show camera, depth, cloud and scan in RViz.',
    ),
    DeclareLaunchArgument(
        'frame',
        default_value='camera_optical_frame',
        description='frame_id of the images, an optical frame; used as the fixed frame of RViz.',
    ),
    DeclareLaunchArgument(
        'camera_tf',
        default_value='false',
        choices=SWITCH,
        description='Publish the transform from the frame of the scan to the frame of the images, '
        'for a camera without a robot description.',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Lowest level that the node logs.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Return everything that `ros2 launch` starts."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS
    }
    if given['cameras']:
        _refuse_absolute(given)
    bag = bag_contents(given['bag']) if given['bag'] else None
    image, compressed = _image(given, bag)
    given['image'] = image
    sim_time = bag is not None or is_on(given['use_sim_time'])
    inputs = _inputs(given, compressed, bag)
    if bag is not None and not given['image_sizes']:
        given['image_sizes'] = _sizes_of_bag(given, bag)
    actions: list[Action] = [_depth_node(given, inputs, compressed, sim_time)]
    if bag is not None:
        actions.append(_bag(given, inputs['camera_info'], bag))
    if is_on(given['camera_tf']):
        actions.append(_camera_tf(given['frame'], sim_time))
    if is_on(given['rviz']):
        actions.append(_rviz(given, sim_time))
        if remark := scan_remark(given):
            actions.append(LogInfo(msg=remark))
    return actions


def is_on(switch: str) -> bool:
    """Return whether an argument with the choices SWITCH is true."""
    return switch.lower() == 'true'


def bag_contents(path: str) -> dict[str, Any]:
    """Return a bag's cameras by image topic, and all topics; see `replay_bag --list`.

    Another process reads the recording, because the Python of `ros2 launch` may lack rosbags.
    """
    command = Path(get_package_prefix(PACKAGE), 'lib', PACKAGE, 'replay_bag')
    shown = subprocess.run(
        [command, str(Path(path).expanduser()), '--list'], capture_output=True, text=True
    )
    if shown.returncode:
        said = shown.stderr.strip().splitlines() or [f'replay_bag ended with {shown.returncode}']
        raise RuntimeError(said[-1])
    return json.loads(shown.stdout)


def _depth_node(
    given: dict[str, str], inputs: dict[str, str], compressed: bool | None, sim_time: bool
) -> Node:
    several = bool(given['cameras'])
    return Node(
        package=PACKAGE,
        executable='depth_node',
        output='screen',
        namespace=given['namespace'],
        # With a name, launch would apply the overrides to only one of several nodes.
        name=None if several else 'depth_node',
        arguments=['--cameras', given['cameras']] if several else [],
        parameters=[_params_file(given), _overrides(given, compressed, sim_time)],
        remappings=[*inputs.items(), ('scan', given['scan']), *_anchor_topics(given).items()],
        respawn=is_on(given['respawn']),
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=[
            word
            for logger in _loggers(given)
            for word in ('--log-level', f'{logger}:={given["log_level"]}')
        ],
    )


def _refuse_absolute(given: dict[str, str]) -> None:
    for name in ('image', 'camera_info', 'scan'):
        if given[name].startswith('/'):
            raise RuntimeError(
                f'{name}:={given[name]} would be the same for all cameras: name it '
                'without the leading /, relative to the name of each camera'
            )


def _namespaces(given: dict[str, str]) -> list[str]:
    """Return the namespaces of the nodes, without the leading /."""
    names = [name.strip() for name in given['cameras'].split(',')]
    return [f'{given["namespace"].strip("/")}/{name}'.strip('/') for name in names]


def _full_names(given: dict[str, str], topic: str) -> list[str]:
    """Return the full names of a topic of each node."""
    return [
        make_namespace_absolute(prefix_namespace(namespace or None, topic))
        for namespace in _namespaces(given)
    ]


def _loggers(given: dict[str, str]) -> list[str]:
    return [
        f'{namespace}/depth_node'.strip('/').replace('/', '.') for namespace in _namespaces(given)
    ]


def _params_file(given: dict[str, str]) -> str:
    path = Path(given['params_file']).expanduser()
    if not path.is_file():
        raise RuntimeError(f'params_file:={given["params_file"]}: there is no such file')
    return str(path)


def _overrides(given: dict[str, str], compressed: bool | None, sim_time: bool) -> dict[str, Any]:
    """Return the parameters for the given arguments; the others are in params_file."""
    overrides: dict[str, Any] = {'use_sim_time': sim_time}
    if given['model']:
        overrides['model_file'] = str(Path(given['model']).expanduser().absolute())
    if compressed is not None:
        overrides['image_transport'] = 'compressed' if compressed else 'raw'
    overrides |= {
        name: given[name] for name in ('device', 'base_frame', 'image_sizes') if given[name]
    }
    if given['anchors']:
        overrides['anchors'] = ','.join(_anchors(given))
    overrides |= {
        name: _number(given, name)
        for name in ('camera_pitch', 'camera_height', 'max_age')
        if given[name]
    }
    if given['output_queue']:
        queue = {'publisher': {'depth': int(_number(given, 'output_queue'))}}
        overrides['qos_overrides'] = {
            name: queue
            for output in (*OUTPUTS, given['scan'])
            for name in _full_names(given, output)
        }
    return overrides


def _anchors(given: dict[str, str]) -> dict[str, str]:
    """The topic of each source that corrects depth; '' where none was given."""
    words = [word.strip().partition('=') for word in given['anchors'].split(',') if word.strip()]
    return {name.strip(): topic.strip() for name, _, topic in words}


def _anchor_topics(given: dict[str, str]) -> dict[str, str]:
    """Return the remappings; the calibration of a depth camera is next to its images."""
    topics = {f'anchors/{name}': topic for name, topic in _anchors(given).items() if topic}
    if 'anchors/depth' in topics:
        beside = topics['anchors/depth'].rpartition('/')[0]
        topics['anchors/depth/camera_info'] = f'{beside}/camera_info'
    return topics


def _number(given: dict[str, str], name: str) -> float:
    try:
        return float(given[name])
    except ValueError:
        raise RuntimeError(f'{name}:={given[name]} is not a number') from None


def _image(given: dict[str, str], bag: dict[str, Any] | None) -> tuple[str, bool | None]:
    """Return the image topic, and whether it is compressed; None means as in params_file."""
    image, transport = given['image'], given['image_transport']
    if bag is not None:
        image, compressed = _image_of_bag(given, bag['cameras'])
    elif image.endswith('compressed'):
        compressed = True
    else:
        compressed = None
    return image, compressed if transport == 'auto' else transport == 'compressed'


def _image_of_bag(given: dict[str, str], cameras: dict[str, Any]) -> tuple[str, bool]:
    for image in (given['image'], given['image'] + COMPRESSED):
        names = _full_names(given, image)
        if all(name in cameras for name in names):
            kinds = {cameras[name]['compressed'] for name in names}
            if len(kinds) > 1:
                raise RuntimeError(
                    f'{" and ".join(names)} of the bag are only partly compressed: '
                    'play one camera at a time'
                )
            return image, kinds.pop()
    missing = next(name for name in _full_names(given, given['image']) if name not in cameras)
    raise RuntimeError(
        f'bag {given["bag"]} has no camera images on {missing}; it has them on '
        f'{", ".join(cameras)}: image:=TOPIC chooses'
    )


def _sizes_of_bag(given: dict[str, str], bag: dict[str, Any]) -> str:
    sizes = (bag['cameras'][name]['size'] for name in _full_names(given, given['image']))
    return ','.join(dict.fromkeys(filter(None, sizes)))


def _inputs(
    given: dict[str, str], compressed: bool | None, bag: dict[str, Any] | None
) -> dict[str, str]:
    """Return the remappings of the inputs."""
    image = given['image'] if compressed is False else given['image'].removesuffix(COMPRESSED)
    topic = given['image'] if compressed else image + COMPRESSED
    parent, slash, _ = image.rpartition('/')
    info = given['camera_info']
    if not info and bag is not None and not given['cameras']:
        info = bag['cameras'][_full_names(given, given['image'])[0]]['camera_info']
    return {
        'image': image,
        f'image{COMPRESSED}': topic,
        'camera_info': info or f'{parent}{slash}camera_info',
    }


def _bag(given: dict[str, str], camera_info: str, bag: dict[str, Any]) -> Action:
    """Play the bag; unlike `ros2 bag play`, wait until the node has loaded and subscribed."""
    subscribed = [
        *_full_names(given, given['image']),
        *(name for name in _full_names(given, camera_info) if name in bag['topics']),
    ]
    return Node(
        package=PACKAGE,
        executable='replay_bag',
        output='screen',
        arguments=[
            str(Path(given['bag']).expanduser()),
            '--clock',
            '--rate',
            given['rate'],
            *(['--loop'] if is_on(given['loop']) else []),
            '--wait-for-subscribers',
            BAG_PATIENCE,
            '--wait-for',
            *subscribed,
        ],
    )


def _camera_tf(optical_frame: str, sim_time: bool) -> Node:
    forward = forward_frame(optical_frame)
    if forward == optical_frame:
        raise RuntimeError(f'camera_tf:=true needs an optical frame, but {optical_frame} is not')
    return Node(
        package='tf2_ros',
        executable='static_transform_publisher',
        name='camera_tf',
        output='log',
        # From x forward, z up to z forward, y down (REP 103).
        arguments=[
            '--roll',
            '-1.5707963',
            '--yaw',
            '-1.5707963',
            '--frame-id',
            forward,
            '--child-frame-id',
            optical_frame,
        ],
        parameters=[{'use_sim_time': sim_time}],
    )


def forward_frame(optical_frame: str) -> str:
    """Return the scan's frame, like `scan_frame` in depth_perception/ros/conversions/messages.py.

    That module cannot be imported here, because it may not be installed in this Python.
    """
    for old, new in (
        ('_optical_frame', '_frame'),
        ('_frame_optical', '_frame'),
        ('_optical_link', '_link'),
        ('_optical', ''),
    ):
        if optical_frame.endswith(old):
            return optical_frame[: -len(old)] + new
    return optical_frame


def scan_remark(given: dict[str, str]) -> str:
    """Return what RViz also needs to show the scan, or ''."""
    forward = forward_frame(given['frame'])
    if (
        is_on(given['camera_tf'])
        or given['base_frame']
        or is_tilted(given)
        or forward == given['frame']
    ):
        return ''
    return (
        f'RViz shows the scan where TF connects {forward} with {given["frame"]}, as a robot '
        'description does; for a camera alone: camera_tf:=true'
    )


def is_tilted(given: dict[str, str]) -> bool:
    """Whether the node publishes the frame of the scan itself, below that of the images."""
    return bool(given['camera_pitch']) and _number(given, 'camera_pitch') != 0


def floor(given: dict[str, str]) -> dict[str, Any]:
    """What changes of the grid where it is known how the camera stands; see REP 103."""
    height = _number(given, 'camera_height') if given['camera_height'] else 0.0
    if given['base_frame']:
        frame, plane, offset = given['base_frame'], 'XY', (0.0, 0.0, 0.0)
    elif height <= 0:
        return {}
    elif is_tilted(given):
        frame, plane, offset = level_frame(given['frame']), 'XY', (0.0, 0.0, -height)
    else:
        frame, plane, offset = given['frame'], 'XZ', (0.0, height, 0.0)
    return {
        'Name': 'Floor',
        'Reference Frame': frame,
        'Plane': plane,
        'Offset': dict(zip('XYZ', offset)),
    }


def level_frame(optical_frame: str) -> str:
    """The frame of a tilted camera's scan, as `level_frame` in ros/conversions/messages.py."""
    stem = forward_frame(optical_frame)
    for ending in ('_frame', '_link'):
        if stem.endswith(ending):
            return f'{stem[: -len(ending)]}_level{ending}'
    return f'{stem}_level'


def _rviz(given: dict[str, str], sim_time: bool) -> Node:
    if not shutil.which('rviz2'):
        raise RuntimeError('rviz:=true needs RViz: sudo apt install ros-$ROS_DISTRO-rviz2')
    return Node(
        package='rviz2',
        executable='rviz2',
        name='rviz',
        namespace=_namespaces(given)[0],
        output='log',
        arguments=['-d', _rviz_config(given), '-f', given['frame']],
        parameters=[{'use_sim_time': sim_time}],
    )


def _rviz_config(given: dict[str, str]) -> str:
    """Write rviz/depth.rviz with the topics of the first camera to a temporary file.

    Remappings do not suffice, because RViz derives the image transport from the configured name.
    """
    names = {RVIZ_IMAGE: given['image'], RVIZ_SCAN: given['scan']}
    config = yaml.safe_load((SHARE / 'rviz' / 'depth.rviz').read_text())
    for display in config['Visualization Manager']['Displays']:
        if display['Class'] == 'rviz_default_plugins/Grid':
            display.update(floor(given))
        if topic := display.get('Topic'):
            name = names.get(topic['Value'], topic['Value'].lstrip('/'))
            topic['Value'] = _full_names(given, name)[0]
    with tempfile.NamedTemporaryFile('w', suffix='.rviz', delete=False) as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return file.name
