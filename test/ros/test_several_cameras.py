# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one process: one network, equal turns, and no mutual interference."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
import torch
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from rclpy.parameter import Parameter

from depth_perception.inference.sharing import SharedNetworks
from depth_perception.ros.arguments import process_namespace
from depth_perception.ros.node import depth_node, diagnostics
from depth_perception.ros.node.depth_node import DepthNode
from depth_perception.ros.node.diagnostics import ERROR, OK, WARN
from depth_perception.ros.node.receiver import Receiver
from depth_perception.ros.node.several_cameras import create_nodes, spin_all
from test.support.estimators import StandIn
from test.support.processes import command, ends_quietly_on, process
from test.support.ros import Robot, image_array, rgb_image, wait_until

NAMES = ('front', 'rear')
#: Seconds that a process may take to import torch on a busy machine.
START = 120.0
DARK, LIGHT = (np.full((60, 80, 3), value, np.uint8) for value in (20, 200))


@pytest.fixture
def robots(namespace) -> Iterator[tuple[Robot, ...]]:
    """Return a robot for each camera's node to communicate with."""
    robots = tuple(Robot(f'{namespace}/{name}') for name in NAMES)
    yield robots
    for robot in robots:
        robot.close()


@contextmanager
def running_cameras(
    namespace: str, networks: SharedNetworks, arguments: tuple[str, ...] = (), **parameters: object
) -> Iterator[list[DepthNode]]:
    """Run nodes like `depth_node --cameras front,rear`."""
    context = Context()
    rclpy.init(context=context, args=['--ros-args', *arguments])
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    nodes = create_nodes(NAMES, namespace, networks, context=context, parameter_overrides=overrides)
    thread = threading.Thread(target=spin_all, args=(nodes,), daemon=True)
    thread.start()
    try:
        yield nodes
    finally:
        rclpy.try_shutdown(context=context)
        thread.join(30)
        assert not thread.is_alive()
        for node in nodes:
            node.destroy_node()


def stand_in_networks(network: StandIn) -> SharedNetworks:
    return SharedNetworks(lambda *_: network)


def stream(cameras, hertz: float, seconds: float) -> int:
    """Publish images of each camera; return how many each sent."""
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        for camera in cameras:
            camera.send()
        count += 1
        time.sleep(max(0.0, start + count / hertz - time.monotonic()))
    return count


def processed(node: DepthNode) -> int:
    return node.health.snapshot().counts['processed']


def test_a_node_each_one_network_for_all_and_it_goes_with_the_last(namespace, robots, weights_file):
    networks = SharedNetworks()
    with running_cameras(namespace, networks, model_file=str(weights_file), device='cpu') as nodes:
        wait_until(lambda: all(node._state == 'active' for node in nodes))
        assert [node.get_fully_qualified_name() for node in nodes] == [
            f'{namespace}/{name}/depth_node' for name in NAMES
        ]
        first, second = (node._parts.estimator._network for node in nodes)
        assert first is second
        network = weakref.ref(first.estimator)
        del first, second
        cameras = [robot.camera() for robot in robots]
        for robot in robots:
            robot.watch_diagnostics()
            robot.listen('depth/image')
        headers = [camera.send(rgb_image(rgb)) for camera, rgb in zip(cameras, (DARK, LIGHT))]
        depths = [robot.wait_for('depth/image', 1)[0] for robot in robots]
        assert [depth.header.stamp for depth in depths] == [header.stamp for header in headers]
        assert not np.array_equal(image_array(depths[0]), image_array(depths[1]))
        for robot in robots:
            wait_until(
                lambda robot=robot: (
                    (s := robot.status('inference'))
                    and any(v.key == 'shared_by' and v.value == 'front, rear' for v in s.values)
                )
            )
        _clean_up(robots[0])
        assert robots[0].state() == 'unconfigured' and network() is not None
        cameras[1].send()
        robots[1].wait_for('depth/image', 2)
        _clean_up(robots[1])
        wait_until(lambda: network() is None)
        # Configuring again loads the network again.
        assert robots[0].change_state(Transition.TRANSITION_CONFIGURE)
        assert robots[0].change_state(Transition.TRANSITION_ACTIVATE)
        wait_until(
            lambda: (
                cameras[0].images.get_subscription_count()
                and cameras[0].infos.get_subscription_count()
            )
        )
        robots[0].received.clear()
        cameras[0].send()
        robots[0].wait_for('depth/image', 1)


