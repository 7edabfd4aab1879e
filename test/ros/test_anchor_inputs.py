# SPDX-License-Identifier: Apache-2.0
"""Other sensors correct depth, over DDS; the network sees a wall 1.4 times too far away.

TF is replaced by a stand-in, because not every machine has tf2_ros; one test uses tf2_ros if it is
installed.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField, Range
from std_msgs.msg import Header

from depth_perception.camera.model import CameraModel
from depth_perception.extras import ros_remedy
from depth_perception.ros.conversions.messages import cloud_message, depth_message
from depth_perception.ros.conversions.sensor_messages import (
    SensorError,
    cloud_points,
    depth_array,
    transform_matrix,
)
from depth_perception.ros.conversions.topics import ANCHOR_DEPTH_INFO
from depth_perception.ros.conversions.transforms import TransformError
from depth_perception.ros.node import anchor_inputs
from depth_perception.ros.node.diagnostics import OK, WARN
from depth_perception.ros.node.measurement import CameraView
from depth_perception.ros.node.parameters import ParameterError, anchor_sources, check
from test.support.estimators import StandIn
from test.support.ros import camera_info, cloud_array, image_array, running_node
from test.support.waiting import wait_until

WALL, OFF = 2.0, 1.4
#: The sensor's frame: it looks in the camera's direction, 0.1 m above and behind the camera.
SENSOR, OPTICAL = 'sensor', 'camera_optical_frame'
BODY = Rotation.from_matrix([[0, -1, 0], [0, 0, -1], [1, 0, 0]])


def transform(
    x: float = 0.0, y: float = -0.1, z: float = -0.1, rotation: Rotation = BODY
) -> Transform:
    qx, qy, qz, qw = rotation.as_quat().tolist()
    return Transform(
        translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)
    )


@pytest.fixture
def tf(monkeypatch):
    """Return the transforms to the camera that TF knows, by frame."""
    known = {SENSOR: transform()}

    class Listener:
        def __init__(self, node: Any, purpose: str) -> None:
            pass

        def at(self, target: str, source: str, stamp: Any, patience: float) -> Any:
            if source not in known:
                raise TransformError(f'no transform from {source} to {target}: unknown frame')
            return known[source] and TransformStamped(transform=known[source])

        def clear(self) -> None:
            pass

        destroy = clear

    monkeypatch.setattr(anchor_inputs, 'TransformListener', Listener)
    return known


def scan(header: Header, wall: float = WALL) -> LaserScan:
    """Return the scan of a scanner 0.1 m behind the camera."""
    angles = np.arange(-1.2, 1.2, 0.02)
    return LaserScan(
        header=header,
        angle_min=-1.2,
        angle_max=1.2,
        angle_increment=0.02,
        range_min=0.1,
        range_max=30.0,
        ranges=array('f', (wall + 0.1) / np.cos(angles)),
    )


def sonar(header: Header, distance: float = WALL + 0.1) -> Range:
    return Range(header=header, field_of_view=0.3, min_range=0.1, max_range=4.0, range=distance)


def zones(header: Header) -> PointCloud2:
    """Return points of the wall in the sensor's frame."""
    y, z = np.meshgrid(np.linspace(-0.8, 0.8, 8), np.linspace(-0.6, 0.6, 8))
    points = np.stack([np.full(y.shape, WALL + 0.1), y, z, np.zeros(y.shape)], -1)
    return cloud_message(points.astype(np.float32), header, coloured=False)


def narrow_depth(header: Header) -> Image:
    """Return the image of a depth camera 0.1 m behind the camera; SENSOR is its optical frame."""
    return depth_message(np.full((24, 32), WALL + 0.1, np.float32), header, '16UC1')


