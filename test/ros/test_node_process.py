# SPDX-License-Identifier: Apache-2.0
"""The node in its own process: signals, start-up errors, a real bag over DDS."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from sensor_msgs.msg import Image

from depth_perception.inference.backends import openvino
from depth_perception.inference.device import may_have_gpu
from test.ros.test_node_outputs import check_reprojection
from test.support.processes import ROOT, command, ends_quietly_on, process
from test.support.ros import (
    TYPES,
    Robot,
    camera_info,
    cloud_array,
    image_array,
    picture,
    rgb_image,
    wait_until,
)

KITCHEN = ROOT.parent / 'shared' / 'data' / 'bags'
CLIP = ROOT / 'data' / 'clip_bag'


def node_command(namespace: str, weights: Path, *more: str) -> list[str]:
    return command(
        'depth_perception.ros.node.main',
        '--ros-args',
        '-r',
        f'__ns:={namespace}',
        '-p',
        f'model_file:={weights}',
        *more,
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('busy', [False, True], ids=['idle', 'busy'])
def test_signals_end_the_node_with_0_and_without_a_word(
    namespace, robot, weights_file, number, busy
):
    with process(*node_command(namespace, weights_file)) as node:
        wait_until(lambda: robot.node.count_publishers('depth/image') and robot.state() == 'active')
        if busy:
            robot.listen(*TYPES)
            camera = robot.camera()
            for _ in range(10):
                camera.send()
            robot.wait_for('depth/image', 1)
            if openvino.is_installed() and not may_have_gpu():
                # PyTorch would take most of the start and of the memory.
                assert 'libtorch' not in Path(f'/proc/{node.pid}/maps').read_text()
        ends_quietly_on(number, node)


def loads_network(node: subprocess.Popen) -> bool:
    """Return whether a node has loaded what runs its network."""
    loaded = Path(f'/proc/{node.pid}/maps').read_text()
    return 'libopenvino' in loaded or 'libtorch' in loaded


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_while_starting_end_the_node_with_0(namespace, weights_file, number):
    with process(*node_command(namespace, weights_file)) as node:
        # From here on the network is compiled.
        wait_until(lambda: loads_network(node), what='a node that loads its network')
        node.send_signal(number)
        output, _ = node.communicate(timeout=30)
    assert node.returncode == 0 and 'Traceback' not in output, output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_a_signal_ended_leaves_no_ghost(namespace, robot, weights_file, number):
    def is_gone() -> bool:
        return robot.node.count_publishers('depth/image') == 0

    def leaves_at_once() -> bool:
        with process(*node_command(namespace, weights_file)) as node:
            wait_until(lambda: robot.node.count_publishers('depth/image'), 120)
            wait_until(lambda: robot.state() == 'active')
            node.send_signal(number)
            assert node.wait(30) == 0
        # A node that vanishes without a goodbye stays visible until its lease of 20 s ends.
        with suppress(AssertionError):
            return bool(wait_until(is_gone, 8))
        return False

    # A goodbye is one datagram: a busy machine may lose one of them, but not two of three.
    if not leaves_at_once():
        wait_until(is_gone)
        assert leaves_at_once() and leaves_at_once(), 'the node stayed visible after its end twice'


def test_a_second_ctrl_c_changes_nothing(namespace, robot, weights_file):
    with process(*node_command(namespace, weights_file)) as node:
        wait_until(lambda: robot.node.count_publishers('depth/image') and robot.state() == 'active')
        node.send_signal(signal.SIGINT)
        ends_quietly_on(signal.SIGINT, node)


def test_the_process_leaves_once_all_is_closed():
    """It skips the interpreter's shutdown, which takes a second of CPU time with torch."""
    code = (
        'import atexit, sys; atexit.register(print, "teardown"); '
        'from depth_perception.ros.process import leave; '
        'print("said"); sys.stderr.write("told"); leave(3)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, 'said\n', 'told')


def test_each_command_leaves_so(monkeypatch):
    from depth_perception.ros.node import main as node
    from depth_perception.ros.replay import replay_bag as replay
    from depth_perception.ros.replay import replay_check

    for module in (node, replay, replay_check):
        left = []
        monkeypatch.setattr(module, 'main', lambda: 7)
        monkeypatch.setattr(module, 'leave', left.append)
        module.command()
        assert left == [7]
        assert f'{module.__name__}:command' in (ROOT / 'setup.py').read_text()


@pytest.mark.parametrize(
    'setting, named',
    [
        ('point_stride:=99', 'point_stride'),
        ('min_depth:=near', 'min_depth'),
        ('precision:=fp8', 'precision'),
    ],
)
def test_a_wrong_parameter_at_start_is_one_sentence_and_1(namespace, weights_file, setting, named):
    with process(*node_command(namespace, weights_file, '-p', setting)) as node:
        output, _ = node.communicate(timeout=60)
    assert node.returncode == 1 and 'Traceback' not in output, output
    assert 'cannot start' in output and named in output


@pytest.mark.parametrize(
    'name, topic, transport',
    [
        ('kitchen_raw', '/camera/image_raw', 'raw'),
        ('kitchen_compressed', '/camera/image_raw/compressed', 'compressed'),
    ],
)
def test_each_frame_of_a_real_bag_gives_one_of_each_output(weights_file, name, topic, transport):
    bag = KITCHEN / name
    if not bag.exists():
        pytest.skip(f'the development bag {name} is not here')
    _replay(weights_file, bag, topic, transport, frames=15)


def test_each_frame_of_the_bundled_bag_gives_one_of_each_output(weights_file):
    assert CLIP.exists(), 'the bundled clip bag is missing'
    _replay(weights_file, CLIP, '/camera/image_raw/compressed', 'compressed', frames=15)


def _replay(weights: Path, bag: Path, topic: str, transport: str, frames: int) -> None:
    """Run replay_bag -> depth_node as processes, and a listener in this process, at 4 Hz."""
    namespace = f'/replay_{bag.name}'
    image = 'image/compressed' if transport == 'compressed' else 'image'
    # The random network gives edges everywhere; this test is about transport and geometry.
    node_words = node_command(
        namespace,
        weights,
        '-p',
        f'image_transport:={transport}',
        '-p',
        'edge_threshold:=0.0',
        '-p',
        'device:=cpu',
        '-r',
        f'{image}:={topic}',
        '-r',
        'camera_info:=/camera/camera_info',
    )
    rate = 0.4 if transport == 'raw' else 0.25
    replay_words = command(
        'depth_perception.ros.replay.replay_bag',
        str(bag),
        '--rate',
        str(rate),
        '--wait-for-subscribers',
        '30',
    )
    robot = Robot(namespace)
    try:
        with process(*node_words) as node:
            robot.listen(*TYPES)
            with process(*replay_words) as replay:
                for output in TYPES:
                    robot.wait_for(output, frames, timeout=120)
                if transport == 'raw':
                    replay.wait(120)
                    _send_one_more(robot, topic)
                    for output in TYPES:  # in order: nothing else came before it
                        robot.wait_for(output, frames + 1)
                        assert len(robot.received[output]) == frames + 1
            assert node.poll() is None
    finally:
        robot.close()
    _check_frames(robot, frames)


def _send_one_more(robot: Robot, topic: str) -> None:
    """Publish an image after the recording, on its topics."""
    kind = robot.node.create_publisher(Image, topic, 1)
    wait_until(kind.get_subscription_count)
    image = rgb_image(picture())
    image.header.stamp = robot.node.get_clock().now().to_msg()
    kind.publish(image)


def _check_frames(robot: Robot, frames: int) -> None:
    messages = [robot.received[topic][:frames] for topic in TYPES]
    for depth, info, cloud, preview, scan in zip(*messages):
        assert depth.header == info.header == cloud.header == preview.header
        assert scan.header.stamp == depth.header.stamp
        check_reprojection(image_array(depth), info, cloud_array(cloud), 2)
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages[0]}
    assert len(stamps) == frames


def test_camera_and_node_in_separate_processes_with_best_effort(namespace, robot, weights_file):
    with process(*node_command(namespace, weights_file)):
        wait_until(lambda: robot.node.count_publishers('depth/image') == 1)
        robot.listen(*TYPES)
        from test.support.ros import BEST_EFFORT

        camera = robot.camera(BEST_EFFORT, matched=False)
        wait_until(
            lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count()
        )
        # Best effort delivers small images on every transport.
        wait_until(lambda: camera.send(info=camera_info()) and robot.received['scan'])