def _clean_up(robot: Robot) -> None:
    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert robot.change_state(Transition.TRANSITION_CLEANUP)


def test_two_cameras_at_15_hz_get_a_slow_network_by_turns(namespace, robots):
    """Processed frames differ by at most 10 %, even if the network is too slow for both."""
    network = StandIn(seconds=0.1)
    with running_cameras(namespace, stand_in_networks(network)) as nodes:
        for robot in robots:
            robot.listen('depth/image')
        sent = stream([robot.camera() for robot in robots], 15.0, 5.0)
        served = [processed(node) for node in nodes]
    assert min(served) >= 3 and sum(served) < 2 * sent
    assert max(served) - min(served) <= max(2, 0.1 * max(served)), served


def test_a_dead_camera_takes_no_turns(namespace, robots):
    network = StandIn()
    with running_cameras(namespace, stand_in_networks(network), max_age=0.0) as nodes:
        robots[0].watch_diagnostics()
        robots[1].watch_diagnostics()
        for robot in robots:
            robot.listen('depth/image')
        front, rear = (robot.camera() for robot in robots)
        rear.send()
        robots[1].wait_for('depth/image', 1)
        for number in range(1, 11):  # from here on, the rear camera is silent
            front.send()
            robots[0].wait_for('depth/image', number)
        assert [processed(node) for node in nodes] == [10, 1] and network.calls == 11
        wait_until(
            lambda: (
                (s := robots[1].status('input')) and s.level == WARN and 'no image on' in s.message
            )
        )
        wait_until(
            lambda: (
                front.send()
                and not time.sleep(0.1)
                and (s := robots[0].status('input'))
                and s.level == OK
            )
        )


def test_a_network_that_hangs_is_told_by_both_and_both_go_on_after_it(
    namespace, robots, monkeypatch
):
    monkeypatch.setattr(depth_node, 'DIAGNOSTICS_PERIOD', 0.1)
    monkeypatch.setattr(diagnostics, 'HANG', 0.5)
    network = StandIn()
    with running_cameras(namespace, stand_in_networks(network), max_age=0.0):
        for robot in robots:
            robot.watch_diagnostics()
            robot.listen('depth/image')
        cameras = [robot.camera() for robot in robots]
        network.release.clear()
        cameras[1].send()
        wait_until(lambda: network.calls == 1)
        cameras[0].send()
        for robot in robots:
            wait_until(
                lambda robot=robot: (
                    (s := robot.status('inference'))
                    and s.level == ERROR
                    and 'shared by front, rear, now at a frame of rear' in s.message
                    and 'restart this process' in s.message
                )
            )
        network.release.set()
        for camera, robot in zip(cameras, robots):
            robot.wait_for('depth/image', 1)
            camera.send()
            robot.wait_for('depth/image', 2)
            wait_until(lambda robot=robot: robot.status('inference').level != ERROR)


def test_one_camera_out_of_memory_leaves_the_other_at_work(namespace, robots):
    def depth(rgb, _camera):
        if rgb.max() < 100:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 MiB')
        return np.full(rgb.shape[:2], 2.0, np.float32)

    with running_cameras(namespace, stand_in_networks(StandIn(depth))):
        for robot in robots:
            robot.listen('depth/image')
        front, rear = (robot.camera() for robot in robots)
        rear.send(rgb_image(DARK))
        wait_until(lambda: robots[1].state() == 'inactive')
        front.send(rgb_image(LIGHT))
        robots[0].wait_for('depth/image', 1)
        assert robots[0].state() == 'active'