class Scene:
    """A node, a camera, a sensor, and the published depth."""

    def __init__(self, robot: Any, node: Any) -> None:
        self.robot, self.node = robot, node
        robot.listen('depth/image')
        robot.watch_diagnostics()
        self.camera, self.count, self.publishers = robot.camera(), 0, {}

    def measure(self, name: str, message: Any, topic: str = '') -> None:
        """Publish a measurement and wait until the node has it."""
        topic = topic or anchor_inputs.TOPICS[name][0]
        if topic not in self.publishers:
            self.publishers[topic] = self.robot.node.create_publisher(
                type(message), topic, QoSProfile(depth=5)
            )
            wait_until(lambda: self.publishers[topic].get_subscription_count() > 0)
        self.publishers[topic].publish(message)
        wait_until(lambda: self.has(name, message), what=f'{topic} to arrive')

    def has(self, name: str, message: Any) -> bool:
        inputs = self.node._parts.anchors
        if isinstance(message, CameraInfo):
            return inputs._depth_info is not None
        known = inputs._messages[name].get(message.header.frame_id, ())
        return any(one.header.stamp == message.header.stamp for one in list(known))

    def depth(self, stamp: float) -> np.ndarray:
        """Return the depth of an image with this stamp."""
        self.count += 1
        self.camera.send(header=self.camera.header(stamp))
        return image_array(self.robot.wait_for('depth/image', self.count)[-1])

    def header(self, stamp: float, frame: str = SENSOR) -> Header:
        return Header(stamp=self.camera.header(stamp).stamp, frame_id=frame)

    def status(self, word: str) -> Any:
        """Wait until the message of the depth status contains a word; return the status."""
        wait_until(
            lambda: (status := self.robot.status('depth')) and word in status.message,
            what=f'diagnostics with {word}',
        )
        return self.robot.status('depth')

    def values(self, name: str, value: str) -> dict[str, str]:
        """Wait until a value in the diagnostics is as expected; return all values."""

        def found() -> dict[str, str]:
            status = self.robot.status('depth')
            return {pair.key: pair.value for pair in status.values} if status else {}

        wait_until(lambda: found().get(name) == value, what=f'{name} {value}')
        return found()


def too_far(rgb: np.ndarray, _camera: Any) -> np.ndarray:
    return np.full(rgb.shape[:2], WALL * OFF)


@pytest.fixture
def scene(namespace, robot, tf, request):
    parameters = {'anchors': 'scan', **getattr(request, 'param', {})}
    with running_node(
        namespace, load_estimator=StandIn(too_far), max_age=0.0, **parameters
    ) as node:
        yield Scene(robot, node)


def with_(**parameters: Any) -> Any:
    return pytest.mark.parametrize('scene', [parameters], indirect=True)


@pytest.mark.parametrize(
    'scene, name, message',
    [
        ({'anchors': 'scan'}, 'scan', scan),
        ({'anchors': 'range'}, 'range', sonar),
        ({'anchors': 'points'}, 'points', zones),
    ],
    indirect=['scene'],
)
def test_a_sensor_puts_the_depth_right(scene, name, message):
    scene.measure(name, message(scene.header(100.05)))
    np.testing.assert_allclose(scene.depth(100.0), WALL, rtol=0.01)
    values = scene.values('anchor_strength', '1.000')
    assert float(values['anchor_factor']) == pytest.approx(1 / OFF, rel=0.01)
    assert float(values['anchor_residual_before_percent']) == pytest.approx(40, abs=1)
    assert float(values['anchor_residual_after_percent']) < 1
    assert values['anchor_age_s'] == '0.050'
    assert int(float(values['anchors_used'])) >= 4 and scene.robot.status('depth').level == OK


@with_(anchors='depth')
def test_a_depth_camera_puts_the_depth_right(scene, tf):
    tf[SENSOR] = transform(rotation=Rotation.identity())
    scene.measure('depth', narrow_depth(scene.header(100.0)))
    np.testing.assert_allclose(scene.depth(100.0), WALL * OFF)
    assert 'no camera_info on ' in scene.status('camera_info').message
    scene.measure('depth', camera_info(64, 48, 60.0), ANCHOR_DEPTH_INFO)
    np.testing.assert_allclose(scene.depth(100.1), WALL, rtol=0.01)


def test_the_floor_puts_the_depth_right(namespace, robot):
    height = 0.2

    def floor(rgb: np.ndarray, camera: Any) -> np.ndarray:
        down = (np.indices(rgb.shape[:2])[0] - camera.cy) / camera.fy
        return np.minimum(WALL, height / np.maximum(down, 1e-3)) * OFF

    with running_node(
        namespace, load_estimator=StandIn(floor), max_age=0.0, anchors='floor', camera_height=height
    ) as node:
        found = Scene(robot, node).depth(100.0)
        np.testing.assert_allclose(found[0], WALL, rtol=0.03)
        assert node._parts.anchors._listener is None


