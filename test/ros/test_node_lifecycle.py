# SPDX-License-Identifier: Apache-2.0
"""Configure, activate, deactivate and clean up, any number of times."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import psutil
import pytest
from lifecycle_msgs.msg import Transition
from std_srvs.srv import SetBool

from depth_perception.inference.backends.beside import CompileError
from depth_perception.ros.node.diagnostics import ERROR
from test.support.estimators import StandIn
from test.support.ros import TYPES, running_node, wait_until


def test_autostart_makes_the_node_active(namespace, robot, weights_file):
    with running_node(namespace, model_file=str(weights_file)):
        assert robot.state() == 'active'


def test_the_whole_round_by_services(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), autostart=False):
        assert robot.state() == 'unconfigured'
        assert robot.node.count_subscribers('image') == 0
        assert robot.change_state(Transition.TRANSITION_CONFIGURE)
        wait_until(lambda: robot.node.count_publishers('depth/image') == 1)
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        robot.listen(*TYPES)
        camera = robot.camera()
        camera.send()
        robot.wait_for('scan', 1)
        assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
        wait_until(
            lambda: (
                camera.images.get_subscription_count() == 0
                and camera.infos.get_subscription_count() == 0
            )
        )
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        wait_until(
            lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count()
        )
        camera.send()
        robot.wait_for('scan', 2)
        assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
        assert robot.change_state(Transition.TRANSITION_CLEANUP)
        wait_until(lambda: robot.node.count_publishers('depth/image') == 0)
        assert robot.state() == 'unconfigured'


@pytest.mark.parametrize(
    'parameters, named',
    [
        ({'model_file': '/nowhere/net.safetensors'}, 'there is no such file'),
        ({'device': 'cuda:99'}, 'cuda:99'),
        ({'device': 'tpu'}, 'tpu'),
    ],
)
def test_what_cannot_be_loaded_is_a_clean_failure_and_can_be_tried_again(
    namespace, robot, parameters, named, capfd
):
    with running_node(namespace, **parameters):
        robot.watch_diagnostics()
        assert robot.state() == 'unconfigured'
        wait_until(
            lambda: (s := robot.status('inference')) and s.level == ERROR and named in s.message
        )
        assert not robot.change_state(Transition.TRANSITION_CONFIGURE)
        assert robot.state() == 'unconfigured'
    output = capfd.readouterr().err
    assert named in output and 'Traceback' not in output


def test_a_model_file_that_is_mended_can_be_configured(namespace, robot, weights_file, tmp_path):
    path = tmp_path / 'net.safetensors'
    path.write_bytes(Path(weights_file).read_bytes()[:5000])
    with running_node(namespace, model_file=str(path)):
        assert robot.state() == 'unconfigured'
        path.write_bytes(Path(weights_file).read_bytes())
        assert robot.change_state(Transition.TRANSITION_CONFIGURE)
        assert robot.state() == 'inactive'


def test_sizes_of_images_are_made_ready_when_configuring(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, image_sizes='1280x720, 640x480'):
        assert robot.state() == 'active'
        assert network.prepared == [(720, 1280), (480, 640)]


def test_a_size_that_cannot_be_compiled_is_a_clean_failure(namespace, robot):
    def prepare(_sizes):
        raise CompileError('cannot compile for 1280x720: no memory')

    network = StandIn()
    network.prepare = prepare
    with running_node(namespace, load_estimator=network, image_sizes='1280x720'):
        robot.watch_diagnostics()
        assert robot.state() == 'unconfigured'
        wait_until(
            lambda: (
                (s := robot.status('inference'))
                and s.level == ERROR
                and s.message == 'cannot configure: cannot compile for 1280x720: no memory'
            )
        )


def test_a_hundred_lifecycle_cycles_do_not_grow(namespace, robot, weights_file):
    """The number of threads and handles is constant; memory is stable after a few cycles.

    Uses the PyTorch backend, because a hundred conversions for OpenVINO take minutes.
    """
    process = psutil.Process()
    with running_node(
        namespace, model_file=str(weights_file), backend='torch', autostart=False
    ) as node:
        before, after = [], []
        for cycle in range(100):
            assert robot.change_state(Transition.TRANSITION_CONFIGURE)
            assert robot.change_state(Transition.TRANSITION_ACTIVATE)
            assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
            assert robot.change_state(Transition.TRANSITION_CLEANUP)
            if cycle == 20:
                handles, threads = process.num_fds(), threading.active_count()
            if 40 <= cycle < 50 or cycle >= 90:  # one garbage collection takes a third of a second
                gc.collect()
                (before if cycle < 50 else after).append(process.memory_info().rss / 1e6)
        assert node._parts.worker is None
        assert threading.active_count() <= threads
        assert process.num_fds() <= handles + 2
        growth = (sum(after) - sum(before)) / 10
        assert growth < 20, f'{growth:.1f} MB in 50 cycles; {before}, {after}'


def test_enable_pauses_inference_and_keeps_the_network(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        camera.send()
        robot.wait_for('depth/image', 1)
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False)).success
        camera.send()
        wait_until(lambda: (s := robot.status('inference')) and 'paused' in s.message)
        assert network.calls == 1 and robot.state() == 'active'
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).success
        camera.send()
        robot.wait_for('depth/image', 2)
