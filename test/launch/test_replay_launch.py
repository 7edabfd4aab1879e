# SPDX-License-Identifier: Apache-2.0
"""launch/replay.launch.py ends by itself: with 0 when the outputs are as expected, otherwise 1.

Skipped where launch is missing: it comes with a ROS 2 installation.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

for _name in ('launch', 'launch_ros'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )
pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rosbags.rosbag2 import StoragePlugin

from depth_perception.io.bag import Bag
from test.support.bags import START, write_bag
from test.support.launch import PATIENCE, Launched
from test.support.ros import picture, wait_until

FRAMES = 4
PERIOD = 50_000_000
OUTPUTS = ('depth/camera_info', 'depth/image', 'depth/image_color', 'depth/points', 'scan')
LOADED = re.compile(r'depth_node\]: network .* on cpu')


@pytest.fixture
def bag(tmp_path) -> Path:
    return write_bag(
        tmp_path / 'bag',
        [picture(i) for i in range(FRAMES)],
        storage=StoragePlugin.SQLITE3,
        jpeg=False,
    )


def test_a_replay_keeps_every_output_and_ends_with_0(bag, tmp_path):
    record, report = tmp_path / 'outputs', tmp_path / 'report.json'
    with Launched(
        'replay.launch.py',
        bag=bag,
        device='cpu',
        expect='all',
        rate=20,
        namespace='r',
        record=record,
        report=report,
    ) as launched:
        assert launched.wait() == 0, launched.output()
        assert launched.output().count('process has finished cleanly') == 3, launched.output()
    about = json.loads(report.read_text())
    assert about['images'] == FRAMES and about['faults'] == []
    assert about['outputs']['depth/image'] == FRAMES
    with Bag(record) as recorded:
        assert set(recorded.topics) == {
            *(f'/r/{topic}' for topic in OUTPUTS),
            '/camera/image_raw',
            '/camera/camera_info',
        }
        times = [message.time for message in recorded.messages(['/r/depth/image'])]
    assert times == [START + i * PERIOD for i in range(FRAMES)]


def test_a_record_played_again_at_another_rate_gives_the_same(bag, tmp_path):
    """One file of it: the outputs in it are not played, or each would come twice."""
    first, second = tmp_path / 'first', tmp_path / 'second'
    with Launched('replay.launch.py', bag=bag, device='cpu', rate=100, record=first) as launched:
        assert launched.wait() == 0, launched.output()
    with Launched(
        'replay.launch.py',
        bag=next(first.glob('*.mcap')),
        device='cpu',
        expect='all',
        record=second,
    ) as launched:
        assert launched.wait() == 0, launched.output()
        assert '/depth/image is not played: it is excluded' in launched.output()
    with Bag(first) as one, Bag(second) as other:
        for topic in ('/depth/image', '/scan', '/camera/image_raw'):
            assert list(one.messages([topic])) == list(other.messages([topic])), topic


def test_too_few_outputs_end_with_1(bag):
    with Launched('replay.launch.py', bag=bag, device='cpu', expect=FRAMES + 1) as launched:
        assert launched.wait() == 1
        assert f'at least {FRAMES + 1} were expected' in launched.output()
        assert 'replay_check ended with 1: the replay failed' in launched.output()


def test_a_node_that_dies_ends_with_1(bag):
    with Launched('replay.launch.py', bag=bag, device='cpu', rate=0.01) as launched:
        os.kill(_node(launched), signal.SIGKILL)
        assert launched.wait() == 1
        assert 'the replay failed' in launched.output()


def test_a_missing_bag_ends_with_1(tmp_path):
    with Launched('replay.launch.py', bag=tmp_path / 'nothing') as launched:
        assert launched.wait() == 1
        assert 'there is no bag' in launched.output()


@pytest.mark.parametrize('launch_file', ['depth.launch.py', 'replay.launch.py'])
def test_a_missing_params_file_ends_with_1(bag, launch_file):
    with Launched(launch_file, bag=bag, params_file='~/nothing.yaml') as launched:
        assert launched.wait() == 1
        assert 'params_file:=~/nothing.yaml: there is no such file' in launched.output()
        assert 'process started' not in launched.output()


def test_ctrl_c_ends_everything_with_0(bag):
    with Launched('replay.launch.py', bag=bag, device='cpu', rate=0.01) as launched:
        _node(launched)
        launched.interrupt()
        assert launched.wait() == 0, launched.output()
        assert launched.output().count('process has finished cleanly') == 3, launched.output()


def test_sigterm_ends_the_launched_node_with_0():
    with Launched('depth.launch.py', device='cpu', namespace='sigterm') as launched:
        os.kill(_node(launched), signal.SIGTERM)
        assert launched.wait() == 0, launched.output()
        assert 'process has finished cleanly' in launched.output()


def _node(launched: Launched) -> int:
    """The process number of the node, when it has its network."""
    wait_until(lambda: LOADED.search(launched.output()), PATIENCE, 'the network')
    return int(
        re.search(
            r'\[depth_node-\d+\]: process started with pid \[(\d+)\]', launched.output()
        ).group(1)
    )
