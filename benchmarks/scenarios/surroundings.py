# SPDX-License-Identifier: Apache-2.0
"""The node's environment: subscribers, a second node, the disk, the weights file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import StoragePlugin
from sensor_msgs.msg import PointCloud2

from benchmarks.scenarios import Outcome, scenario
from benchmarks.scenarios.stage import a_robot, is_served, node_process, says, serves, stage
from depth_perception.io.weights import BUNDLED_DEFAULT
from test.support.bags import write_bag
from test.support.estimators import StandIn
from test.support.ros import (
    BEST_EFFORT,
    TYPES,
    Camera,
    Robot,
    picture,
    rgb_image,
    running_node,
    wait_until,
)

ROOT = Path(__file__).parents[2]


@scenario(full=300, short=10)
def slow_subscriber(times: int) -> Outcome:
    """One subscriber takes half a second per cloud, another needs every depth image."""
    with stage() as (node, robot, camera), a_neighbour(robot) as slow:
        slow.node.create_subscription(
            PointCloud2, 'depth/points', lambda _: time.sleep(0.5), QoSProfile(depth=1)
        )
        wait_until(lambda: 'depth/points' in node._parts.outputs.wanted())
        seconds = [
            serves(robot, camera, image=rgb_image(picture(0, 320, 240))) for _ in range(times)
        ]
        publish = node.health.snapshot().latency['publish']
    return Outcome(
        f'{times} frames with a subscriber that takes 0.5 s for each',
        '',
        {
            'depth_p50_ms': 1000 * float(np.median(seconds)),
            'depth_max_ms': 1000 * max(seconds),
            'publish_p95_ms': 1000 * publish[1],
        },
    )


@scenario(full=300, short=10)
def best_effort_subscriber(times: int) -> Outcome:
    """A best-effort and a reliable subscriber listen at the same time."""
    with stage() as (_, robot, camera), a_neighbour(robot) as other:
        other.listen('depth/image', reliability=BEST_EFFORT)
        for _ in range(times):
            serves(robot, camera)
        serves(robot, camera)
        wait_until(lambda: other.received['depth/image'])
        got = len(other.received['depth/image'])
    return Outcome(
        f'{times + 1} frames of 80x60, with a best-effort and a reliable subscriber',
        '',
        {'reliable_got': times + 1, 'best_effort_got': got},
    )


@scenario(full=20, short=4)
def twenty_subscribers(times: int) -> Outcome:
    """Twenty participants, each subscribed to every output."""
    frames = 5 * times
    with stage() as (_, robot, camera), ExitStack() as stack:
        others = [stack.enter_context(a_neighbour(robot)) for _ in range(times)]
        for other in others:
            other.listen(*TYPES)
        for _ in range(frames):
            header = camera.send()
            is_served(robot, header)
            for other in others:
                for topic in TYPES:
                    wait_until(
                        lambda other=other, topic=topic, header=header: any(
                            m.header.stamp == header.stamp for m in other.received[topic][-3:]
                        ),
                        what=f'{topic} at each subscriber',
                    )
    return Outcome(
        f'{times} participants subscribed to all five outputs, {frames} frames',
        '',
        {'messages_received': frames * times * len(TYPES)},
    )


@scenario(full=10, short=1)
def two_nodes(times: int) -> Outcome:
    """A second node in the same namespace starts and stops."""
    with stage() as (_, robot, camera):
        for _ in range(times):
            with running_node(robot.node.get_namespace(), load_estimator=StandIn(), device='cpu'):
                said = says(robot, 'inference', 'another node publishes', camera.send)
                serves(robot, camera)
            says(robot, 'inference', 'OK', camera.send)
            serves(robot, camera)
    return Outcome(f'a second node in the same namespace, {times} times', said)


@scenario(full=10, short=1)
def weights_replaced(times: int) -> Outcome:
    """The weights file of a running process is emptied, then overwritten with nonsense."""
    with tempfile.TemporaryDirectory() as folder, a_robot() as robot:
        path = Path(folder) / 'net.safetensors'
        shutil.copyfile(BUNDLED_DEFAULT, path)
        with node_process(robot, model_file=path, max_age=0.0) as node:
            robot.listen('depth/image')
            camera = robot.camera()
            serves(robot, camera)
            for _ in range(times):
                os.truncate(path, 0)
                serves(robot, camera)
                path.write_bytes(os.urandom(100_000))
                serves(robot, camera)
                for transition, works in (
                    (Transition.TRANSITION_DEACTIVATE, True),
                    (Transition.TRANSITION_CLEANUP, True),
                    (Transition.TRANSITION_CONFIGURE, False),
                ):
                    assert robot.change_state(transition) is works
                said = says(robot, 'inference', 'cannot use weights')
                shutil.copyfile(BUNDLED_DEFAULT, path)
                assert robot.change_state(Transition.TRANSITION_CONFIGURE)
                assert robot.change_state(Transition.TRANSITION_ACTIVATE)
                _wait_for_outputs(robot, camera)
                serves(robot, camera)
        assert node.exit_code == 0
    return Outcome(
        f'weights file emptied and overwritten under a running node {times} times',
        said.replace(str(path), 'FILE'),
    )


def _wait_for_outputs(robot: Robot, camera: Camera) -> None:
    wait_until(
        lambda: (
            robot.node.count_publishers('depth/image')
            and camera.images.get_subscription_count()
            and camera.infos.get_subscription_count()
        )
    )
    time.sleep(0.5)  # the publisher must discover the listener, too


@scenario(full=3, short=1)
def disk_full(times: int) -> Outcome:
    """The demo writes to a disk that is too small; a node logs to a full disk."""
    with tempfile.TemporaryDirectory() as folder, a_small_disk() as disk:
        bag = write_bag(
            Path(folder) / 'bag',
            [picture(i, 160, 120) for i in range(4)],
            storage=StoragePlugin.MCAP,
            jpeg=False,
            hz=2,
        )
        for _ in range(times):
            demo = subprocess.run(
                [
                    sys.executable,
                    '-m',
                    'depth_perception.demo',
                    str(bag),
                    '--out',
                    str(disk / 'out'),
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
            said = demo.stderr.splitlines()[-1]
            assert demo.returncode == 1 and 'No space left on device' in said, demo.stderr
            assert 'Traceback' not in demo.stderr
            assert not any((disk / 'out').iterdir()), 'a partial result was left'
        _node_beside_a_full_disk(disk)
    return Outcome(
        f'the demo wrote to a full disk {times} times, a node logged to it',
        said.replace(str(disk), 'DISK'),
    )


def _node_beside_a_full_disk(disk: Path) -> None:
    with open(disk / 'filler', 'wb', buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
    os.environ['ROS_LOG_DIR'] = str(disk / 'log')
    try:
        with a_robot() as robot, node_process(robot, max_age=0.0) as node:
            robot.listen('depth/image')
            camera = robot.camera()
            bad = rgb_image(picture())
            bad.encoding = 'sepia8'
            for _ in range(5):
                camera.send(bad)  # to be logged
                serves(robot, camera)
        assert node.exit_code == 0
    finally:
        del os.environ['ROS_LOG_DIR']


@contextmanager
def a_small_disk(size: str = '128k') -> Iterator[Path]:
    """Mount a file system of that size; needs the permission to mount."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            raise PermissionError(f'mounting a small disk is not permitted: {mounted.stderr}')
        try:
            yield Path(folder)
        finally:
            subprocess.run(['umount', '-l', folder], check=True)


@contextmanager
def a_neighbour(robot: Robot) -> Iterator[Robot]:
    """Create another participant in the robot's namespace."""
    other = Robot(robot.node.get_namespace())
    try:
        yield other
    finally:
        other.close()
