# SPDX-License-Identifier: Apache-2.0
"""Unusual inputs: any QoS, late, missing or zero camera_info, other sizes, bad frames."""

from __future__ import annotations

import struct
import threading
import zlib
from array import array
from functools import partial

import cv2
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_perception.inference.backends import openvino
from depth_perception.inference.backends.beside import CompileError
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import save_weights
from depth_perception.ros.node import subscriptions
from depth_perception.ros.node.diagnostics import ERROR, WARN
from test.support.estimators import StandIn
from test.support.ros import (
    BEST_EFFORT,
    RELIABLE,
    TYPES,
    Camera,
    camera_info,
    image_array,
    picture,
    rgb_image,
    running_node,
    wait_until,
)
from test.support.weights import tiny_info, tiny_network


@pytest.mark.parametrize('reliability', [RELIABLE, BEST_EFFORT], ids=['reliable', 'best_effort'])
@pytest.mark.parametrize('camera_first', [True, False], ids=['camera_first', 'node_first'])
def test_reliable_and_best_effort_cameras_are_heard(namespace, robot, reliability, camera_first):
    camera = robot.camera(reliability, matched=False) if camera_first else None
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen(*TYPES)
        camera = camera or robot.camera(reliability, matched=False)
        inputs = node._parts.inputs
        wait_until(
            lambda: (
                camera.images.get_subscription_count()
                and inputs.image.reliability
                == ('reliable' if reliability == RELIABLE else 'best_effort')
            )
        )
        wait_until(
            lambda: (
                camera.infos.get_subscription_count()
                and inputs.info.reliability == inputs.image.reliability
            )
        )
        wait_until(lambda: camera.send() and robot.received['scan'], what='a scan')
        assert node._parts.inputs.image.fell_back is (reliability == BEST_EFFORT)


def test_best_effort_fallback_is_seen_in_diagnostics(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        camera = robot.camera(BEST_EFFORT, matched=False)

        def warned() -> bool:
            camera.send()
            status = robot.status('input')
            return (
                status is not None
                and status.level == WARN
                and 'fell back to best effort' in status.message
            )

        wait_until(warned)


def test_overridden_reliability_is_respected(namespace, robot):
    override = f'qos_overrides.{namespace}/image.subscription.reliability'
    with running_node(namespace, load_estimator=StandIn(), **{override: 'best_effort'}) as node:
        image = node._parts.inputs.image
        assert image.reliability == 'best_effort' and not image.fell_back
        robot.listen('depth/image')
        camera = robot.camera()
        camera.send()
        robot.wait_for('depth/image', 1)


def test_camera_info_may_come_late(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        for count in range(1, 4):
            camera.send(with_info=False)
            robot.wait_for('depth/image', count)
        assert not robot.received['depth/points'] and not robot.received['depth/camera_info']
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and 'no camera_info on' in s.message
                and f'{namespace}/camera_info' in s.message
                and s.level == WARN
            )
        )
        header = camera.send()
        for topic in TYPES:
            wait_until(
                lambda topic=topic: (
                    robot.received[topic] and robot.received[topic][-1].header.stamp == header.stamp
                ),
                what=topic,
            )


