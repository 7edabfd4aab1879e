# SPDX-License-Identifier: Apache-2.0
"""A real node reports every state of the three diagnostics over DDS, and clears it again."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from depth_perception.ros.node import depth_node, diagnostics, health, reporter, worker
from depth_perception.ros.node.diagnostics import ERROR, OK, WARN
from depth_perception.ros.transport import PROFILE
from test.support.estimators import StandIn
from test.support.processes import command, process
from test.support.ros import (
    BEST_EFFORT,
    TYPES,
    Camera,
    Robot,
    camera_info,
    picture,
    rgb_image,
    running_node,
    wait_until,
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Shorten the times after which the states appear."""
    monkeypatch.setattr(depth_node, 'DIAGNOSTICS_PERIOD', 0.1)
    monkeypatch.setattr(diagnostics, 'SILENCE', 0.5)
    monkeypatch.setattr(reporter, 'SILENCE_LOGGED', 0.7)
    monkeypatch.setattr(diagnostics, 'HANG', 0.5)
    monkeypatch.setattr(health, 'ERROR_VISIBLE', 1.0)
    monkeypatch.setattr(health, 'WINDOW', 1.0)
    monkeypatch.setattr(worker, 'STOP_TIMEOUT', 0.5)


def says(
    robot: Robot, task: str, level: bytes, text: str, camera: Camera | None = None, **frame: object
) -> DiagnosticStatus:
    """Wait until a status has this level and text, while the camera sends frames."""

    def found() -> DiagnosticStatus | None:
        if camera is not None:
            camera.send(**frame)
            time.sleep(0.05)
        status = robot.status(task)
        return status if status and status.level == level and text in status.message else None

    try:
        return wait_until(found)
    except AssertionError:
        status = robot.status(task)
        raise AssertionError(
            f'{task} says {status and (status.level, status.message)}, not {text!r}'
        ) from None


def is_ok(robot: Robot, task: str, camera: Camera) -> None:
    wait_until(
        lambda: (
            camera.send()
            and not time.sleep(0.05)
            and (s := robot.status(task))
            and s.message == 'OK'
            and s.level == OK
        ),
        what=f'{task} to be OK',
    )


class Log:
    """The text that ROS has written to the console so far."""

    def __init__(self, capfd: pytest.CaptureFixture) -> None:
        self.text = ''
        self._capfd = capfd

    def has(self, text: str) -> bool:
        self.text += ''.join(self._capfd.readouterr())
        return text in self.text


def test_a_topic_without_a_publisher_is_told_with_where_the_images_are(namespace, robot, capfd):
    """In the diagnostics, and once in the log, which users who start a node read first."""
    sibling = f'{namespace}/image/compressed'
    publishers = [
        robot.node.create_publisher(Image, name, 1)
        for name in ('depth/image_raw', 'left/image_raw')
    ]
    publishers.append(
        robot.node.create_publisher(CompressedImage, 'depth/image_color/compressed', 1)
    )
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        says(robot, 'input', WARN, f'nobody publishes it; images are on {namespace}/left/image_raw')
        assert '/depth/image,' not in f'{robot.status("input").message},'
        assert '/depth/image_color' not in robot.status('input').message
        publishers.append(robot.node.create_publisher(CompressedImage, 'image/compressed', 1))
        says(robot, 'input', WARN, f'images are on {sibling}: set image_transport to compressed')
        log = Log(capfd)
        wait_until(lambda: log.has(f'no image on {namespace}/image for '), what='the log to say so')
        camera = robot.camera()
        wait_until(
            lambda: (
                camera.send()
                and not time.sleep(0.05)
                and log.has(f'images come on {namespace}/image')
            ),
            what='the log to say that images come',
        )
    assert log.text.count('no image on') == 1, log.text


def test_the_middleware_is_named_with_what_its_buffers_lack(namespace, robot, monkeypatch, capfd):
    monkeypatch.setattr(  # only one middleware is available in a process
        reporter, 'get_rmw_implementation_identifier', lambda: 'rmw_cyclonedds_cpp'
    )
    monkeypatch.setenv('CYCLONEDDS_URI', '')
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        status = says(robot, 'input', WARN, 'sets no SocketReceiveBufferSize')
    assert {v.key: v.value for v in status.values}['middleware'] == 'rmw_cyclonedds_cpp'
    assert 'rmw_cyclonedds_cpp: large images may push' in capfd.readouterr().err
    monkeypatch.undo()
    with running_node(namespace, load_estimator=StandIn()):
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and {v.key: v.value for v in s.values}['middleware']
                == get_rmw_implementation_identifier()
            )
        )