@with_(anchors='scan', point_stride=1)
def test_cloud_and_scan_are_of_the_corrected_depth(scene):
    scene.robot.listen('depth/points', 'scan')
    scene.measure('scan', scan(scene.header(100.0)))
    scene.depth(100.0)
    cloud = cloud_array(scene.robot.wait_for('depth/points', 1)[0])
    np.testing.assert_allclose(cloud[..., 2], WALL, rtol=0.01)
    ranges = np.array(scene.robot.wait_for('scan', 1)[0].ranges)
    assert np.nanmin(ranges) == pytest.approx(WALL, rel=0.01)


def test_a_measurement_is_converted_once_for_all_images_of_a_camera(scene, monkeypatch):
    converted, convert = [], anchor_inputs.point_anchors

    def counted(*arguments: Any) -> Any:
        converted.append(arguments)
        return convert(*arguments)

    monkeypatch.setattr(anchor_inputs, 'point_anchors', counted)
    header = scene.header(100.0)
    scene.measure('scan', scan(header))
    for stamp in (100.0, 100.05, 100.1):
        np.testing.assert_allclose(scene.depth(stamp), WALL, rtol=0.01)
    assert len(converted) == 1
    other = CameraModel(200, 150, fx=200.0, fy=200.0, cx=99.5, cy=74.5)
    view = CameraView(OPTICAL, other, (0.1, 10.0))
    seen = scene.node._parts.anchors.of(view, header.stamp, None, 0.2, lambda: None)
    assert len(converted) == 2 and seen.prepared.size == (150, 200)
    assert len(seen.anchors) == len(seen.prepared.anchors) > 20
    assert seen.anchors.u.max() > 150


@with_(anchors='')
def test_without_anchors_nothing_listens(scene):
    assert scene.node._parts.anchors is None and scene.node._parts.worker._pipeline._anchors is None
    assert not [
        name
        for name, _ in scene.node.get_subscriber_names_and_types_by_node(
            'depth_node', scene.node.get_namespace()
        )
        if '/anchors/' in name or name == '/tf'
    ]
    np.testing.assert_allclose(scene.depth(100.0), WALL * OFF)
    assert not [pair for pair in scene.status('').values if pair.key.startswith('anchor')]


@with_(anchors='scan', anchor_hold=2.0)
def test_the_last_correction_fades_and_time_that_goes_back_ends_it(scene):
    scene.measure('scan', scan(scene.header(100.0)))
    for stamp, share in ((100.0, 1.0), (100.15, 1.0), (101.15, 0.5), (103.0, 0.0)):
        np.testing.assert_allclose(scene.depth(stamp), WALL * OFF ** (1 - share), rtol=0.01)
        if stamp == 101.15:
            assert 'nothing within 0.2 s of the image' in scene.status('anchor_max_age').message
            scene.values('anchor_strength', '0.500')
    assert scene.node.set_parameters([Parameter('anchor_max_age', value=10.0)])[0].successful
    np.testing.assert_allclose(scene.depth(103.1), WALL, rtol=0.01)
    np.testing.assert_allclose(scene.depth(90.0), WALL * OFF, rtol=0.01)
    assert 'is silent' in scene.status('is silent').message
    assert not scene.node._parts.anchors._messages['scan']


def test_what_is_missing_is_told(scene, tf):
    np.testing.assert_allclose(scene.depth(100.0), WALL * OFF)
    assert 'anchors/scan: nobody publishes it' in scene.status('nobody').message
    scene.measure('scan', scan(scene.header(101.0, 'elsewhere')))
    np.testing.assert_allclose(scene.depth(101.0), WALL * OFF)
    assert scene.status('no transform from elsewhere to camera').level == WARN
    tf['elsewhere'] = None  # TF knows the frame, but not at that time
    scene.depth(101.0)
    scene.status('at the time of the measurement')
    tf['elsewhere'] = transform(rotation=BODY * Rotation.from_euler('z', 180, True))
    scene.depth(101.0)
    assert 'is elsewhere its frame?' in scene.status('lies in the image').message


