# SPDX-License-Identifier: Apache-2.0
"""The command lines of the launch files, with every argument, in a plain ROS 2 installation.

Scripts stand for the commands and write down how they were called. Skipped where launch is missing:
it comes with a ROS 2 installation.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

for _name in ('launch', 'launch_ros'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )
pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rosbags.rosbag2 import StoragePlugin

from depth_perception.ros.conversions.messages import scan_frame
from test.support import bags
from test.support.bags import START, append_topics, write_bag
from test.support.launch import PATIENCE, ROOT, Launched, offer_command
from test.support.ros import picture, wait_until

NUSCENES = '/CAM_FRONT/image_rect_compressed'


@pytest.fixture
def commands(tmp_path, monkeypatch) -> Path:
    """A folder into which each command writes its words, one a line."""
    listing = f'PYTHONPATH={ROOT}:$PYTHONPATH exec {sys.executable} -m '
    listing += 'depth_perception.ros.replay.replay_bag'
    prefixes = []
    for package, names in (
        ('depth_perception', ('depth_node', 'replay_bag', 'replay_check')),
        ('rviz2', ('rviz2',)),
        ('tf2_ros', ('static_transform_publisher',)),
    ):
        for name in names:
            script = tmp_path / name
            script.write_text(
                f'#!/bin/sh\ncase "$*" in *--list*) {listing} "$@";; esac\n'
                f'printf "%s\\n" "$@" > {tmp_path}/{name}.words\n'
            )
            script.chmod(0o755)
        prefixes.append(str(offer_command(package, *(tmp_path / name for name in names))))
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(prefixes))
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    return tmp_path


@pytest.fixture
def bag(tmp_path) -> Path:
    """Write a bag with a raw camera, a compressed one with an unusual name, and unused topics."""
    plain = write_bag(
        tmp_path / 'bag', [picture(i) for i in range(2)], storage=StoragePlugin.MCAP, jpeg=False
    )
    jpeg = bags.STORE.serialize_cdr(bags.compressed(START, picture()), bags.COMPRESSED)
    raw = bags.STORE.serialize_cdr(bags.image(START, picture()), bags.IMAGE)
    info = bags.STORE.serialize_cdr(bags.info(START, 80, 60), bags.INFO)
    return append_topics(
        plain,
        [
            (NUSCENES, bags.COMPRESSED, START, jpeg),
            ('/CAM_FRONT/camera_info', bags.INFO, START, info),
            ('/both/image/compressed', bags.COMPRESSED, START, jpeg),
            ('/infra1/image_raw', bags.IMAGE, START, raw),
        ],
    )


def launched(launch_file: str, **arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'test.support.launch',
            launch_file,
            *(f'{name}:={value}' for name, value in arguments.items()),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def words(commands: Path, name: str) -> list[str]:
    return (commands / f'{name}.words').read_text().splitlines()


def remaps(commands: Path) -> dict[str, str]:
    said = words(commands, 'depth_node')
    return dict(said[at + 1].split(':=') for at, word in enumerate(said) if word == '-r')


def overrides(commands: Path) -> dict[str, object]:
    """The parameters that the launch file itself sets: in the last file."""
    said = words(commands, 'depth_node')
    files = [said[at + 1] for at, word in enumerate(said) if word == '--params-file']
    assert Path(files[0]).name == 'depth.yaml' and len(files) == 2
    return next(iter(yaml.safe_load(Path(files[1]).read_text()).values()))['ros__parameters']


# A plain ROS 2.

EVERYTHING = {
    'depth.launch.py': {
        'image': '/camera/image_raw',
        'image_transport': 'raw',
        'camera_info': '/camera/camera_info',
        'namespace': 'robot',
        'model': 'a.safetensors',
        'device': 'cpu',
        'scan': 'obstacles',
        'base_frame': 'base_footprint',
        'camera_pitch': '10',
        'camera_height': '0.5',
        'image_sizes': '640x480',
        'max_age': '1',
        'anchors': 'scan=/scan,floor',
        'output_queue': '5',
        'use_sim_time': 'True',
        'respawn': 'True',
        'rate': '2',
        'loop': 'True',
        'rviz': 'true',
        'frame': 'lens_optical_frame',
        'camera_tf': 'true',
        'log_level': 'debug',
    },
    'replay.launch.py': {
        'image': NUSCENES,
        'camera_info': '/CAM_FRONT/camera_info',
        'rate': '20',
        'lockstep': 'true',
        'expect': 'all',
        'record': 'outputs',
        'report': 'report.json',
        'namespace': 'robot',
        'model': 'a.safetensors',
        'device': 'cpu',
        'scan': 'obstacles',
        'base_frame': 'base_footprint',
        'camera_pitch': '10',
        'camera_height': '0.5',
        'log_level': 'debug',
    },
    'depth_image_proc.launch.py': {
        'image': '/camera/image_raw',
        'namespace': 'robot',
        'image_queue': '20',
        'use_sim_time': 'True',
    },
}


@pytest.mark.parametrize('launch_file', EVERYTHING)
def test_a_launch_file_works_in_a_plain_ros_installation(commands, bag, launch_file):
    arguments = {
        **EVERYTHING[launch_file],
        'params_file': ROOT / 'config' / 'depth.yaml',
        'bag': bag,
    }
    variants = [arguments]
    if launch_file == 'depth.launch.py':
        assert {
            a.name for a in runpy.run_path(str(ROOT / 'launch' / launch_file))['ARGUMENTS']
        } == arguments.keys() | {'cameras'}
        variants.append(
            {
                **arguments,
                'cameras': 'front,rear',
                'image': 'image',
                'bag': '',
                'camera_info': 'info',
            }
        )
    for variant in variants:
        shown = subprocess.run(
            [
                sys.executable,
                '-m',
                'test.support.plain_ros',
                ROOT / 'launch' / launch_file,
                *(f'{name}:={value}' for name, value in variant.items()),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert shown.returncode == 0, shown.stderr
        assert 'Node depth_node' in shown.stdout, shown.stdout


def test_the_launch_file_names_the_frame_of_the_scan_as_the_node_does():
    forward_frame = runpy.run_path(str(ROOT / 'launch' / 'depth.launch.py'))['forward_frame']
    for frame in ('camera_optical_frame', 'a_frame_optical', 'b_optical_link', 'c_optical', 'd'):
        assert forward_frame(frame) == scan_frame(frame)


# Arguments become command lines.


def test_anchors_become_a_parameter_and_remappings(commands):
    result = launched(
        'depth.launch.py',
        image='/cam/image_raw',
        namespace='robot',
        anchors='scan=/scan, floor,depth=/tof/depth/image_rect,range',
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert overrides(commands)['anchors'] == 'scan,floor,depth,range'
    assert {name: topic for name, topic in remaps(commands).items() if 'anchors' in name} == {
        'anchors/scan': '/scan',
        'anchors/depth': '/tof/depth/image_rect',
        'anchors/depth/camera_info': '/tof/depth/camera_info',
    }


@pytest.mark.parametrize('true', ['true', 'True'])
def test_arguments_become_parameters_and_remappings(commands, true):
    result = launched(
        'depth.launch.py',
        image='/cam/image_raw',
        base_frame='base_footprint',
        camera_pitch=10,
        camera_height=0.5,
        max_age=0,
        use_sim_time=true,
        camera_tf=true,
        namespace='robot',
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert overrides(commands) == {
        'use_sim_time': True,
        'base_frame': 'base_footprint',
        'camera_pitch': 10.0,
        'camera_height': 0.5,
        'max_age': 0.0,
    }
    assert remaps(commands)['image'] == '/cam/image_raw'
    assert remaps(commands)['camera_info'] == '/cam/camera_info'
    assert 'camera_frame' in words(commands, 'static_transform_publisher')


def test_a_file_that_includes_the_launch_file_passes_what_nav2_writes(commands, tmp_path):
    including = ROOT / 'launch' / 'depth.launch.py'
    (tmp_path / 'robot.launch.py').write_text(f"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import PushRosNamespace, SetRemap


def generate_launch_description():
    sim_time = LaunchConfiguration('use_sim_time')
    return LaunchDescription([
        DeclareLaunchArgument('use_sim_time', default_value='True'),
        GroupAction([
            PushRosNamespace('robot'),
            SetRemap('/tf', 'tf'), SetRemap('/tf_static', 'tf_static'),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource('{including}'),
                launch_arguments=[('use_sim_time', sim_time), ('base_frame', 'base_link')])])])
""")
    result = launched(tmp_path / 'robot.launch.py')
    assert result.returncode == 0, result.stdout + result.stderr
    assert overrides(commands) == {'use_sim_time': True, 'base_frame': 'base_link'}
    assert '__ns:=/robot' in words(commands, 'depth_node')
    assert remaps(commands)['/tf'] == 'tf' and remaps(commands)['/tf_static'] == 'tf_static'