def test_input_from_silence_to_ok(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        says(robot, 'input', WARN, f'no image on {namespace}/image for')
        says(robot, 'input', WARN, 'nobody publishes it')
        camera = robot.camera()
        says(robot, 'input', WARN, 'its publisher is silent or of another QoS')
        # Also reported while no output has a subscriber.
        says(
            robot,
            'input',
            WARN,
            f'no camera_info on {namespace}/camera_info',
            camera,
            with_info=False,
        )
        robot.listen(*TYPES)
        says(
            robot,
            'input',
            WARN,
            f'no camera_info on {namespace}/camera_info',
            camera,
            with_info=False,
        )
        zero = camera_info()
        zero.k, zero.p = [0.0] * 9, [0.0] * 12
        says(robot, 'input', WARN, 'uncalibrated', camera, info=zero)
        says(
            robot,
            'input',
            WARN,
            'the calibration is for 160x90, the image is 80x60',
            camera,
            info=camera_info(160, 90),
        )
        huge = camera_info(focal=1e300)
        says(robot, 'input', WARN, 'no camera of 80x60 has fx 1e+300', camera, info=huge)
        is_ok(robot, 'input', camera)
        values = {v.key: v.value for v in robot.status('input').values}
        assert values['topic'] == f'{namespace}/image' and values['publishers'] == '1'
        assert (values['reliability'], values['encoding'], values['size']) == (
            'reliable',
            'rgb8',
            '80x60',
        ) and float(values['rate_hz']) > 1
        assert abs(float(values['stamp_to_clock_s'])) < 5


def test_input_of_another_kind_or_clock(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera()
        camera.send(header=camera.header(1_700_000_000.0))
        says(robot, 'input', WARN, 'use_sim_time?')
        camera.send(header=camera.header(1_700_000_500.0))
        says(robot, 'input', WARN, 'stamps went ahead by 500.0 s')
        camera.send(header=camera.header(1_700_000_400.0))
        says(robot, 'input', WARN, 'time went back by 100.0 s: counters are reset')
        header = camera.header(-5.0)
        camera.send(header=header)
        says(robot, 'input', WARN, 'time went back by')
        header = camera.header()
        header.frame_id = 'camera_link'
        says(
            robot,
            'input',
            WARN,
            "'camera_link' does not name an optical frame",
            camera,
            header=header,
        )
        robot.listen('depth/image')
        bad = rgb_image(picture())
        bad.encoding = 'sepia8'
        says(robot, 'input', ERROR, "image dropped: unknown encoding 'sepia8'", camera, image=bad)
        is_ok(robot, 'input', camera)


def test_images_that_come_irregularly_are_not_called_lost(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera()
        rng, start = np.random.default_rng(0), time.time()
        said = []

        def irregular() -> bool:
            for index in range(40):
                if rng.random() < 0.6:
                    camera.send(header=camera.header(irregular.stamp + index * 0.02))
                    time.sleep(0.01)
            irregular.stamp += 0.8
            said.append(robot.status('input'))
            values = {v.key: v.value for v in said[-1].values}
            return values['regularity'] < '0.8' and values['frames_arriving'] == '1.000'

        irregular.stamp = start
        wait_until(irregular)
        assert said[-1].message == 'OK'
        assert not any('loses' in status.message for status in said)


@pytest.mark.skipif(
    'fastrtps' not in get_rmw_implementation_identifier(),
    reason='other middlewares lose other images',
)
def test_images_that_get_lost_are_counted_however_few_arrive(namespace, robot):
    with (
        running_node(namespace, load_estimator=StandIn()),
        process(*command('test.support.lossy_camera', namespace)),
    ):
        robot.watch_diagnostics()
        status = wait_until(
            lambda: (s := robot.status('input')) and 'loses frames' in s.message and s
        )
        assert status.level == WARN and f'_DEFAULT_PROFILES_FILE={PROFILE}' in status.message
        arriving = float({v.key: v.value for v in status.values}['frames_arriving'])
        assert arriving < 0.8 and f'({100 * (1 - arriving):.0f} %)' in status.message


def test_input_falls_back_to_best_effort(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera(BEST_EFFORT, matched=False)
        says(robot, 'input', WARN, 'QoS fell back to best effort', camera)


def test_inference_from_idle_to_overload(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, device='cpu') as node:
        robot.watch_diagnostics()
        camera = robot.camera()
        says(robot, 'inference', OK, 'idle: no subscribers', camera)
        robot.listen('depth/image')
        is_ok(robot, 'inference', camera)
        network._seconds = 0.3
        says(robot, 'inference', WARN, 'of frames replaced', camera)
        assert 'overloaded' in robot.status('inference').message
        node.set_parameters([Parameter('max_rate', value=100.0)])
        says(robot, 'inference', OK, '% of frames replaced (max_rate)', camera)
        network._seconds = 0.0
        says(
            robot,
            'inference',
            WARN,
            'frames older than max_age',
            camera,
            header=camera.header(time.time() - 20),
        )
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=False)).success
        says(robot, 'inference', OK, 'paused by ~/enable', camera)
        before = node.health.snapshot().counts['paused']
        wait_until(lambda: camera.send() and node.health.snapshot().counts['paused'] > before)
        says(robot, 'input', OK, 'OK', camera)  # images are still received
        assert robot.call(SetBool, 'depth_node/enable', SetBool.Request(data=True)).success
        is_ok(robot, 'inference', camera)
        values = {v.key: v.value for v in robot.status('inference').values}
        for stage in set(health.STAGES) - {'network', 'beside_network', 'anchors'}:  # absent here
            assert values[f'{stage}_ms'].startswith('p50 ')
        assert int(values['processed']) > 0 and values['model'] == 'stand-in'


def test_inference_without_a_gpu_is_a_warning_where_one_was_hoped_for(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), device='auto'):
        robot.watch_diagnostics()
        says(robot, 'inference', WARN, 'no GPU: the network runs on the CPU')


def test_a_remark_of_the_network_that_comes_up_later_is_a_warning(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        is_ok(robot, 'inference', camera)
        network.remarks = ('no CUDA graphs, the network runs more slowly: not permitted',)
        says(robot, 'inference', WARN, 'no CUDA graphs', camera)


def moody(rgb: np.ndarray, _camera: object) -> np.ndarray:
    """A network that fails or returns bad depth as the first pixel tells it to."""
    mood = int(rgb[0, 0, 0])
    if mood == 1:
        raise RuntimeError('CUDA error: an illegal memory access was encountered')
    if mood == 2:
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')
    return np.full(rgb.shape[:2], {3: np.nan, 4: 1000.0}.get(mood, 2.0), np.float32)


def in_mood(mood: int):
    rgb = picture()
    rgb[0, 0, 0] = mood
    return rgb_image(rgb)


def test_inference_that_fails_says_how_and_recovers(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(moody), device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        says(
            robot,
            'inference',
            ERROR,
            'RuntimeError: CUDA error: an illegal memory',
            camera,
            image=in_mood(1),
        )
        is_ok(robot, 'inference', camera)
        says(robot, 'inference', ERROR, 'non-finite depth', camera, image=in_mood(3))
        is_ok(robot, 'inference', camera)
        camera.send(in_mood(2))
        says(robot, 'inference', ERROR, 'out of memory on the device: deactivated')
        wait_until(lambda: robot.state() == 'inactive')
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        is_ok(robot, 'inference', camera)


def test_inference_that_hangs_is_seen_and_left_behind(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        is_ok(robot, 'inference', camera)
        network.release.clear()
        hung = camera.send()
        says(robot, 'inference', ERROR, 'the network hangs, or is far too slow')
        assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
        gate, network.release = network.release, type(network.release)()
        network.release.set()
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
        is_ok(robot, 'inference', camera)
        gate.set()  # the old thread continues, but its frame is outdated
        good = camera.send()
        wait_until(lambda: good.stamp in [m.header.stamp for m in robot.received['depth/image']])
        assert hung.stamp not in [m.header.stamp for m in robot.received['depth/image']]


def test_inference_beside_another_node_in_the_same_namespace(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), device='cpu'):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        is_ok(robot, 'inference', camera)
        with running_node(namespace, load_estimator=StandIn(), device='cpu'):
            says(robot, 'inference', WARN, f'another node publishes {namespace}/depth', camera)
        is_ok(robot, 'inference', camera)


def test_depth_that_says_nothing(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(moody)):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        says(robot, 'depth', WARN, '0 % valid pixels', camera, image=in_mood(4))
        is_ok(robot, 'depth', camera)
        black = rgb_image(np.zeros((60, 80, 3), np.uint8))
        says(robot, 'depth', WARN, 'camera covered?', camera, image=black)
        is_ok(robot, 'depth', camera)
        values = {v.key: v.value for v in robot.status('depth').values}
        assert float(values['p50_m']) == 2.0 and float(values['valid_percent']) == 100.0
        assert values['depth_scale'] == '1' and float(values['focal_factor']) == 1.0


def test_not_active_says_its_state_or_why_it_failed(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), autostart=False):
        robot.watch_diagnostics()
        for transition, state in (
            (None, 'unconfigured'),
            (Transition.TRANSITION_CONFIGURE, 'inactive'),
        ):
            assert transition is None or robot.change_state(transition)
            for task in ('input', 'inference', 'depth'):
                says(robot, task, OK, state)


def test_a_failed_configure_says_why(namespace, robot):
    with running_node(namespace, model_file='/nowhere/net.safetensors'):
        robot.watch_diagnostics()
        for task in ('input', 'inference', 'depth'):
            says(robot, task, ERROR, 'cannot configure: cannot use weights /nowhere')
