# SPDX-License-Identifier: Apache-2.0
"""The scan of a camera whose pose is known from parameters or TF.

TF is replaced by a stand-in, because not every machine has tf2_ros. The last tests use tf2_ros if
it is installed.
"""

from __future__ import annotations

import math
import sys
import threading
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Transform, TransformStamped
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from depth_perception.extras import ros_remedy
from depth_perception.ros.conversions.messages import level_frame
from depth_perception.ros.conversions.transforms import TransformError, TransformListener
from depth_perception.ros.node import scan_pose
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.scan_pose import ScanPoses
from test.ros.test_node_parameters import set_parameter
from test.support.estimators import StandIn
from test.support.ros import running_node, wait_until

#: Height of the camera, and of a box 1 m ahead, above the floor, metres.
HEIGHT, BOX = 0.15, 0.1
OPTICAL = 'camera_optical_frame'
IMAGE = Header(frame_id=OPTICAL, stamp=Time(sec=1000))
#: From (x forward, z up) to (z forward, y down), REP 103.
TO_OPTICAL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def scene(rgb: np.ndarray, camera) -> np.ndarray:
    """Return the depth of a floor from a level camera, with a box across the left half."""
    rows, columns = np.indices(rgb.shape[:2])
    down = (rows - camera.cy) / camera.fy
    with np.errstate(divide='ignore'):
        floor = np.where(down > 0, HEIGHT / down, 50.0)
    is_box = (columns < 40) & (down < HEIGHT) & (down > HEIGHT - BOX)
    return np.where(is_box, 1.0, floor)


def halves(message) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranges at the left and at the right, without the beams between them."""
    ranges = np.array(message.ranges)
    middle = len(ranges) // 2
    return ranges[middle + 3 :], ranges[: middle - 3]


def mounting(
    yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, height: float = HEIGHT
) -> Transform:
    """Return the optical frame in the base frame, from degrees and metres of a camera."""
    transform = Transform()
    q = transform.rotation
    q.x, q.y, q.z, q.w = (
        (Rotation.from_euler('ZYX', (yaw, pitch, roll), degrees=True) * TO_OPTICAL)
        .as_quat()
        .tolist()
    )
    transform.translation.x, transform.translation.z = 0.2, height
    return transform


class StandInTf:
    """A stand-in for TF in scan_pose: sets its answers, and records what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transform: Transform | None = None
        self.scan_frame: Transform | None = None
        self.stamp = Time()
        #: Transforms at times other than `stamp`, by seconds.
        self.moments: dict[int, Transform] = {}
        self.waits: list[float] = []
        self.asked: list[tuple[str, str]] = []
        self.published: list[tuple] = []
        self.cleared = 0
        monkeypatch.setattr(scan_pose, 'TransformListener', lambda node: self)
        monkeypatch.setattr(scan_pose, 'TransformPublisher', lambda node: self)

    def latest(self, target: str, source: str) -> TransformStamped:
        self.asked.append((target, source))
        transform = self.scan_frame if source == 'level' else self.transform
        if transform is None:
            raise TransformError(f'no transform from {source} to {target}: nobody published it')
        return TransformStamped(header=Header(stamp=self.stamp), transform=transform)

    def at(self, target: str, source: str, stamp: Time, patience: float) -> TransformStamped | None:
        self.waits.append(patience)
        if stamp.sec not in self.moments:
            return None
        return TransformStamped(header=Header(stamp=stamp), transform=self.moments[stamp.sec])

    def publish(self, parent: str, child: str, rotation: tuple, moment: Time | None = None) -> None:
        self.published.append(
            (parent, child, rotation) if moment is None else (parent, child, rotation, moment)
        )

    def clear(self) -> None:
        self.cleared += 1

    def destroy(self) -> None:
        pass


@pytest.fixture
def tf(monkeypatch) -> StandInTf:
    return StandInTf(monkeypatch)


# Poses.


@pytest.mark.parametrize('yaw', [0, 90, -170])
@pytest.mark.parametrize('pitch, roll', [(0, 0), (20, 0), (-10, 5), (35, -12)])
def test_tf_tells_pitch_roll_and_height_whatever_the_yaw(tf, yaw, pitch, roll):
    tf.transform = mounting(yaw, pitch, roll, 0.7)
    stand = ScanPoses(None, 'base_footprint').of(IMAGE, Settings())
    assert (stand.pose.pitch, stand.pose.roll) == pytest.approx(np.radians((pitch, roll)))
    assert stand.pose.height == 0.7 and tf.asked == [('base_footprint', OPTICAL)]
    assert (stand.frame_id, stand.problem) == ('camera_level_frame', '')