def test_respawn_starts_the_node_again(commands):
    with Launched('depth.launch.py', respawn='true') as node:
        wait_until(lambda: node.output().count('depth_node-1]: process started') == 2, PATIENCE)
        node.interrupt()
        assert node.wait() == 0, node.output()


@pytest.mark.parametrize(
    ('arguments', 'image', 'transport'),
    [
        ({'image': 'cam/image_raw'}, 'cam/image_raw', None),
        ({'image': 'cam/image_raw/compressed'}, 'cam/image_raw/compressed', 'compressed'),
        ({'image': NUSCENES}, NUSCENES, 'compressed'),
        ({'image': 'cam/jpeg', 'image_transport': 'compressed'}, 'cam/jpeg', 'compressed'),
        ({'image': 'cam/uncompressed', 'image_transport': 'raw'}, 'cam/uncompressed', 'raw'),
    ],
)
def test_the_transport_follows_the_topic_or_the_argument(commands, arguments, image, transport):
    result = launched('depth.launch.py', **arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert overrides(commands).get('image_transport') == transport
    place = remaps(commands)
    if transport == 'compressed':
        assert place['image/compressed'] == image
    else:
        assert place['image'] == image
    parent = image.removesuffix('/compressed').rpartition('/')[0]
    assert place['camera_info'] == f'{parent}/camera_info'


@pytest.mark.parametrize(
    ('arguments', 'image', 'transport', 'info'),
    [
        ({}, '/camera/image_raw', 'raw', '/camera/camera_info'),
        ({'image': NUSCENES}, NUSCENES, 'compressed', '/CAM_FRONT/camera_info'),
        ({'image': '/both/image'}, '/both/image/compressed', 'compressed', '/both/camera_info'),
    ],
)
def test_a_bag_sets_the_transport_and_the_replay_waits_for_the_node_s_topics(
    commands, bag, arguments, image, transport, info
):
    result = launched('depth.launch.py', bag=bag, rate=3, loop='true', **arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    said = words(commands, 'replay_bag')
    assert said[said.index('--rate') + 1] == '3' and '--loop' in said
    awaited = [image, *([info] if not info.startswith('/both') else [])]
    assert said[said.index('--wait-for') + 1 :][: len(awaited)] == awaited
    given = overrides(commands)
    assert given == {'use_sim_time': True, 'image_transport': transport, 'image_sizes': '80x60'}
    place = remaps(commands)
    topic = place['image/compressed' if transport == 'compressed' else 'image']
    assert f'/{topic.lstrip("/")}' == image and place['camera_info'] == info


def test_a_replay_decides_by_the_bag_and_keeps_the_outputs_of_another_run_out(commands, bag):
    result = launched('replay.launch.py', bag=bag, image=NUSCENES, namespace='robot')
    assert result.returncode == 1  # depth_node ended before the replay did
    given = overrides(commands)
    queues = {name: given.pop(name) for name in list(given) if name.startswith('qos_overrides')}
    assert given == {
        'use_sim_time': True,
        'image_transport': 'compressed',
        'image_sizes': '80x60',
        'max_age': 0.0,
    }
    assert len(queues) == 7 and queues['qos_overrides./robot/scan.publisher.depth'] == 10
    said = words(commands, 'replay_bag')
    assert said[said.index('--wait-for') + 1 :][:2] == [NUSCENES, '/CAM_FRONT/camera_info']
    assert said[said.index('--wait-for-nodes') + 1] == '/robot/replay_check'
    assert said[said.index('--lockstep') + 1 :][:2] == [NUSCENES, '/robot/depth/image']
    for topic in ('/robot/depth/image', '/robot/scan', '/diagnostics'):
        assert topic in said[said.index('--exclude') + 1 :]
    judge = words(commands, 'replay_check')
    assert judge[judge.index('--camera-info') + 1] == '/CAM_FRONT/camera_info'


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ({'bag': 'nothing'}, 'there is no bag nothing'),
        ({'image': '/nope', 'bag': 'BAG'}, 'has no camera images on /nope; it has them on /camera'),
        (
            {'cameras': 'CAM_FRONT,both', 'image': 'image', 'bag': 'BAG'},
            'has no camera images on /CAM_FRONT/image',
        ),
        ({'params_file': 'my.yaml'}, 'params_file:=my.yaml: there is no such file'),
        ({'camera_pitch': 'steep'}, 'camera_pitch:=steep is not a number'),
        ({'use_sim_time': 'maybe'}, 'maybe'),
        ({'camera_tf': 'true', 'frame': 'lens'}, 'needs an optical frame'),
    ],
)
def test_unusable_arguments_give_one_sentence(commands, bag, arguments, text):
    result = launched(
        'depth.launch.py',
        **{name: bag if value == 'BAG' else value for name, value in arguments.items()},
    )
    assert result.returncode == 1 and text in result.stdout + result.stderr
    assert not (commands / 'depth_node.words').exists()


def test_tilde_is_expanded_in_every_path(commands, bag, monkeypatch):
    home = commands / 'home'
    shutil.copytree(bag, home / 'bag')
    shutil.copy(ROOT / 'config' / 'depth.yaml', home / 'depth.yaml')
    monkeypatch.setenv('HOME', str(home))
    result = launched(
        'depth.launch.py', bag='~/bag', params_file='~/depth.yaml', model='~/my.safetensors'
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert words(commands, 'replay_bag')[0] == str(home / 'bag')
    assert overrides(commands)['model_file'] == str(home / 'my.safetensors')
