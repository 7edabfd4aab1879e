# SPDX-License-Identifier: Apache-2.0
"""replay_check: the faults it finds in a replay, and the messages it records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rosbags.rosbag2 import StoragePlugin

from depth_perception.io.bag import Bag, BagError
from depth_perception.io.bag_writer import BagWriter
from depth_perception.ros.conversions.topics import CONFIDENCE
from depth_perception.ros.node.publishers import TYPES
from depth_perception.ros.replay.discovery import Discovery
from depth_perception.ros.replay.output_watcher import OUTPUTS
from depth_perception.ros.replay.replay_check import faults
from test.support import bags
from test.support.bags import START, append_topics, write_bag
from test.support.ros import Spinner, picture, wait_until

ROOT = Path(__file__).parents[2]
FRAMES = 3
STAMPS = [START + i * 50_000_000 for i in range(FRAMES)]
WELL = {'depth/image': Counter(STAMPS), 'scan': Counter(STAMPS)}

started: list[subprocess.Popen] = []


@pytest.fixture
def bag(tmp_path, namespace) -> Path:
    return write_bag(
        tmp_path / 'bag',
        [picture(i) for i in range(FRAMES)],
        storage=StoragePlugin.MCAP,
        jpeg=False,
        topic=f'{namespace}/image',
    )


@pytest.fixture(autouse=True)
def no_orphans():
    yield
    while started:
        if (process := started.pop()).poll() is None:
            process.kill()


def start(bag: Path, namespace: str, *options: object) -> subprocess.Popen:
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'depth_perception.ros.replay.replay_check',
            str(bag),
            *map(str, options),
            '--ros-args',
            '-r',
            f'__ns:={namespace}',
        ],
        cwd=ROOT,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started.append(process)
    return process


def test_every_output_of_the_node_is_watched():
    watched = {topic: kind for topic, kind in TYPES.items() if kind != CompressedImage}
    assert watched == {**OUTPUTS, CONFIDENCE: TYPES[CONFIDENCE]}


def test_discovery_is_complete_when_the_publisher_has_answered(robot, monkeypatch):
    topic = robot.node.resolve_topic_name('picture')
    robot.node.create_subscription(Image, topic, lambda message: None, 1)
    discovery = Discovery(robot.node, topic)
    assert not discovery.complete()
    with picture_publisher(robot, start_parameter_services=True) as publisher:
        wait_until(discovery.complete)
        assert publisher.get_subscription_count() == 1
        with picture_publisher(robot, start_parameter_services=False):
            wait_until(lambda: robot.node.count_publishers(topic) == 2)
            assert not discovery.complete()
            monkeypatch.setattr('depth_perception.ros.replay.discovery.SILENT', 0.0)
            assert discovery.complete(), 'one without services is not waited for for ever'


@contextmanager
def picture_publisher(robot, start_parameter_services: bool) -> Iterator[Publisher]:
    """Yield a publisher of another participant, which must be discovered first."""
    context = Context()
    rclpy.init(context=context)
    node = Node(
        f'services_{start_parameter_services}',
        context=context,
        namespace=robot.node.get_namespace(),
        start_parameter_services=start_parameter_services,
    )
    spinner = Spinner(context)
    spinner.executor.add_node(node)
    spinner.start()
    try:
        yield node.create_publisher(Image, 'picture', 1)
    finally:
        spinner.stop()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def test_a_complete_replay_has_no_fault():
    assert faults(STAMPS, WELL, FRAMES) == []
    assert faults(STAMPS, {'depth/image': Counter(STAMPS[2:]), 'scan': Counter()}, 1) == []


@pytest.mark.parametrize(
    ('change', 'fault'),
    [
        ({'depth/image': Counter(STAMPS[1:])}, '2 depth images for 3 images: at least 3'),
        (
            {'depth/image': Counter([*STAMPS[:2], STAMPS[0]])},
            '1 messages on depth/image came twice',
        ),
        ({'scan': Counter([*STAMPS, 7])}, '1 messages on scan have stamps that no image has'),
        ({'scan': Counter([*STAMPS, STAMPS[0]])}, '1 messages on scan came twice'),
    ],
)
def test_faults_are_found(change, fault):
    assert any(fault in text for text in faults(STAMPS, {**WELL, **change}, FRAMES))


def test_an_unfinished_node_is_a_fault_but_a_dropped_last_image_is_not():
    outputs = {'depth/image': Counter(STAMPS[:2])}
    assert faults(STAMPS, outputs, 1, finished=False) == [
        'the node did not finish: the last image has no depth'
    ]
    assert faults(STAMPS, outputs, 1, finished=True) == []


def test_two_images_with_one_stamp_give_two_outputs_with_that_stamp():
    images = [*STAMPS, STAMPS[1]]
    assert faults(images, {'depth/image': Counter(images)}, len(images)) == []
    assert 'came twice' in faults(images, {'depth/image': Counter([*images, STAMPS[1]])}, 1)[0]


def test_outputs_are_counted_and_kept_until_the_replay_is_over(bag, tmp_path, robot, namespace):
    bag = append_topics(
        bag,
        [
            *(('/tf', bags.TF, stamp, bags.transform(stamp, 'map', 'base')) for stamp in STAMPS),
            ('/tf_static', bags.TF, START, bags.transform(0, 'base', 'camera_optical_frame')),
            (
                '/unheard',
                bags.IMAGE,
                START,
                bags.STORE.serialize_cdr(bags.image(START, picture()), bags.IMAGE),
            ),
        ],
    )
    record, report = tmp_path / 'outputs', tmp_path / 'report.json'
    process = start(bag, namespace, '--expect', 'all', '--record', record, '--report', report)
    depth = robot.node.create_publisher(Image, 'depth/image', 10)
    wait_until(lambda: depth.get_subscription_count() > 0)
    images = robot.node.create_publisher(Image, 'image', 1)
    for stamp in STAMPS:
        seconds, nanoseconds = divmod(stamp, 10**9)
        depth.publish(Image(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds))))
    assert depth.wait_for_all_acked(Duration(seconds=60)), 'the check has received all'
    assert process.poll() is None
    robot.node.destroy_publisher(images)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and '3 images gave 3 on depth/image' in output, output
    assert json.loads(report.read_text())['outputs']['depth/image'] == FRAMES
    with Bag(record) as recorded, Bag(bag) as source:
        assert [
            message.time for message in recorded.messages([f'{namespace}/depth/image'])
        ] == STAMPS
        assert recorded.topics['/tf_static'].transient_local
        assert '/unheard' not in recorded.topics
        for topic in source.topics.keys() - {'/unheard'}:
            assert list(recorded.messages([topic])) == list(source.messages([topic]))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_a_complete_bag_and_no_stale_node(
    bag, tmp_path, robot, namespace, number
):
    record = tmp_path / 'outputs'
    process = start(bag, namespace, '--record', record)
    depth = robot.node.create_publisher(Image, 'depth/image', 10)
    wait_until(lambda: depth.get_subscription_count() > 0)

    def is_recorded() -> bool:
        """Publish images larger than what a recording holds back, until the check has some."""
        depth.publish(Image(data=bytes(1_500_000)))
        return sum(file.stat().st_size for file in record.glob('*.mcap')) > 1_000_000

    wait_until(is_recorded, what='a recording that grows')
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and 'Traceback' not in output, output
    with Bag(record) as recorded:
        assert len(list(recorded.messages([f'{namespace}/depth/image']))) >= 1
    # A node that vanishes without a goodbye stays visible until its lease of 20 s ends.
    wait_until(lambda: depth.get_subscription_count() == 0, 8, 'the check to be gone')


def test_wrong_input_is_one_sentence(bag, tmp_path, namespace):
    for options, code, text in (
        (['--image', '/nope'], 1, 'has no camera images on /nope'),
        (['--record', bag], 1, 'cannot be written'),
        (['--expect', 'many'], 2, 'many is neither a count nor "all"'),
    ):
        output, _ = (process := start(bag, namespace, *options)).communicate(timeout=60)
        assert process.returncode == code and text in output and 'Traceback' not in output, output
    with pytest.raises(BagError, match='cannot be written'):
        BagWriter(bag)
