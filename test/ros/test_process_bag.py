# SPDX-License-Identifier: Apache-2.0
"""process_bag: what the node would have published, complete even if it was killed often."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rclpy.serialization import deserialize_message, serialize_message
from rclpy.time import Time
from rosbags.rosbag2 import StoragePlugin
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_perception.io.bag import Bag, BagError, Message
from depth_perception.io.bag_parts import BagParts
from depth_perception.io.bag_writer import canonical, serialized_rotation
from depth_perception.ros.conversions.messages import cloud_message
from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.topics import DEPTH_PNG, OUTPUTS
from depth_perception.ros.offline.process_bag import main
from test.support import bags
from test.support.bags import START, append_topics, write_bag
from test.support.ros import COMPRESSED, OPTIONAL, TYPES, picture, running_node, wait_until

ROOT = Path(__file__).parents[2]
IMAGE, INFO, ZONES = '/camera/image_raw', '/camera/camera_info', '/zones'
FRAMES = 7


def zones(stamp: int, metres: float) -> PointCloud2:
    """Return points of a wall in front of the camera."""
    x, y = np.meshgrid(np.linspace(-0.3, 0.3, 4), np.linspace(-0.3, 0.3, 4))
    points = metres * np.stack([x, y, np.ones_like(x), x], -1).astype(np.float32)
    header = Header(frame_id='camera_optical_frame', stamp=Time(nanoseconds=stamp).to_msg())
    return cloud_message(points, header, False)


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    """Return a bag of a camera and, next to it, a sensor that measures 4 x 4 distances."""
    folder = tmp_path_factory.mktemp('recording')
    pictures = [np.roll(picture(1), shift, 1) for shift in range(FRAMES)]  # the same place
    plain = write_bag(folder / 'bag', pictures, storage=StoragePlugin.MCAP, jpeg=False)
    messages = [
        (
            '/tf_static',
            bags.TF,
            START - 2,
            bags.transform(START, 'camera_optical_frame', 'camera_frame'),
        )
    ]
    for number in range(FRAMES - 3):  # then the sensor fails, and the correction fades
        stamp = START + round(number * 1e9 / 20)
        messages.append(
            (
                ZONES,
                'sensor_msgs/msg/PointCloud2',
                stamp - 1,
                serialize_message(zones(stamp, 2 + 0.1 * number)),
            )
        )
    return append_topics(plain, messages)


SETTINGS = {
    'smoothed, pitched': {'temporal_smoothing': 0.6, 'camera_pitch': 5.0, 'camera_height': 0.6},
    'anchored': {'anchors': 'points', 'anchor_max_age': 0.01, 'anchor_hold': 5.0},
}


def words(bag: Path, out: Path, weights: Path, settings: dict, *more: str) -> list[str]:
    given = {**settings, 'model_file': str(weights), 'device': 'cpu', 'backend': 'torch'}
    return [
        str(bag),
        str(out),
        '--outputs',
        *OUTPUTS,
        *(f'-p{name}:={value}' for name, value in given.items()),
        '-r',
        f'anchors/points:={ZONES}',
        *more,
    ]


def contents(path: Path) -> dict[str, list[bytes]]:
    with Bag(path) as bag:
        return {topic: [message.data for message in bag.messages([topic])] for topic in bag.topics}


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS)
def test_the_new_bag_has_what_the_node_publishes_bit_for_bit(
    namespace, robot, weights_file, bag, tmp_path, settings
):
    arguments = tuple(
        f'{name}:={value}'
        for name, value in {
            'model_file': weights_file,
            'device': 'cpu',
            'backend': 'torch',
            'max_age': 0.0,
            **settings,
        }.items()
    )
    sensor = robot.node.create_publisher(PointCloud2, 'anchors/points', 10)
    with running_node(
        namespace, arguments=tuple(word for argument in arguments for word in ('-p', argument))
    ) as node:
        robot.listen(*TYPES, *COMPRESSED, *OPTIONAL)
        camera = robot.camera()
        with Bag(bag) as recording:
            infos = {
                serialized_stamp(message.data): deserialize_message(message.data, CameraInfo)
                for message in recording.messages([INFO])
            }
            for count, message in enumerate(recording.messages([IMAGE]), 1):
                zones_before(recording, message, sensor, node._parts.anchors)
                image = deserialize_message(message.data, Image)
                camera.send(image, infos[serialized_stamp(message.data)], header=image.header)
                for topic in (*TYPES, *COMPRESSED):
                    robot.wait_for(topic, count)
    assert (
        main(
            words(
                bag,
                tmp_path / 'out',
                weights_file,
                settings,
                '-r',
                f'__ns:={namespace}',
                '--frames-per-file',
                '3',
                '--copy',
                ZONES,
            )
        )
        == 0
    )
    found = contents(tmp_path / 'out')
    for topic in OUTPUTS:
        kind = f'sensor_msgs/msg/{(TYPES | COMPRESSED | OPTIONAL)[topic].__name__}'
        published = [
            canonical(serialize_message(message), kind) for message in robot.received[topic]
        ]
        assert len(published) == FRAMES and found[f'{namespace}/{topic}'] == published, topic
    source = contents(bag)
    assert found[ZONES] == source[ZONES]
    assert found['/tf_static'][0] == source['/tf_static'][0]
    level = found['/tf_static'][1:]
    assert len(level) == ('camera_pitch' in settings)  # the level frame, only once
    if 'anchors' in settings:
        assert len({bytes(data) for data in found[f'{namespace}/depth/image']}) == FRAMES


def zones_before(recording: Bag, image: Message, sensor, anchors) -> None:
    """Publish the measurement from just before an image, until the node has it."""
    for message in recording.messages([ZONES]):
        if anchors is not None and message.time == image.time - 1:
            cloud = deserialize_message(message.data, PointCloud2)
            wait_until(
                lambda c=cloud: (
                    any(
                        kept.header == c.header
                        for frames in anchors._messages['points'].values()
                        for kept in frames
                    )
                    or sensor.publish(c)
                )
            )


KILLS = {  # the patched function, and the calls after which the process is killed
    'in the middle of a part': ('BagParts.write', 4 * 8 + 3),
    'before a part is complete': ('BagParts.commit', 1),
    'while the parts are joined': ('_joined', 0),
}


@pytest.mark.parametrize(('name', 'calls'), KILLS.values(), ids=KILLS)
def test_killed_and_started_again_it_gives_the_same_bag(weights_file, bag, tmp_path, name, calls):
    settings = {**SETTINGS['smoothed, pitched'], **SETTINGS['anchored']}
    (tmp_path / 'whole').mkdir()
    whole, out = tmp_path / 'whole' / 'out', tmp_path / 'out'
    more = ('--frames-per-file', '2')
    assert main(words(bag, whole, weights_file, settings, *more)) == 0
    killed = subprocess.run(
        [
            sys.executable,
            '-c',
            f"""