def test_the_level_frame_is_a_level_child_of_the_images_frame(tf):
    tf.transform = mounting(0, 20, 5)
    ScanPoses(None, 'base_footprint').of(IMAGE, Settings())
    ((parent, child, rotation),) = tf.published
    assert (parent, child) == (OPTICAL, 'camera_level_frame')
    q = tf.transform.rotation
    level_in_base = Rotation.from_quat([q.x, q.y, q.z, q.w]) * Rotation.from_quat(rotation)
    np.testing.assert_allclose(level_in_base.as_matrix(), np.eye(3), atol=1e-9)


def test_a_stated_height_goes_before_that_of_tf_and_a_camera_below_the_floor_has_none(tf):
    poses = ScanPoses(None, 'base_link')
    tf.transform = mounting(height=0.1)
    assert poses.of(IMAGE, Settings(camera_height=0.4)).pose.height == 0.4
    tf.transform = mounting(height=-0.1)
    assert poses.of(IMAGE, Settings()).pose.height is None


def test_a_jitter_of_tf_changes_nothing_and_a_moving_camera_is_followed(tf):
    poses = ScanPoses(None, 'base_footprint')
    tf.transform = mounting(0, 20)
    first = poses.of(IMAGE, Settings())
    tf.transform = mounting(0, 20.02, 0.02, HEIGHT + 0.002)
    assert poses.of(IMAGE, Settings()).pose is first.pose and len(tf.published) == 1
    tf.transform = mounting(0, 21)
    assert poses.of(IMAGE, Settings()).pose.pitch == pytest.approx(math.radians(21))
    assert len(tf.published) == 2


@pytest.mark.parametrize(
    'stamp, text',
    [(0, ''), (995, 'is 5 s older than the image'), (1003, 'is 3 s newer than the image')],
)
def test_a_moving_cameras_transform_of_another_time_is_used_and_doubted(tf, stamp, text):
    tf.transform, tf.stamp = mounting(), Time(sec=stamp)
    stand = ScanPoses(None, 'base_footprint').of(IMAGE, Settings())
    assert stand.pose is not None
    assert text in stand.problem and bool(text) == bool(stand.problem)


def test_a_moving_camera_stands_as_at_the_images_stamp_and_its_level_frame_has_that_stamp(tf):
    """TF is 1 s newer than the image: the latest pitch would be wrong by 32 degrees."""
    tf.transform, tf.stamp = mounting(0, 42), Time(sec=1001)
    tf.moments = {1000: mounting(0, 10), 1001: mounting(0, 42)}
    poses = ScanPoses(None, 'base_footprint')
    for sec, pitch in ((1000, 10), (1001, 42), (1001, 42)):
        stand = poses.of(Header(frame_id=OPTICAL, stamp=Time(sec=sec)), Settings())
        assert stand.pose.pitch == pytest.approx(math.radians(pitch)) and not stand.problem
    assert [moment.sec for *_, moment in tf.published] == [1000, 1001, 1001]


