# SPDX-License-Identifier: Apache-2.0
"""replay_bag as a process, with its messages sent over DDS."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rosbags.rosbag2 import StoragePlugin

from depth_perception.io.bag import Bag
from depth_perception.ros.conversions.stamps import restamped, seconds, serialized_stamp
from depth_perception.ros.replay.replay_bag import Report, _unheard, main
from test.support import bags
from test.support.bags import START, append_topics, write_bag
from test.support.ros import picture, wait_until

ROOT = Path(__file__).parents[2]
FRAMES = 10


@pytest.fixture(
    params=[
        (StoragePlugin.SQLITE3, False),
        (StoragePlugin.SQLITE3, True),
        (StoragePlugin.MCAP, False),
        (StoragePlugin.MCAP, True),
    ],
    ids=['sqlite3-raw', 'sqlite3-jpeg', 'mcap-raw', 'mcap-jpeg'],
)
def any_bag(request, tmp_path) -> Path:
    storage, jpeg = request.param
    return write_bag(
        tmp_path / 'bag', [picture(i) for i in range(FRAMES)], storage=storage, jpeg=jpeg
    )


@pytest.fixture
def bag(tmp_path) -> Path:
    return write_bag(
        tmp_path / 'bag',
        [picture(i) for i in range(FRAMES)],
        storage=StoragePlugin.SQLITE3,
        jpeg=False,
    )


class Ears:
    """Subscribe to raw or compressed images, camera_info and /clock in a namespace."""

    def __init__(self, robot, namespace: str, jpeg: bool) -> None:
        self.heard: dict[str, list] = {'image': [], 'info': [], 'clock': []}
        self.remaps = [
            '-r',
            f'/camera/image_raw:={namespace}/image',
            '-r',
            f'/camera/image_raw/compressed:={namespace}/jpeg',
            '-r',
            f'/camera/camera_info:={namespace}/info',
            '-r',
            f'/clock:={namespace}/clock',
        ]
        subscribe = robot.node.create_subscription
        profile = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        subscribe(
            CompressedImage if jpeg else Image,
            'jpeg' if jpeg else 'image',
            self.heard['image'].append,
            profile,
        )
        subscribe(CameraInfo, 'info', self.heard['info'].append, profile)
        subscribe(Clock, 'clock', self.heard['clock'].append, profile)


def start(bag: Path, ears: Ears, *options: str, output: int = subprocess.PIPE) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            '-m',
            'depth_perception.ros.replay.replay_bag',
            str(bag),
            '--wait-for-subscribers',
            '30',
            *options,
            '--ros-args',
            *ears.remaps,
        ],
        cwd=ROOT,
        env={**os.environ},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code and 'Traceback' not in output, output
    return output


def test_every_message_arrives_once_and_whole(any_bag, robot, namespace, request):
    jpeg = 'jpeg' in request.node.name
    ears = Ears(robot, namespace, jpeg)
    output = finish(start(any_bag, ears))
    wait_until(lambda: len(ears.heard['image']) + len(ears.heard['info']) >= 2 * FRAMES)
    with Bag(any_bag) as bag:
        names = {'image': bag.image_topic().name, 'info': '/camera/camera_info'}
        recorded = {
            kind: [
                deserialize_message(m.data, type(ears.heard[kind][0])) for m in bag.messages([name])
            ]
            for kind, name in names.items()
        }
    assert recorded['image'] == ears.heard['image'] and recorded['info'] == ears.heard['info']
    assert f'{FRAMES} on /camera/image_raw' in output and 'ms late' in output
    assert 'subscribed to' not in output


def test_loops_play_again_and_the_clock_follows_the_bag(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    finish(start(bag, ears, '--loop', '3', '--clock', '100', '--rate', '2'))
    wait_until(lambda: len(ears.heard['image']) >= 3 * FRAMES)
    assert len(ears.heard['image']) == 3 * FRAMES
    times = [seconds(m.clock) for m in ears.heard['clock']]
    assert len(times) > 20 and min(times) >= START / 1e9 - 0.1 and max(times) < START / 1e9 + 1.0
    assert (np.diff(times) < 0).sum() == 2, 'the clock goes back with each loop'


def test_rate_stretches_the_pace(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    finish(start(bag, ears, '--rate', '0.5', '--restamp'))
    wait_until(lambda: len(ears.heard['image']) == FRAMES)
    stamps = [seconds(m.header.stamp) for m in ears.heard['image']]
    # Nine gaps of 50 ms at half speed; a busy machine may be late, but never early.
    assert stamps[-1] - stamps[0] > 0.8


def test_restamping_changes_only_the_stamp(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    before = time.time()
    finish(start(bag, ears, '--restamp', '--topics', '/camera/image_raw'))
    wait_until(lambda: len(ears.heard['image']) == FRAMES)
    assert not ears.heard['info']
    for index, message in enumerate(ears.heard['image']):
        assert (
            before < message.header.stamp.sec + 1
            and message.header.frame_id == 'camera_optical_frame'
        )
        assert bytes(message.data) == picture(index).tobytes()


def test_topics_without_subscribers_are_played_without_waiting(bag, robot, namespace):
    image = bags.STORE.serialize_cdr(bags.image(START, picture()), bags.IMAGE)
    more = append_topics(
        bag,
        [
            (name, bags.IMAGE, START, image)
            for name in ('/camera/infra1/image_rect_raw', '/camera/image_rect')
        ],
    )
    for options in ((), ('--wait-for', '/camera/image_raw', '/camera/camera_info')):
        ears = Ears(robot, namespace, False)
        output = finish(start(more, ears, *options))
        wait_until(lambda ears=ears: len(ears.heard['image']) == FRAMES)
        assert '1 on /camera/infra1/image_rect_raw' in output and 'without' not in output, output


def test_log_says_what_is_waited_for(bag, robot, namespace, tmp_path):
    ears = Ears(robot, f'{namespace}/elsewhere', False)
    said = tmp_path / 'said'
    with said.open('w') as file:
        process = start(
            bag,
            ears,
            '--wait-for',
            '/camera/image_raw',
            '--wait-for-nodes',
            f'{namespace}/judge',
            output=file,
        )
    wait_until(
        lambda: (
            f'waiting for a subscriber of /camera/image_raw, the node {namespace}/judge'
            in said.read_text()
        ),
        what='a word',
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_topics_with_refused_names_or_types_are_skipped(bag, robot, namespace):
    image = bags.STORE.serialize_cdr(bags.image(START, picture()), bags.IMAGE)
    more = append_topics(
        bag,
        [
            ('/3d/points_info', bags.IMAGE, START, image),
            ('/bounds', 'geometry_msgs/msg/VelocityStamped', START, b''),
            ('/clock', 'rosgraph_msgs/msg/Clock', START, bytes(12)),
        ],
    )
    ears = Ears(robot, namespace, False)
    output = finish(start(more, ears, '--clock'))
    assert '/3d/points_info is not played: ROS 2 refuses it' in output
    assert output.count('is not played') >= 2 and '/clock is not played: this replay' in output
    assert f'{FRAMES} on /camera/image_raw' in output


def test_a_list_of_cameras_and_topics_is_printed_for_the_launch_files(bag, tmp_path):
    depth = bags.STORE.serialize_cdr(
        dataclasses.replace(bags.compressed(START, picture()), format='16UC1; compressedDepth'),
        bags.COMPRESSED,
    )
    jpeg = bags.STORE.serialize_cdr(bags.compressed(START, picture()), bags.COMPRESSED)
    more = append_topics(
        bag,
        [
            ('/CAM/image_rect_compressed', bags.COMPRESSED, START, jpeg),
            ('/CAM/compressedDepth', bags.COMPRESSED, START, depth),
        ],
    )
    shown = subprocess.run(
        [sys.executable, '-m', 'depth_perception.ros.replay.replay_bag', str(more), '--list'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(shown.stdout)['cameras'] == {
        '/camera/image_raw': {
            'compressed': False,
            'size': '80x60',
            'camera_info': '/camera/camera_info',
        },
        '/CAM/image_rect_compressed': {
            'compressed': True,
            'size': '80x60',
            'camera_info': '/camera/camera_info',
        },
    }
    assert main([str(tmp_path / 'nothing'), '--list']) == 1
    assert main([str(tmp_path / ('n' * 300)), '--list']) == 2


def test_restamped_keeps_both_byte_orders():
    little = b'\x00\x01\x00\x00' + (7).to_bytes(4, 'little') + (8).to_bytes(4, 'little') + b'rest'
    big = b'\x00\x00\x00\x00' + (7).to_bytes(4, 'big') + (8).to_bytes(4, 'big') + b'rest'
    now = 5 * 10**9 + 6
    assert restamped(little, now)[4:12] == (5).to_bytes(4, 'little') + (6).to_bytes(4, 'little')
    assert restamped(big, now)[4:12] == (5).to_bytes(4, 'big') + (6).to_bytes(4, 'big')
    assert restamped(little, now)[12:] == b'rest'
    assert serialized_stamp(little) == serialized_stamp(big) == 7 * 10**9 + 8


def test_images_without_subscribers_give_a_warning(bag, namespace):
    output = finish(
        subprocess.Popen(
            [
                sys.executable,
                '-m',
                'depth_perception.ros.replay.replay_bag',
                str(bag),
                '--ros-args',
                '-r',
                f'/camera/image_raw:={namespace}/image',
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    assert 'nobody subscribed to /camera/image_raw: --wait-for-subscribers 60' in output, output


@pytest.mark.parametrize(
    'unheard, said',
    [
        ({'/a': 5, '/b': 2}, 'nobody had subscribed to /b yet when its first 2 of 5 images'),
        ({'/a': 5, '/b': 5}, 'nobody subscribed to /a or /b: '),
        ({'/a': 5}, ''),
    ],
)
def test_only_the_most_received_camera_gives_a_warning(unheard, said):
    report = Report(Counter({'/a': 5, '/b': 5}), Counter(unheard))
    text = _unheard(report, ['/a', '/b'])
    assert said in text and bool(text) == bool(said)


def test_best_effort_is_offered_when_asked_for(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    process = start(bag, ears, '--best-effort', '--loop', '--topics', '/camera/camera_info')
    publishers = wait_until(lambda: robot.node.get_publishers_info_by_topic(f'{namespace}/info'))
    assert publishers[0].qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    process.send_signal(signal.SIGINT)
    finish(process)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_replay_with_0(bag, robot, namespace, number):
    ears = Ears(robot, namespace, False)
    process = start(bag, ears, '--loop')
    wait_until(lambda: len(ears.heard['image']) > FRAMES)
    process.send_signal(number)
    finish(process)
    # A node that vanishes without a goodbye stays visible until its lease of 20 s ends.
    wait_until(lambda: robot.node.count_publishers('image') == 0, 8, 'the player to be gone')


def test_a_signal_while_waiting_ends_a_replay_silently_with_0(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    process = start(bag, ears, '--lockstep', '/camera/image_raw', f'{namespace}/depth')
    wait_until(lambda: robot.node.count_publishers('image'))
    process.send_signal(signal.SIGINT)
    assert finish(process) == ''
    wait_until(lambda: robot.node.count_publishers('image') == 0, 8, 'the player to be gone')


def test_a_wrong_bag_or_topic_is_one_sentence_and_1(tmp_path, bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    assert 'there is no bag' in finish(start(tmp_path / 'nothing', ears), 1)
    assert 'has no topic /nope' in finish(start(bag, ears, '--topics', '/nope'), 1)


def test_wrong_usage_is_2(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    assert 'is not above 0' in finish(start(bag, ears, '--rate', '0'), 2)


class SlowDepth:
    """A fake depth node that answers an image with an empty depth image on request."""

    def __init__(self, robot, namespace: str) -> None:
        self.images: list[Image] = []
        self._depth = robot.node.create_publisher(Image, f'{namespace}/depth', 10)
        robot.node.create_subscription(
            Image,
            f'{namespace}/image',
            self.images.append,
            QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE),
        )

    def answer(self) -> None:
        self._depth.publish(Image(header=self.images[-1].header))


def test_in_lockstep_each_image_waits_for_the_depth_of_the_last(bag, robot, namespace):
    ears, node = Ears(robot, namespace, False), SlowDepth(robot, namespace)
    process = start(bag, ears, '--clock', '--lockstep', '/camera/image_raw', f'{namespace}/depth')
    for count in range(1, FRAMES + 1):
        wait_until(lambda count=count: len(node.images) == count)
        time.sleep(0.15)
        assert len(node.images) == count
        node.answer()
    assert f'{FRAMES} on /camera/image_raw' in finish(process)
    # 0.45 s of the bag, and more than 1.5 s of waiting.
    last = ears.heard['clock'][-1].clock
    assert seconds(last) < START / 1e9 + 1.2, 'the clock stands still meanwhile'


def test_lockstep_without_depth_or_with_a_wrong_topic_is_one_sentence_and_1(bag, robot, namespace):
    ears = Ears(robot, namespace, False)
    options = ['--wait-for-subscribers', '2', '--lockstep']
    output = finish(start(bag, ears, *options, '/camera/image_raw', f'{namespace}/depth'), 1)
    assert f'nobody publishes {namespace}/depth after 2 s' in output
    assert 'plays no /nope; it plays' in finish(start(bag, ears, *options, '/nope', '/d'), 1)