import os, signal, sys
from depth_perception.io import bag_parts
from depth_perception.ros.offline.process_bag import main
owner = bag_parts.BagParts if 'BagParts' in {name!r} else bag_parts
name = {name!r}.rpartition('.')[2]
real, left = getattr(owner, name), [{calls}]
def watched(*words):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return real(*words)
setattr(owner, name, watched)
main(sys.argv[1:])
""",
            *words(bag, out, weights_file, settings, *more),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists() and out.with_name('out.unfinished').is_dir()
    assert main(words(bag, out, weights_file, settings, *more)) == 0
    assert not out.with_name('out.unfinished').exists()
    files = sorted(file.name for file in whole.iterdir())
    assert files == sorted(file.name for file in out.iterdir()) and len(files) == 5
    for file in files:
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file


def test_what_cannot_be_done_is_one_sentence(weights_file, bag, tmp_path, capfd):
    out = tmp_path / 'out'
    (tmp_path / 'there').mkdir()
    (tmp_path / 'link').symlink_to('nowhere')
    parts = BagParts(out, {'settings': 'others'})
    with parts:
        parts.write('/a', bags.TF, 1, bags.transform(START, 'a', 'b'))
        parts.commit({}, {})
    other = tmp_path / 'other.yaml'
    other.write_text('rear:\n  depth_node:\n    ros__parameters:\n      max_depth: 5.0\n')
    for given, said in (
        (words(tmp_path / 'nothing', out, weights_file, {}), 'there is no bag'),
        (words(bag, tmp_path / 'there', weights_file, {}), 'is there already: name another'),
        (words(bag, tmp_path / 'link', weights_file, {}), 'is there already: name another'),
        (words(tmp_path / ('n' * 300), out, weights_file, {}), 'File name too long'),
        (words(bag, out, weights_file, {}), 'has the beginning of another job'),
        (words(bag, out, weights_file, {}, '-r', 'image:=/rear'), 'no camera images on /rear'),
        (words(bag, out, weights_file, {}, '-r', 'image'), 'a remapping is FROM:=TO'),
        (words(bag, out, weights_file, {}, '-r', 'imag:=/a'), 'the node has no topic imag'),
        (words(bag, out, weights_file, {}, '-p', 'max_depth:=far'), 'max_depth must be of'),
        (words(bag, out, weights_file, {}, '-p', 'max_depth'), 'a parameter is NAME:=VALUE'),
        (words(bag, out, weights_file, {}, '-p', 'min_depth:=50'), 'the network reaches'),
        (words(bag, out, weights_file, {}, '--params-file', 'no.yaml'), 'cannot be read'),
        (
            words(bag, out, weights_file, {}, '--params-file', str(other)),
            'has parameters for /rear/depth_node alone',
        ),
        (words(bag, out, weights_file, {}, '--copy', '/radar'), 'has no /radar; it has'),
        (
            words(bag, tmp_path / 'new', weights_file, {'anchors': 'range'}),
            'anchors needs /anchors/range of type sensor_msgs/msg/Range, and the bag has no',
        ),
        (words(bag, out, tmp_path / 'none', {}), 'none'),
    ):
        assert main(given) == 2
        said_all = capfd.readouterr().err
        assert said in said_all and said_all.count('\n') == 1, said_all
    assert not (tmp_path / 'new.unfinished').exists()
    with BagParts(tmp_path / 'busy', {}), pytest.raises(BagError, match='by another process'):
        BagParts(tmp_path / 'busy', {})


def test_parameters_come_from_files_and_bad_frames_are_counted(weights_file, bag, tmp_path, capfd):
    broken = bags.STORE.serialize_cdr(
        bags.compressed(START + 10**9, picture()), bags.COMPRESSED
    ).tobytes()
    packed = append_topics(
        write_bag(
            tmp_path / 'jpeg', [picture(i) for i in range(2)], storage=StoragePlugin.MCAP, jpeg=True
        ),
        [(f'{IMAGE}/compressed', bags.COMPRESSED, START + 10**9, broken[:-200] + bytes(200))],
    )
    file = tmp_path / 'robot.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    depth_encoding: 16UC1\n    max_dept: 3.0\n'
        f'    model_file: {weights_file}\n    device: cpu\n    backend: torch\n'
    )
    assert (
        main(
            [
                str(packed),
                str(tmp_path / 'out'),
                '--outputs',
                DEPTH_PNG,
                '--ros-args',
                '--params-file',
                str(file),
                '-r',
                f'image:={IMAGE}',
            ]
        )
        == 1
    )
    said = capfd.readouterr().err
    assert 'max_dept (is it max_depth?)' in said and '2 of 3 images became' in said, said
    assert '1 images gave no depth, the first: compressed image' in said, said
    with Bag(tmp_path / 'out') as made:
        assert {topic: about.count for topic, about in made.topics.items()} == {f'/{DEPTH_PNG}': 2}
        assert made.deserialize(next(made.messages([f'/{DEPTH_PNG}']))).format.startswith('16UC1')


def test_a_calibration_that_comes_after_its_image_is_found(weights_file, tmp_path):
    """A lens that zooms: every image has a different calibration."""
    plain = write_bag(
        tmp_path / 'plain',
        [picture(i) for i in range(3)],
        jpeg=False,
        storage=StoragePlugin.MCAP,
        with_info=False,
    )
    infos = []
    for number in range(3):
        stamp = START + round(number * 1e9 / 20)
        info = bags.info(stamp, 80, 60)
        info.k[0] = info.k[4] = info.p[0] = info.p[5] = 50.0 + number
        infos.append(
            (
                INFO,
                bags.INFO,
                stamp + 120_000_000,
                bags.STORE.serialize_cdr(info, bags.INFO).tobytes(),
            )
        )
    assert main(words(append_topics(plain, infos), tmp_path / 'out', weights_file, {})) == 0
    with Bag(tmp_path / 'out') as made:
        found = [
            made.deserialize(message).k[0] for message in made.messages(['/depth/camera_info'])
        ]
        assert found == [50, 51, 52] and made.topics['/depth/points'].count == 3


def test_base_frame_is_found_in_the_recording(weights_file, bag, tmp_path):
    pytest.importorskip('tf2_ros', reason='tf2_ros is not installed: it comes with ROS 2 from apt')
    # From (x forward, z up) to (z forward, y down), REP 103.
    mounted = serialized_rotation(START, 'base', 'camera_optical_frame', (-0.5, 0.5, -0.5, 0.5))
    (tmp_path / 'bag').symlink_to(bag)
    robot = append_topics(tmp_path / 'bag', [('/tf_static', bags.TF, START - 1, mounted)])
    settings = {'base_frame': 'base', 'camera_height': 0.5}
    assert main(words(robot, tmp_path / 'out', weights_file, settings)) == 0
    with Bag(tmp_path / 'out') as made:
        assert made.topics['/scan'].count == FRAMES