def test_an_image_that_overtakes_its_first_camera_info_still_gets_points(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.listen(*TYPES)
        camera = robot.camera()
        header = camera.send(with_info=False)
        info = camera_info()
        info.header = header
        camera.infos.publish(info)
        robot.wait_for('depth/points', 1)
        assert all(len(robot.received[topic]) == 1 for topic in TYPES)


def test_without_camera_info_depth_flows_and_a_field_of_view_gives_points(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(), horizontal_fov_deg=90.0):
        robot.listen(*TYPES)
        camera = robot.camera()
        camera.send(with_info=False)
        for topic in TYPES:
            robot.wait_for(topic, 1)
        assert robot.received['depth/camera_info'][0].k[0] == pytest.approx(40.0)


def test_zero_camera_info_counts_as_uncalibrated(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        info = camera_info()
        info.k, info.p = [0.0] * 9, [0.0] * 12
        camera.send(info=info)
        robot.wait_for('depth/image', 1)
        wait_until(
            lambda: (s := robot.status('input')) and s.level == WARN and 'uncalibrated' in s.message
        )
        assert not robot.received['depth/points'] and not robot.received['scan']
        camera.send()
        robot.wait_for('depth/points', 1)


def test_size_may_change_in_mid_stream(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.listen(*TYPES)
        camera = robot.camera()
        for count, (width, height) in enumerate([(80, 60), (160, 120), (64, 64), (80, 60)], 1):
            camera.send(rgb_image(picture(count, width, height)))
            for topic in TYPES:
                robot.wait_for(topic, count)
            depth, info = robot.received['depth/image'][-1], robot.received['depth/camera_info'][-1]
            assert (depth.width, depth.height) == (info.width, info.height) == (width, height)
            assert robot.received['depth/points'][-1].width == width // 2


@pytest.mark.skipif(not openvino.is_installed(), reason='OpenVINO is not installed')
def test_another_size_in_mid_stream_is_one_more_conversion(namespace, robot, tmp_path):
    save_weights(tmp_path / 'tiny', tiny_network(), tiny_info())
    converted = []

    def load(*arguments: str) -> DepthEstimator:
        estimator = DepthEstimator.load(*arguments)
        backend, convert = estimator._backend, estimator._backend._converted
        backend._converted = lambda image: converted.append(image.shape) or convert(image)
        return estimator

    with running_node(
        namespace,
        load_estimator=load,
        model_file=str(tmp_path / 'tiny'),
        device='cpu',
        backend='openvino',
    ) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        for count, (width, height) in enumerate(((80, 60), (60, 80), (80, 60), (60, 80)), 1):
            camera.send(rgb_image(picture(0, width, height)))
            depth = robot.wait_for('depth/image', count)[-1]
            assert (depth.width, depth.height) == (width, height)
        assert node.health.snapshot().counts['failed'] == 0
    assert len(converted) == 1


def test_while_a_size_is_compiled_depth_comes_and_diagnostics_say_so(
    namespace, robot, tmp_path, monkeypatch
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))  # an empty cache: nothing is compiled yet
    save_weights(tmp_path / 'tiny', tiny_network(), tiny_info())
    go = threading.Event()

    def compile_later(*_: object, **__: object) -> None:
        go.wait(120)
        raise CompileError('this process shall')

    monkeypatch.setattr(openvino, 'compile_apart', compile_later)
    with running_node(
        namespace,
        load_estimator=partial(DepthEstimator.load, compile_beside=True),
        model_file=str(tmp_path / 'tiny'),
        device='cpu',
        backend='openvino',
    ):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        for count, (width, height) in enumerate(((160, 90), (80, 60), (160, 90)), 1):
            camera.send(rgb_image(picture(0, width, height)))
            depth = robot.wait_for('depth/image', count)[-1]
            assert (depth.width, depth.height) == (width, height)
        status = wait_until(
            lambda: (
                (found := robot.status('inference')) is not None
                and 'compiling for 160x90' in found.message
                and found
            )
        )
        assert status.level != ERROR and 'hang' not in status.message
        go.set()
        wait_until(lambda: 'compiling' not in robot.status('inference').message, 240.0)


def test_camera_info_of_another_size_is_scaled_or_refused_with_both_sizes(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        camera.send(info=camera_info(160, 120))
        robot.wait_for('scan', 1)
        info = robot.received['depth/camera_info'][0]
        assert (info.width, info.height, info.k[0]) == (80, 60, 64.0)
        camera.send(info=camera_info(160, 90))
        robot.wait_for('depth/image', 2)
        wait_until(
            lambda: (s := robot.status('input')) and '160x90' in s.message and '80x60' in s.message
        )
        assert len(robot.received['depth/points']) == 1


def test_odd_calibrations_give_all_outputs_and_a_remark_in_diagnostics_and_log(
    namespace, robot, capfd
):
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        unknown = camera_info()
        unknown.distortion_model, unknown.d = 'Inverse Brown Conrady', [0.1, -0.1, 0.0, 0.0, 0.0]
        impossible = camera_info()
        impossible.d = [50.0, 50.0, 0.0, 0.0, 9.0]
        for count, (info, said) in enumerate(
            (
                (unknown, "'Inverse Brown Conrady' with 5 coefficients is not known"),
                (impossible, 'D = [50, 50, 0, 0, 9] of model'),
                (camera_info(focal=3.6), 'millimetres'),
            ),
            1,
        ):
            camera.send(info=info)
            for topic in TYPES:
                robot.wait_for(topic, count)
            wait_until(
                lambda said=said: (
                    (s := robot.status('input')) and s.level == WARN and said in s.message
                ),
                what=said,
            )
    warnings = [line for line in capfd.readouterr().err.splitlines() if '[WARN]' in line]
    for said in ("'Inverse Brown Conrady'", 'D = [50, 50, 0, 0, 9]', 'millimetres'):
        assert len([line for line in warnings if said in line]) == 1


def test_an_image_has_the_camera_info_with_its_own_stamp(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/camera_info')
        camera = robot.camera()
        header = camera.header()
        for count, (focal, own) in enumerate(((70.0, header), (50.0, camera.header())), 1):
            info = camera_info(focal=focal)
            info.header = own
            camera.infos.publish(info)
            wait_until(lambda count=count: len(node._parts.cameras._by_stamp) == count)
        camera.send(header=header, with_info=False)
        assert robot.wait_for('depth/camera_info', 1)[0].k[0] == 70.0


def nan_depth(rgb: np.ndarray, _camera: object) -> np.ndarray:
    """A network that fails only on all-black frames."""
    value = 2.0 if rgb.any() else np.nan
    return np.full(rgb.shape[:2], value, np.float32)


def broken(**changes: object) -> Image:
    image = rgb_image(picture(9))
    for key, value in changes.items():
        setattr(image, key, value)
    return image


BAD_FRAMES = {
    'wrong step': (lambda: broken(step=100), 'step 100'),
    'short data': (lambda: broken(data=array('B', bytes(100))), '100 bytes of data'),
    'unknown encoding': (lambda: broken(encoding='sepia8'), "'sepia8'"),
    'no size': (lambda: broken(width=0, step=0, data=array('B')), 'size 0x60'),
    'nan-making frame': (lambda: rgb_image(np.zeros((60, 80, 3), np.uint8)), 'non-finite'),
}


@pytest.mark.parametrize('fault', BAD_FRAMES)
def test_a_bad_frame_costs_one_frame_and_one_message(namespace, robot, fault, capfd):
    make, named = BAD_FRAMES[fault]
    with running_node(namespace, load_estimator=StandIn(nan_depth)) as node:
        robot.watch_diagnostics()
        robot.listen(*TYPES)
        camera = robot.camera()
        camera.send()
        robot.wait_for('scan', 1)
        bad = camera.send(make())
        wait_until(
            lambda: (
                node.health.snapshot().counts['bad'] + node.health.snapshot().counts['failed'] == 1
            )
        )
        good = camera.send()
        robot.wait_for('scan', 2)
        stamps = [m.header.stamp for m in robot.received['depth/image']]
        assert bad.stamp not in stamps and stamps[-1] == good.stamp and len(stamps) == 2
        task = 'inference' if 'non-finite' in named else 'input'
        wait_until(lambda: (s := robot.status(task)) and s.level == ERROR and named in s.message)
    errors = [line for line in capfd.readouterr().err.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1 and named in errors[0]


def test_a_network_that_raises_costs_one_frame(namespace, robot):
    def moody(rgb: np.ndarray, _camera: object) -> np.ndarray:
        if not rgb.any():
            raise RuntimeError('CUDA error: an illegal memory access was encountered')
        return np.full(rgb.shape[:2], 2.0)

    with running_node(namespace, load_estimator=StandIn(moody)) as node:
        robot.listen('depth/image')
        camera = robot.camera()
        camera.send(rgb_image(np.zeros((60, 80, 3), np.uint8)))
        wait_until(lambda: node.health.snapshot().counts['failed'] == 1)
        camera.send()
        robot.wait_for('depth/image', 1)


def test_out_of_memory_deactivates_and_says_so(namespace, robot):
    import torch

    def full(_rgb: np.ndarray, _camera: object) -> np.ndarray:
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')

    with running_node(namespace, load_estimator=StandIn(full)):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        robot.camera().send()
        wait_until(lambda: robot.state() == 'inactive')
        wait_until(
            lambda: (
                (s := robot.status('inference'))
                and s.level == ERROR
                and 'out of memory' in s.message
            )
        )


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_compressed_input_gives_the_same_outputs(namespace, robot, extension):
    with running_node(
        namespace,
        load_estimator=StandIn(lambda rgb, _: rgb[..., 0] / 100 + 0.5),
        image_transport='compressed',
        max_depth=9.0,
    ):
        robot.listen(*TYPES)
        camera = robot.camera(topic='image/compressed', kind=CompressedImage)
        rgb = np.full((60, 80, 3), (200, 100, 50), np.uint8)
        data = cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()
        header = camera.header()
        info = camera_info()
        info.header = header
        camera.infos.publish(info)
        camera.images.publish(
            CompressedImage(header=header, format=extension[1:], data=array('B', data))
        )
        for topic in TYPES:
            assert robot.wait_for(topic, 1)[0].header.stamp == header.stamp
        depth = image_array(robot.received['depth/image'][0])
        assert np.abs(depth - 2.5).max() < 0.05, 'the red channel must stay red'


def test_a_compressed_mosaic_has_colour_and_lost_colour_is_told(namespace, robot):
    with running_node(
        namespace,
        load_estimator=StandIn(lambda rgb, _: rgb[..., 0] / 100 + 0.5),
        image_transport='compressed',
        max_depth=9.0,
    ):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera(topic='image/compressed', kind=CompressedImage)
        mosaic = np.full((60, 80), 100, np.uint8)
        mosaic[::2, ::2], mosaic[1::2, 1::2] = 200, 50

        def depth(image: np.ndarray, form: str) -> np.ndarray:
            count = len(robot.received['depth/image'])
            data = cv2.imencode('.png', image)[1].tobytes()
            camera.images.publish(
                CompressedImage(header=camera.header(), format=form, data=array('B', data))
            )
            return image_array(robot.wait_for('depth/image', count + 1)[-1])[2:-2, 2:-2]

        assert np.abs(depth(mosaic, 'bayer_rggb8; png compressed ') - 2.5).max() < 0.02
        depth(mosaic, 'yuv422_yuy2; png compressed mono8')
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and s.level == WARN
                and 'turns yuv422_yuy2 into grey' in s.message
            )
        )


def test_a_compressed_image_that_claims_a_gigapixel_costs_one_frame(namespace, robot, capfd):
    # A PNG of a few bytes whose header claims 32000x32000.
    header = b'IHDR' + struct.pack('>IIBBBBB', 32000, 32000, 8, 2, 0, 0, 0)
    parts = (header, b'IDAT' + zlib.compress(bytes(1000)), b'IEND')
    bomb = b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(part) - 4) + part + struct.pack('>I', zlib.crc32(part))
        for part in parts
    )
    small = cv2.imencode('.png', np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
    with running_node(namespace, load_estimator=StandIn(), image_transport='compressed') as node:
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera(topic='image/compressed', kind=CompressedImage)
        for data in (bomb, small):
            camera.images.publish(
                CompressedImage(
                    header=(sent := camera.header()), format='png', data=array('B', data)
                )
            )
            wait_until(lambda: node.health.snapshot().counts['bad'] == 1)
        robot.wait_for('depth/image', 1)
        assert [m.header.stamp for m in robot.received['depth/image']] == [sent.stamp]
        wait_until(
            lambda: (s := robot.status('input')) and s.level == ERROR and '32000x32000' in s.message
        )
    errors = [line for line in capfd.readouterr().err.splitlines() if '[ERROR]' in line]
    assert len(errors) == 1 and '64 megapixels' in errors[0]


def test_padded_rows_and_bgr_over_dds(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(lambda rgb, _: rgb[..., 0] / 100 + 0.5)):
        robot.listen('depth/image')
        camera = robot.camera()
        rgb = picture(5)
        padded = np.pad(rgb[..., ::-1].reshape(60, -1), ((0, 0), (0, 16)), constant_values=99)
        camera.send(
            Image(height=60, width=80, encoding='bgr8', step=256, data=array('B', padded.tobytes()))
        )
        depth = image_array(robot.wait_for('depth/image', 1)[0])
        np.testing.assert_allclose(depth, rgb[..., 0] / np.float32(100) + 0.5, rtol=1e-6)


def test_the_fallback_is_undone_when_no_best_effort_camera_is_left(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/image')
        first = robot.camera(BEST_EFFORT, matched=False)
        inputs = node._parts.inputs
        wait_until(lambda: inputs.image.fell_back and inputs.info.fell_back)
        second = robot.camera(RELIABLE, matched=False)
        for publisher in (first.images, first.infos):
            robot.node.destroy_publisher(publisher)
        wait_until(lambda: inputs.image.reliability == inputs.info.reliability == 'reliable')
        wait_until(lambda: second.send() and robot.received['depth/image'])


LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_what_was_latched_before_the_node_came_is_heard(namespace, robot):
    infos = robot.node.create_publisher(CameraInfo, 'camera_info', LATCHED)
    infos.publish(camera_info(focal=70.0))
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/camera_info')
        images = robot.node.create_publisher(Image, 'image', 1)
        wait_until(
            lambda: images.publish(rgb_image(picture())) or robot.received['depth/camera_info']
        )
        assert robot.received['depth/camera_info'][0].k[0] == 70.0
        # After that, camera_info that is not latched is also received.
        usual = robot.camera(matched=False)
        wait_until(
            lambda: (
                usual.send(info=camera_info(focal=90.0))
                and robot.received['depth/camera_info'][-1].k[0] == 90.0
            )
        )
        assert not node._parts.inputs.info.pinned


def test_a_latched_calibration_arrives_beside_a_publisher_that_does_not_latch(namespace, robot):
    infos = robot.node.create_publisher(CameraInfo, 'camera_info', LATCHED)
    infos.publish(camera_info(focal=70.0))
    silent = robot.node.create_publisher(CameraInfo, 'camera_info', 1)
    images = robot.node.create_publisher(Image, 'image', 1)
    with running_node(namespace, load_estimator=StandIn()):
        robot.listen('depth/camera_info')
        wait_until(
            lambda: images.publish(rgb_image(picture())) or robot.received['depth/camera_info']
        )
        assert robot.received['depth/camera_info'][-1].k[0] == 70.0
        silent.publish(camera_info(focal=90.0))
        wait_until(
            lambda: (
                images.publish(rgb_image(picture()))
                or robot.received['depth/camera_info'][-1].k[0] == 90.0
            )
        )


def test_a_middleware_that_does_not_count_losses_serves_all_the_same(namespace, robot, monkeypatch):
    """Every middleware here has the event, so the test imitates rclpy's refusal."""
    usual = subscriptions.SubscriptionEventCallbacks

    def without(**events: object) -> object:
        if 'message_lost' in events:
            raise subscriptions.UnsupportedEventTypeError
        return usual(**events)

    monkeypatch.setattr(subscriptions, 'SubscriptionEventCallbacks', without)
    with running_node(namespace, load_estimator=StandIn()):
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera(BEST_EFFORT, matched=False)
        wait_until(lambda: camera.send() and robot.received['depth/image'])
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and 'losses' not in s.message
                and 'whether images get lost is unknown' in s.message
            )
        )


def test_an_overridden_durability_is_respected(namespace, robot):
    override = f'qos_overrides.{namespace}/camera_info.subscription.durability'
    with running_node(namespace, load_estimator=StandIn(), **{override: 'transient_local'}) as node:
        profile = wait_until(
            lambda: robot.node.get_subscriptions_info_by_topic(f'{namespace}/camera_info')
        )[0].qos_profile
        assert profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert override in node._parts.inputs.info.pinned
        robot.node.create_publisher(CameraInfo, 'camera_info', 1)
        wait_until(lambda: node._parts.inputs.info.publishers == 1)
        node._parts.inputs.info.adapt()
        profile = node._parts.inputs.info._subscription.qos_profile
        assert profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


@pytest.mark.parametrize(
    'transport, remapped, image, info',
    [
        ('raw', {}, '{ns}/image', '{ns}/camera_info'),
        ('raw', {'image': '/cam/image_raw'}, '/cam/image_raw', '/cam/camera_info'),
        ('raw', {'image': 'image_raw'}, '{ns}/image_raw', '{ns}/camera_info'),
        ('raw', {'image': '/image_raw'}, '/image_raw', '/camera_info'),
        (
            'raw',
            {'image': '/cam/image_raw', 'camera_info': '/other/info'},
            '/cam/image_raw',
            '/other/info',
        ),
        ('compressed', {}, '{ns}/image/compressed', '{ns}/camera_info'),
        (
            'compressed',
            {'image': '/cam/image_raw'},
            '/cam/image_raw/compressed',
            '/cam/camera_info',
        ),
        (
            'compressed',
            {'image': '/cam/image_raw/compressed'},
            '/cam/image_raw/compressed',
            '/cam/camera_info',
        ),
        (
            'compressed',
            {'image': '/CAM/image_rect_compressed'},
            '/CAM/image_rect_compressed',
            '/CAM/camera_info',
        ),
        ('compressed', {'image/compressed': '/cam/odd_name'}, '/cam/odd_name', '/cam/camera_info'),
    ],
)
def test_topics_follow_the_image_as_image_transport_has_it(
    namespace, transport, remapped, image, info
):
    words = [word for old, new in remapped.items() for word in ('-r', f'{old}:={new}')]
    with running_node(
        namespace, load_estimator=StandIn(), image_transport=transport, arguments=tuple(words)
    ) as node:
        assert (node._parts.inputs.image.topic, node._parts.inputs.info.topic) == (
            image.format(ns=namespace),
            info.format(ns=namespace),
        )


def test_camera_info_by_its_own_name_is_taken_where_nobody_publishes_it_beside_the_images(
    namespace, robot
):
    with running_node(
        namespace, load_estimator=StandIn(), arguments=('-r', f'image:={namespace}/cam/image_raw')
    ) as node:
        robot.listen('scan')
        assert node._parts.inputs.info.topic == f'{namespace}/cam/camera_info'
        camera = robot.camera(topic='cam/image_raw', matched=False)  # without its camera_info
        wait_until(lambda: camera.send() and robot.received['scan'])
        assert node._parts.inputs.info.topic == f'{namespace}/camera_info'


@pytest.mark.parametrize(
    'topic, advice',
    [
        ('image_raw', 'set image_transport to compressed'),
        ('depth/compressedDepth', 'compressedDepth is a depth image: name the topic of a colour'),
    ],
)
def test_a_topic_of_another_kind_is_named_with_the_remedy(namespace, robot, topic, advice):
    with running_node(
        namespace, load_estimator=StandIn(), arguments=('-r', f'image:={namespace}/{topic}')
    ):
        robot.watch_diagnostics()
        robot.node.create_publisher(CompressedImage, topic, 1)
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and s.level == WARN
                and 'sends sensor_msgs/msg/CompressedImage' in s.message
                and advice in s.message
            )
        )


def test_two_cameras_on_one_topic_of_both_kinds_are_heard(namespace, robot):
    reliable = robot.camera(RELIABLE, matched=False)
    with running_node(namespace, load_estimator=StandIn()) as node:
        robot.listen('depth/image')
        best_effort = Camera(robot.node, BEST_EFFORT, 'image', Image)
        image = node._parts.inputs.image
        wait_until(
            lambda: (
                image.fell_back
                and best_effort.images.get_subscription_count()
                and reliable.images.get_subscription_count()
            )
        )
        for count, camera in enumerate((reliable, best_effort), 1):
            wait_until(
                lambda camera=camera, count=count: (
                    camera.send() and len(robot.received['depth/image']) >= count
                )
            )