def test_the_reason_is_why_a_measurement_cannot_be_used_and_not_only_when_it_came(scene, tf):
    """Measurements are rarer than images: every other image has none within anchor_max_age."""
    scene.measure('scan', scan(scene.header(100.0, 'elsewhere')))
    scene.depth(100.5)
    assert 'no transform from elsewhere' in scene.status('anchors/scan').message
    tf['elsewhere'] = transform(rotation=BODY * Rotation.from_euler('z', 180, True))
    scene.depth(100.6)
    scene.status('is elsewhere its frame?')
    tf['elsewhere'] = None  # too long ago for TF
    scene.depth(130.0)
    scene.status('the nearest is 30 s away')
    tf['elsewhere'] = transform()
    scene.depth(131.0)
    scene.status('the nearest is 31 s away')


def test_without_tf2_its_package_is_named_whenever_measurements_come(namespace, robot, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    with running_node(
        namespace, load_estimator=StandIn(too_far), max_age=0.0, anchors='scan'
    ) as node:
        scene = Scene(robot, node)
        scene.measure('scan', scan(scene.header(100.0)))
        np.testing.assert_allclose(scene.depth(101.0), WALL * OFF)  # none within anchor_max_age
        said = scene.status('anchors/scan').message
        assert said.count(f'anchors needs tf2_ros: {ros_remedy("tf2_ros")}') == 1


@pytest.mark.parametrize('moves', [False, True])
def test_tf2_carries_a_scan_into_the_image(namespace, robot, moves):
    """With tf2 itself: the scanner hangs on a mast that turns, TF is asked for the scan's stamp."""
    tf2_ros = pytest.importorskip(
        'tf2_ros', reason='tf2_ros is not installed: it comes with ROS 2 from apt'
    )
    static = tf2_ros.StaticTransformBroadcaster(robot.node)
    moving = tf2_ros.TransformBroadcaster(robot.node)

    def say(sender: Any, parent: str, child: str, stamp: float, moved: Transform) -> None:
        header = Header(frame_id=parent, stamp=scene.camera.header(stamp).stamp)
        sender.sendTransform(TransformStamped(header=header, child_frame_id=child, transform=moved))

    with running_node(
        namespace, load_estimator=StandIn(too_far), max_age=0.0, anchors='scan'
    ) as node:
        scene = Scene(robot, node)
        listener = node._parts.anchors._listener
        say(static, OPTICAL, 'mast', 0.0, transform())
        turns = {99.9: -40, 100.0: 0, 100.1: 40} if moves else {100.0: 0}
        for stamp, degrees in turns.items():
            turned = transform(0.0, 0.0, 0.0, Rotation.from_euler('z', degrees, True))
            say(moving if moves else static, 'mast', SENSOR, stamp, turned)

        def known() -> bool:
            try:
                return bool(listener.at(OPTICAL, SENSOR, scene.header(100.0).stamp, 0.0))
            except TransformError:
                return False

        wait_until(known, what='TF to reach the node')
        scene.measure('scan', scan(scene.header(100.0)))
        np.testing.assert_allclose(scene.depth(100.05), WALL, rtol=0.01)
        assert scene.status('').level == OK


def test_a_sensor_in_the_frame_of_the_image_needs_no_tf(namespace, robot):
    points = np.stack(
        [
            *np.meshgrid(np.linspace(-0.5, 0.5, 8), np.linspace(-0.5, 0.5, 8)),
            np.full((8, 8), WALL),
            np.zeros((8, 8)),
        ],
        -1,
    )
    with running_node(
        namespace, load_estimator=StandIn(too_far), max_age=0.0, anchors='points, scan'
    ) as node:
        scene = Scene(robot, node)
        scene.measure(
            'points',
            cloud_message(points.astype(np.float32), scene.header(100.0, OPTICAL), coloured=False),
        )
        np.testing.assert_allclose(scene.depth(100.0), WALL, rtol=0.01)


def test_a_wrong_transform_or_calibration_is_told(scene):
    noise = np.random.default_rng(0).uniform(0.4, 5.0, 120)
    message = scan(scene.header(100.0))
    message.ranges = array('f', noise)
    scene.measure('scan', message)
    scene.depth(100.0)
    assert scene.status('check the calibration and the frame').level == WARN


@with_(anchors='points,scan')
def test_a_message_that_cannot_be_used_costs_itself_alone(scene):
    bad = zones(scene.header(100.0))
    bad.fields = [PointField(name='i', datatype=PointField.UINT8)]
    scene.measure('points', bad)
    scene.measure('scan', scan(scene.header(100.0)))
    np.testing.assert_allclose(scene.depth(100.0), WALL, rtol=0.01)
    assert 'no fields x, y and z of real numbers, it has i' in scene.status('fields').message


def test_several_sonars_share_a_topic(namespace, robot, tf):
    tf['left'], tf['right'] = (
        transform(rotation=BODY * Rotation.from_euler('z', angle, True)) for angle in (20, -20)
    )
    with running_node(
        namespace, load_estimator=StandIn(too_far), max_age=0.0, anchors='range'
    ) as node:
        scene = Scene(robot, node)
        for frame in ('left', 'right'):
            scene.measure(
                'range',
                sonar(scene.header(100.0, frame), (WALL + 0.1) / math.cos(math.radians(20 - 8.6))),
            )
        np.testing.assert_allclose(scene.depth(100.0), WALL, rtol=0.03)
        assert int(float(scene.values('anchors_offered', '16.000')['anchors_offered'])) == 16


def test_depth_is_not_corrected_by_itself(namespace, robot):
    remapped = ('-r', f'anchors/scan:={namespace}/scan')
    with running_node(
        namespace, load_estimator=StandIn(too_far), anchors='scan', arguments=remapped
    ) as node:
        assert robot.state() == 'inactive'
        assert 'where this node publishes scan' in node._parts.problem


def test_unknown_sources_are_refused_by_name():
    with pytest.raises(ParameterError, match="got 'lidar' in 'scan,lidar'"):
        check('anchors', 'scan,lidar')
    assert anchor_sources(' scan, floor,scan') == ('scan', 'floor') and anchor_sources('') == ()


def test_transform_matrices_are_those_of_their_quaternions():
    rotation = Rotation.from_euler('xyz', [10, -70, 160], degrees=True)
    matrix = transform_matrix(transform(1.0, 2.0, 3.0, rotation))
    np.testing.assert_allclose(matrix[:3, :3], rotation.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(matrix[:, 3], [1, 2, 3, 1])
    with pytest.raises(SensorError, match='quaternion'):
        transform_matrix(Transform(rotation=Quaternion(w=0.0)))


@pytest.mark.parametrize('kind, big', [('f4', False), ('f4', True), ('f8', False)])
def test_clouds_of_any_layout(kind, big):
    order = '>' if big else '<'
    layout = np.dtype(
        {
            'names': ['z', 'x', 'y'],
            'formats': [order + kind] * 3,
            'offsets': [0, 9, 20],
            'itemsize': 30,
        }
    )
    points = np.zeros((2, 3), layout)
    points['x'], points['y'], points['z'] = 1, 2, np.arange(6).reshape(2, 3)
    rows = np.zeros((2, 100), np.uint8)
    rows[:, :90] = points.view(np.uint8).reshape(2, 90)
    fields = [
        PointField(
            name=name,
            offset=layout.fields[name][1],
            count=1,
            datatype=PointField.FLOAT32 if kind == 'f4' else PointField.FLOAT64,
        )
        for name in 'xyz'
    ]
    cloud = PointCloud2(
        height=2,
        width=3,
        fields=fields,
        is_bigendian=big,
        point_step=30,
        row_step=100,
        data=array('B', rows.tobytes()),
    )
    np.testing.assert_array_equal(cloud_points(cloud), [[1, 2, z] for z in range(6)])
    np.testing.assert_array_equal(cloud_points(cloud, 2), [[1, 2, 0], [1, 2, 3]])
    cloud.data = cloud.data[:150]
    with pytest.raises(SensorError, match='150 bytes, too few for 3x2'):
        cloud_points(cloud)
    assert len(cloud_points(PointCloud2(fields=fields))) == 0


def test_depth_images_of_both_encodings():
    depth = np.array([[1.5, 0.25], [2.0, 7.0]], np.float32)
    for encoding in ('32FC1', '16UC1'):
        np.testing.assert_allclose(depth_array(depth_message(depth, Header(), encoding)), depth)
    with pytest.raises(SensorError, match="encoding 'rgb8'"):
        depth_array(Image(encoding='rgb8'))
    with pytest.raises(SensorError, match='too few'):
        depth_array(Image(encoding='32FC1', height=2, width=2, step=8, data=array('B', [0] * 15)))