def test_an_exception_that_nobody_caught_ends_no_camera(namespace, robots, monkeypatch, capfd):
    original, failed = Receiver.on_camera_info, []

    def fail_once(receiver, message):
        if receiver._node.get_namespace().endswith('rear') and not failed:
            failed.append(True)
            raise RuntimeError('a mistake in the node')
        original(receiver, message)

    monkeypatch.setattr(Receiver, 'on_camera_info', fail_once)
    with running_cameras(namespace, stand_in_networks(StandIn()), max_age=0.0):
        for robot in robots:
            robot.listen('scan')
        front, rear = (robot.camera() for robot in robots)
        rear.send()
        wait_until(lambda: failed)
        for camera, robot in ((front, robots[0]), (rear, robots[1])):
            wait_until(
                lambda camera=camera, robot=robot: (
                    camera.send() and not time.sleep(0.2) and robot.received['scan']
                )
            )
    assert 'goes on after an error' in capfd.readouterr().err


def test_a_camera_with_a_wrong_parameter_is_left_out_and_others_have_their_own(
    namespace, robots, tmp_path, capfd
):
    path = tmp_path / 'cameras.yaml'
    path.write_text(
        '/**: {ros__parameters: {horizontal_fov_deg: 60.0, max_age: 2.0}}\n'
        f'{namespace}/front/depth_node: {{ros__parameters: {{horizontal_fov_deg: 90.0}}}}\n'
        '/**/rear/depth_node: {ros__parameters: {point_stride: 99}}\n'
    )
    with running_cameras(
        namespace, stand_in_networks(StandIn()), ('--params-file', str(path))
    ) as nodes:
        assert [node.get_namespace() for node in nodes] == [f'{namespace}/front']
        assert nodes[0].settings.horizontal_fov_deg == 90 and nodes[0].settings.max_age == 2
        assert robots[0].state() == 'active'
        wait_until(
            lambda: (
                not any(
                    'rear/depth_node' in f'{space}/{name}'
                    for name, space in robots[1].node.get_node_names_and_namespaces()
                )
            )
        )
    output = capfd.readouterr().err
    assert 'camera rear cannot start: point_stride' in output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_process_serves_both_in_its_namespace_and_ends_with_0(
    namespace, robots, weights_file, number
):
    words = command(
        'depth_perception.ros.node.main',
        '--cameras',
        'front,rear',
        '--ros-args',
        '-r',
        f'__ns:={namespace}',
        '-p',
        f'model_file:={weights_file}',
        '-p',
        'device:=cpu',
        '-p',
        'max_age:=0.0',
    )
    with process(*words) as node:
        wait_until(
            lambda: all(robot.node.count_publishers('depth/image') for robot in robots), START
        )
        for robot in robots:
            robot.listen('depth/image')
        for camera, robot in [(robot.camera(), robot) for robot in robots]:
            camera.send()
            robot.wait_for('depth/image', 1)
        ends_quietly_on(number, node)


@pytest.mark.parametrize(
    'names, reason',
    [
        ('front,9a', "'9a' is not a valid name"),
        ('front,', "'' is not a valid name"),
        ('re-ar', "'re-ar' is not a valid name"),
        ('a__b', "'a__b' is not a valid name"),
        ('front, front', "two cameras 'front'"),
    ],
)
def test_wrong_names_are_told_before_anything_is_loaded(names, reason, capsys, monkeypatch):
    from depth_perception.ros.node import main as node

    monkeypatch.setattr(node, 'quit_at_once_on_signals', lambda: None)
    with pytest.raises(SystemExit) as caught:
        node.main(['--cameras', names])
    assert caught.value.code == 2 and reason in capsys.readouterr().err


@pytest.mark.parametrize(
    'words, namespace',
    [
        ('depth_node --cameras a', ''),
        ('-r __ns:=/robot', '/robot'),
        ('-r __ns:=/', ''),
        ('-r x:=y --remap __ns:=/a/b -r __ns:=/c', '/a/b'),
        ('-r depth_node:__ns:=/robot', '/robot'),
    ],
)
def test_the_namespace_of_the_process(words, namespace):
    assert process_namespace(words.split()) == namespace
