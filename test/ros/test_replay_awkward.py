# SPDX-License-Identifier: Apache-2.0
"""Recordings with typical real-world faults, replayed in lockstep to a node and checked."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='the package rosbags is not installed')

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from test.support import bags
from test.support.bags import START, STORE
from test.support.estimators import StandIn
from test.support.ros import picture, running_node

ROOT = Path(__file__).parents[2]
PERIOD = 500_000_000
IMAGES = '/cam/image_rect_compressed'


def write(path: Path, images: list[tuple[int, bytes | None]]) -> Path:
    """Write a bag of JPEG images, each with a number as its stamp, and optionally other data.

    The bag also has topics without subscribers, one with an invalid name, and the output of a node.
    """
    rows = []
    for index, (number, data) in enumerate(images):
        stamp = START + number * PERIOD
        image = bags.compressed(stamp, picture(index))
        if data is not None:
            image = dataclasses.replace(image, data=np.frombuffer(data, np.uint8))
        raw, info = bags.image(stamp, picture(index)), bags.info(stamp, 80, 60)
        rows += [
            (index, topic, kind, message)
            for topic, kind, message in (
                ('/cam/camera_info', bags.INFO, info),
                ('/infra1/camera_info', bags.INFO, info),
                ('/infra1/image_raw', bags.IMAGE, raw),
                ('/3d/image', bags.IMAGE, raw),
                ('/depth/image', bags.IMAGE, raw),
                (IMAGES, bags.COMPRESSED, image),
            )
        ]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for _, topic, kind, _ in rows[:6]
        }
        for index, topic, kind, message in rows:
            writer.write(topics[topic], START + index * PERIOD, STORE.serialize_cdr(message, kind))
    return path


def replay(bag: Path, namespace: str, report: Path, *expect: str) -> tuple[int, str, dict]:
    """Replay to the node and check it; return the exit code, the player's output and the report."""
    places = {
        '__ns': namespace,
        IMAGES: f'{namespace}/image/compressed',
        '/cam/camera_info': f'{namespace}/camera_info',
        '/clock': f'{namespace}/clock',
    }
    place = [
        '--ros-args',
        *(word for old, new in places.items() for word in ('-r', f'{old}:={new}')),
    ]
    module = [sys.executable, '-m']
    check = subprocess.Popen(
        [
            *module,
            'depth_perception.ros.replay.replay_check',
            str(bag),
            '--image',
            IMAGES,
            '--report',
            str(report),
            *expect,
            *place,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        player = subprocess.run(
            [
                *module,
                'depth_perception.ros.replay.replay_bag',
                str(bag),
                '--clock',
                '--rate',
                '100',
                '--wait-for-subscribers',
                '60',
                '--wait-for',
                IMAGES,
                '/cam/camera_info',
                '--wait-for-nodes',
                f'{namespace}/replay_check',
                '--lockstep',
                IMAGES,
                f'{namespace}/depth/image',
                '--exclude',
                '/depth/image',
                *place,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        judged, _ = check.communicate(timeout=60)
    finally:
        check.kill()
    said = player.stdout + judged
    assert player.returncode == 0 and 'Traceback' not in said, said
    return check.returncode, player.stdout, json.loads(report.read_text())


@pytest.fixture
def node(namespace):
    arguments = ('-r', f'/clock:={namespace}/clock')
    with running_node(
        namespace,
        load_estimator=StandIn(),
        arguments=arguments,
        use_sim_time=True,
        image_transport='compressed',
    ) as node:
        yield node


def test_a_damaged_image_doubled_stamps_and_any_rate_are_played_to_the_end(
    node, namespace, tmp_path
):
    whole = bags.compressed(START, picture()).data.tobytes()
    cut = whole[: len(whole) // 3]
    bag = write(tmp_path / 'bag', [(0, None), (1, None), (1, None), (2, cut), (3, None), (4, cut)])
    verdict, said, report = replay(bag, namespace, tmp_path / 'report.json')
    assert verdict == 0 and report['faults'] == [], report
    assert report['outputs']['depth/image'] == 4 and report['lost'] == {'bad': 2}
    assert said.count('no depth for the image of') == 2 and 'not a usable image' in said, said
    assert '/3d/image is not played: ROS 2 refuses it' in said
    assert '/depth/image is not played: it is excluded' in said


def test_a_bag_whose_images_are_all_dropped_is_reported(node, namespace, tmp_path):
    bag = write(tmp_path / 'bag', [(number, b'no JPEG') for number in range(8)])
    verdict, said, report = replay(bag, namespace, tmp_path / 'report.json', '--expect', 'all')
    assert verdict == 1 and '0 depth images for 8 images' in report['faults'][0], report
    assert report['lost']['bad'] >= 5
    assert 'the rest is played without waiting' in said