def test_an_image_waits_for_its_transform_but_not_each_image_in_vain(tf, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(scan_pose.time, 'monotonic', lambda: clock[0])
    tf.transform, tf.stamp = mounting(), Time(sec=999)
    poses = ScanPoses(None, 'base_footprint')
    for moment in (0.0, 0.1, 1.5):
        clock[0] = 100.0 + moment
        assert 'is 1 s older than the image' in poses.of(IMAGE, Settings()).problem
    assert tf.waits == [scan_pose.PATIENCE, 0.0, scan_pose.PATIENCE]
    tf.stamp = Time(sec=1002)  # past transforms will not arrive any more
    assert 'newer' in poses.of(IMAGE, Settings()).problem and tf.waits[-1] == 0.0


@pytest.fixture
def tf2_ros(monkeypatch):
    """A stand-in for the package, which PyPI does not have: transforms by whole seconds."""

    class Buffer:
        known: ClassVar[dict[int, TransformStamped]] = {}

        def lookup_transform_core(self, target: str, source: str, time: object) -> TransformStamped:
            if source == 'nowhere':
                raise module.TransformException('not connected')
            try:
                return self.known[time.nanoseconds // 10**9]
            except KeyError:
                raise module.ExtrapolationException('not yet') from None

    class TransformException(Exception):  # noqa: N818 - its name in tf2
        pass

    module = SimpleNamespace(
        Buffer=Buffer,
        TransformException=TransformException,
        ExtrapolationException=type('ExtrapolationException', (TransformException,), {}),
        TransformListener=lambda buffer, node: None,
    )
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    return module


def test_a_transform_that_comes_after_its_image_is_waited_for_with_an_end(tf2_ros):
    listener = TransformListener(None)
    assert listener.at('base', OPTICAL, Time(sec=7), 0.0) is None
    assert listener.at('base', OPTICAL, Time(sec=7), 0.05) is None
    later = threading.Timer(0.1, lambda: tf2_ros.Buffer.known.update({7: TransformStamped()}))
    later.start()
    assert listener.at('base', OPTICAL, Time(sec=7), 30.0) == TransformStamped()
    later.join()
    with pytest.raises(TransformError, match='no transform from nowhere to base: not connected'):
        listener.at('base', 'nowhere', Time(sec=7), 30.0)


def test_a_base_frame_above_the_camera_is_named(tf):
    tf.transform = mounting(height=-0.3)
    stand = ScanPoses(None, 'base_link').of(IMAGE, Settings())
    assert stand.pose.height is None
    assert 'base_link is 0.30 m above the camera' in stand.problem


def test_parameters_tell_where_there_is_no_base_frame(tf):
    poses = ScanPoses(None, '')
    level = poses.of(IMAGE, Settings(camera_height=0.3))
    assert (level.frame_id, level.pose.is_level, level.pose.height) == ('camera_frame', True, 0.3)
    tilted = poses.of(IMAGE, Settings(camera_pitch=10.0))
    assert tilted.frame_id == 'camera_level_frame' and tilted.pose.height is None
    assert tilted.pose.pitch == pytest.approx(math.radians(10))
    assert len(tf.published) == 1 and not tf.asked


def test_a_named_scan_frame_is_left_to_the_robot_description(tf):
    stand = ScanPoses(None, '').of(IMAGE, Settings(scan_frame='level', camera_pitch=20.0))
    assert stand.frame_id == 'level' and stand.pose.pitch > 0 and not tf.published
    assert not stand.problem and not tf.asked


@pytest.mark.parametrize(
    'turn, shift, text',
    [
        (0, 0.0, ''),
        (1, 0.03, ''),
        (20, 0.0, '20 degrees and 0.00 m'),
        (0, 0.2, '0 degrees and 0.20'),
        (None, 0, 'scan_frame: no transform from level to camera_optical_frame'),
    ],
)
def test_a_named_scan_frame_is_compared_with_what_the_scan_needs(tf, turn, shift, text):
    tf.transform = mounting(30, 20, 5)
    if turn is not None:
        q = tf.transform.rotation
        in_optical = Rotation.from_quat([q.x, q.y, q.z, q.w]).inv() * Rotation.from_euler(
            'ZY', (30, turn), degrees=True
        )
        tf.scan_frame = Transform()
        p = tf.scan_frame.rotation
        p.x, p.y, p.z, p.w = in_optical.as_quat().tolist()
        tf.scan_frame.translation.y = shift
    stand = ScanPoses(None, 'base_footprint').of(IMAGE, Settings(scan_frame='level'))
    assert stand.pose is not None and stand.frame_id == 'level' and not tf.published
    assert text in stand.problem and bool(text) == bool(stand.problem)


@pytest.mark.parametrize(
    'transform, text',
    [
        (None, 'no scan: no transform from camera_optical_frame to base_footprint'),
        (Transform(), 'no scan: the transform has no rotation'),
        (mounting(0, 88), 'no scan: the camera looks 88 degrees down'),
    ],
)
def test_without_a_usable_transform_there_is_no_scan_and_a_reason(tf, transform, text):
    tf.transform = transform
    if transform == Transform():
        transform.rotation.w = 0.0
    stand = ScanPoses(None, 'base_footprint').of(IMAGE, Settings())
    assert stand.pose is None and stand.problem.startswith(text)


@pytest.mark.parametrize(
    'frame_id, level',
    [
        ('camera_optical_frame', 'camera_level_frame'),
        ('cam_optical_link', 'cam_level_link'),
        ('front_optical', 'front_level'),
        ('camera', 'camera_level'),
    ],
)
def test_names_of_level_frames(frame_id, level):
    assert level_frame(frame_id) == level


# The node.


def test_the_height_takes_the_floor_out_of_the_scan_and_leaves_the_box(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(scene), edge_threshold=0.0):
        robot.listen('scan')
        camera = robot.camera()
        camera.send()
        left, right = halves(robot.wait_for('scan', 1)[-1])
        assert (left < 0.7).all() and (right < 0.7).all(), 'the floor, as its height is not known'

        assert set_parameter(robot, 'camera_height', HEIGHT).successful
        camera.send()
        left, right = halves(robot.wait_for('scan', 2)[-1])
        assert ((left >= 1.0) & (left < 1.2)).all() and (right == np.inf).all()

        assert set_parameter(robot, 'floor_tolerance', 0.12).successful
        camera.send()
        left, right = halves(robot.wait_for('scan', 3)[-1])
        assert (left == np.inf).all() and (right == np.inf).all()


def logged_warnings(node) -> list[str]:
    """Collect the warnings of the node from now on."""
    texts: list[str] = []
    warning = node.get_logger().warning

    def note(text: str, **options: object) -> None:
        texts.append(text)
        warning(text, **options)

    node.get_logger().warning = note
    return texts


def test_no_camera_info_is_logged_once_as_the_reason_for_no_scan(namespace, robot):
    with running_node(namespace, load_estimator=StandIn()) as node:
        log = logged_warnings(node)
        robot.watch_diagnostics()
        robot.listen('depth/image')
        camera = robot.camera()
        for count in range(1, 3):
            seen = len(robot.diagnostics)
            camera.send(with_info=False)
            robot.wait_for('depth/image', count)
            wait_until(lambda seen=seen: len(robot.diagnostics) > seen + 1)
        assert [text for text in log if 'no scan' in text] == [
            f'no cloud and no scan: no camera_info on {namespace}/camera_info'
        ]


def test_the_scan_waits_for_tf_and_the_rest_does_not(namespace, robot, tf):
    with running_node(
        namespace, load_estimator=StandIn(scene), base_frame='base_footprint', edge_threshold=0.0
    ) as node:
        log = logged_warnings(node)
        robot.watch_diagnostics()
        robot.listen('scan', 'depth/points')
        camera = robot.camera()
        camera.send()
        robot.wait_for('depth/points', 1)
        status = wait_until(lambda: (s := robot.status('input')) and 'no scan' in s.message and s)
        assert 'no transform from camera_optical_frame to base_footprint' in status.message
        assert not robot.received['scan']

        tf.transform = mounting()
        camera.send()
        left, right = halves(robot.wait_for('scan', 1)[-1])
        assert ((left >= 1.0) & (left < 1.2)).all() and (right == np.inf).all()
        assert robot.received['scan'][-1].header.frame_id == 'camera_level_frame'
        wait_until(lambda: 'no scan' not in robot.status('input').message)
        # Logged once, even if its figures change, and not with each diagnostics message.
        logged = [text for text in log if 'no scan: no transform' in text]
        assert len(logged) == 1, log


def test_transforms_of_an_earlier_run_are_forgotten_when_time_goes_back(namespace, robot, tf):
    with running_node(
        namespace, load_estimator=StandIn(scene), base_frame='base_footprint', max_age=0.0
    ):
        robot.listen('depth/image')
        camera = robot.camera()
        for count, stamp in enumerate((1000.0, 1001.0, 900.0), 1):
            camera.send(header=camera.header(stamp))
            robot.wait_for('depth/image', count)
        wait_until(lambda: tf.cleared == 1)


def test_base_frame_without_tf2_is_a_configuration_that_fails(namespace, robot, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    with running_node(namespace, load_estimator=StandIn(), base_frame='base_link') as node:
        assert robot.state() == 'unconfigured'
        assert f'base_frame needs tf2_ros: {ros_remedy("tf2_ros")}' in node._parts.problem


def test_a_pitch_without_tf2_is_a_scan_whose_frame_nobody_knows(namespace, robot, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_msgs', None)
    monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', None)
    with running_node(namespace, load_estimator=StandIn(), camera_pitch=10.0):
        robot.watch_diagnostics()
        robot.listen('scan')
        robot.camera().send()
        assert robot.wait_for('scan', 1)[-1].header.frame_id == 'camera_level_frame'
        wait_until(
            lambda: (
                (s := robot.status('input'))
                and 'nobody publishes the frame camera_level_frame' in s.message
            )
        )


# With tf2 itself.


class Description:
    """Publish and look up transforms outside the node, like the rest of a robot."""

    def __init__(self, robot) -> None:
        tf2_ros = pytest.importorskip('tf2_ros')
        from geometry_msgs.msg import TransformStamped

        self._node, self._stamped = robot.node, TransformStamped
        self._static = tf2_ros.StaticTransformBroadcaster(robot.node)
        self._moving = tf2_ros.TransformBroadcaster(robot.node)
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, robot.node)

    def say(self, parent: str, child: str, transform: Transform, moves: bool = False) -> None:
        message = self._stamped(child_frame_id=child, transform=transform)
        message.header.frame_id = parent
        message.header.stamp = self._node.get_clock().now().to_msg()
        (self._moving if moves else self._static).sendTransform(message)

    def lookup(self, target: str, source: str) -> Transform | None:
        from rclpy.time import Time

        if self._buffer.can_transform(target, source, Time()):
            return self._buffer.lookup_transform(target, source, Time()).transform
        return None


def rotation_of(transform: Transform) -> Rotation:
    q = transform.rotation
    return Rotation.from_quat([q.x, q.y, q.z, q.w])


@pytest.mark.parametrize('moves', [False, True])
def test_tf2_carries_the_scan_to_where_the_obstacle_is(namespace, robot, moves):
    """A wall 2 m ahead of a camera that looks 10 degrees down and 90 degrees to the left."""
    description = Description(robot)
    with running_node(
        namespace,
        load_estimator=StandIn(wall_at_2_m),
        base_frame='base_footprint',
        edge_threshold=0.0,
    ):
        robot.listen('scan')
        camera = robot.camera()
        sent = 0

        def scans_at(pitch: float) -> bool:
            nonlocal sent
            description.say('base_footprint', OPTICAL, mounting(90, pitch, 0, 0.5), moves)
            camera.send()
            sent += 1
            level = description.lookup('base_footprint', 'camera_level_frame')
            return (
                level is not None
                and robot.received['scan']
                and np.allclose(
                    rotation_of(level).as_matrix(),
                    Rotation.from_euler('Z', 90, degrees=True).as_matrix(),
                    atol=2e-3,
                )
            )

        wait_until(lambda: scans_at(10.0))
        scan = robot.received['scan'][-1]
        level = description.lookup('base_footprint', scan.header.frame_id)
        origin = (level.translation.x, level.translation.y, level.translation.z)
        assert origin == pytest.approx((0.2, 0.0, 0.5))
        angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
        ahead = np.abs(angles) < 0.3
        points = (
            np.array(scan.ranges)[ahead, None]
            * np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1)[ahead]
        )
        in_base = rotation_of(level).apply(points) + origin
        np.testing.assert_allclose(in_base[:, 1], 2.0, atol=0.02)


def wall_at_2_m(rgb: np.ndarray, camera) -> np.ndarray:
    """Return the depth of a vertical wall, seen by a camera that looks 10 degrees down."""
    down = (np.indices(rgb.shape[:2])[0] - camera.cy) / camera.fy
    return 2 / (math.cos(math.radians(10)) - down * math.sin(math.radians(10)))


def test_tf2_says_a_level_frame_anew_when_the_pitch_changes(namespace, robot):
    description = Description(robot)
    with running_node(namespace, load_estimator=StandIn(), camera_pitch=10.0):
        robot.listen('scan')
        camera = robot.camera()

        def level_is(pitch: float) -> bool:
            camera.send()
            level = description.lookup(OPTICAL, 'camera_level_frame')
            return level is not None and np.allclose(
                (
                    rotation_of(level) * Rotation.from_euler('Y', pitch, degrees=True) * TO_OPTICAL
                ).as_matrix(),
                np.eye(3),
                atol=1e-6,
            )

        wait_until(lambda: level_is(10.0))
        assert set_parameter(robot, 'camera_pitch', 20.0).successful
        wait_until(lambda: level_is(20.0))
