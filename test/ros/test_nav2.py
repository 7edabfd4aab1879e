# SPDX-License-Identifier: Apache-2.0
"""What Nav2 relies on: names, times, heights, QoS, and that obstacles are cleared.

These tests do not need Nav2; its rules are restated in test/support/nav2_rules.py.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import LaserScan

from depth_perception.camera.model import CameraModel
from depth_perception.depth.scan import CameraPose
from depth_perception.ros.node.parameters import DEFAULTS
from depth_perception.ros.node.publishers import TYPES
from test.support.estimators import StandIn
from test.support.nav2 import Mounting
from test.support.nav2_rules import ObstacleLayer, points_in_polygon, project_laser
from test.support.ros import BEST_EFFORT, camera_info, picture, rgb_image, running_node
from test.support.scenes import box_on_the_floor, floor, with_box

ROOT = Path(__file__).parents[2]
COSTMAP = yaml.safe_load((ROOT / 'config/nav2_costmap.yaml').read_text())['local_costmap'][
    'local_costmap'
]['ros__parameters']
LAYER = COSTMAP['obstacle_layer']
MONITOR = yaml.safe_load((ROOT / 'config/nav2_collision_monitor.yaml').read_text())[
    'collision_monitor'
]['ros__parameters']
SOURCES = {name: LAYER[name] for name in LAYER['observation_sources'].split()}
INF, NAN = float('inf'), float('nan')

# Parameters declared in both Jazzy and the main branch of August 2026, by source file.
COSTMAP_KEYS = {  # nav2_costmap_2d/src/costmap_2d_ros.cpp
    'always_send_full_costmap',
    'filters',
    'footprint',
    'footprint_padding',
    'global_frame',
    'height',
    'initial_transform_timeout',
    'map_vis_z',
    'origin_x',
    'origin_y',
    'plugins',
    'publish_frequency',
    'resolution',
    'robot_base_frame',
    'robot_radius',
    'rolling_window',
    'track_unknown_space',
    'transform_tolerance',
    'update_frequency',
    'width',
}
LAYER_KEYS = {  # nav2_costmap_2d/plugins/obstacle_layer.cpp; `plugin`: costmap_2d_ros.cpp
    'plugin',
    'enabled',
    'footprint_clearing_enabled',
    'min_obstacle_height',
    'max_obstacle_height',
    'combination_method',
    'observation_sources',
}
SOURCE_KEYS = {  # nav2_costmap_2d/plugins/obstacle_layer.cpp
    'topic',
    'sensor_frame',
    'observation_persistence',
    'expected_update_rate',
    'data_type',
    'min_obstacle_height',
    'max_obstacle_height',
    'inf_is_valid',
    'marking',
    'clearing',
    'obstacle_max_range',
    'obstacle_min_range',
    'raytrace_max_range',
    'raytrace_min_range',
}
INFLATION_KEYS = {  # nav2_costmap_2d/plugins/inflation_layer.cpp
    'plugin',
    'enabled',
    'inflation_radius',
    'cost_scaling_factor',
    'inflate_unknown',
    'inflate_around_unknown',
}
MONITOR_KEYS = {  # nav2_collision_monitor/src/collision_monitor_node.cpp
    'base_frame_id',
    'odom_frame_id',
    'cmd_vel_in_topic',
    'cmd_vel_out_topic',
    'state_topic',
    'transform_tolerance',
    'source_timeout',
    'base_shift_correction',
    'stop_pub_timeout',
    'polygons',
    'observation_sources',
    'use_realtime_priority',
}
POLYGON_KEYS = {  # nav2_collision_monitor/src/polygon.cpp; `type`: collision_monitor_node.cpp
    'type',
    'action_type',
    'enabled',
    'min_points',
    'slowdown_ratio',
    'linear_limit',
    'angular_limit',
    'time_before_collision',
    'simulation_time_step',
    'visualize',
    'polygon_pub_topic',
    'polygon_sub_topic',
    'polygon_subscribe_transient_local',
    'footprint_topic',
    'sources_names',
    'points',
}
VELOCITY_POLYGON_KEYS = {  # nav2_collision_monitor/src/velocity_polygon.cpp, each sub-polygon
    'points',
    'linear_min',
    'linear_max',
    'theta_min',
    'theta_max',
    'direction_start_angle',
    'direction_end_angle',
}
MONITOR_SOURCE_KEYS = {  # nav2_collision_monitor/src/source.cpp and pointcloud.cpp; `type` as above
    'type',
    'topic',
    'enabled',
    'source_timeout',
    'min_height',
    'max_height',
    'min_range',
    'use_global_height',
}


# Configuration files.


def test_costmap_has_only_parameters_that_nav2_has():
    layers = set(COSTMAP['plugins'])
    assert layers == {'obstacle_layer', 'inflation_layer'}
    assert set(COSTMAP) - layers <= COSTMAP_KEYS
    assert set(LAYER) - set(SOURCES) <= LAYER_KEYS
    assert set(COSTMAP['inflation_layer']) <= INFLATION_KEYS
    for source in SOURCES.values():
        assert set(source) <= SOURCE_KEYS


def test_collision_monitor_has_only_parameters_that_nav2_has():
    polygons, sources = MONITOR['polygons'], MONITOR['observation_sources']
    assert set(MONITOR) - {*polygons, *sources} <= MONITOR_KEYS
    for name in polygons:
        parts = set(MONITOR[name].get('velocity_polygons', ()))
        own = {'velocity_polygons', 'holonomic', *parts} if parts else set()
        assert set(MONITOR[name]) <= POLYGON_KEYS | own
        for part in parts:
            assert set(MONITOR[name][part]) <= VELOCITY_POLYGON_KEYS
    for name in sources:
        assert set(MONITOR[name]) <= MONITOR_SOURCE_KEYS


def test_topics_are_those_of_the_node_with_their_types():
    kinds = {'PointCloud2': 'PointCloud2', 'pointcloud': 'PointCloud2', 'LaserScan': 'LaserScan'}
    used = [(s['topic'], s['data_type']) for s in SOURCES.values()]
    used += [
        (MONITOR[name]['topic'], MONITOR[name]['type']) for name in MONITOR['observation_sources']
    ]
    for topic, kind in used:
        assert topic.startswith('/'), 'a relative name would be in the namespace of the costmap'
        assert TYPES[topic.removeprefix('/')].__name__ == kinds[kind]


def test_the_scan_marks_without_infinity_and_clears_with_it():
    assert {
        name: (s['data_type'], s['marking'], s['clearing'], s.get('inf_is_valid', False))
        for name, s in SOURCES.items()
    } == {
        'depth_obstacles': ('LaserScan', True, False, False),
        'depth_scan': ('LaserScan', False, True, True),
    }
    assert LAYER['plugin'] == 'nav2_costmap_2d::ObstacleLayer'


def test_nav2_waits_longer_than_the_node_lets_images_grow_old():
    assert MONITOR['source_timeout'] >= 2 * DEFAULTS['max_age']
    for source in SOURCES.values():
        assert source['expected_update_rate'] >= 2 * DEFAULTS['max_age']


def test_all_that_is_marked_can_be_cleared_and_lies_on_the_map():
    marked, cleared = SOURCES['depth_obstacles'], SOURCES['depth_scan']
    assert cleared['raytrace_max_range'] > marked['obstacle_max_range']
    assert min(COSTMAP['width'], COSTMAP['height']) >= 2 * marked['obstacle_max_range']


def test_heights_are_set_for_each_source_as_the_defaults_let_nothing_through():
    for source in SOURCES.values():
        assert source['min_obstacle_height'] < source['max_obstacle_height']
    for camera_height in (0.05, 1.9):  # the scan is at the height of the camera
        for scan in SOURCES.values():
            assert scan['min_obstacle_height'] < camera_height < scan['max_obstacle_height']
    floor_obstacle = 0.1
    assert MONITOR['depth_points']['min_height'] < floor_obstacle


def test_the_stop_ahead_covers_every_speed_and_reaches_beyond_what_is_too_near_to_be_seen():
    stop = MONITOR['StopAhead']
    ahead = np.array(ast.literal_eval(stop['forward']['points']))
    slow = np.array(ast.literal_eval(MONITOR['PolygonSlow']['points']))
    assert ahead[:, 0].max() > 3 * DEFAULTS['min_depth']
    assert slow[:, 0].max() >= ahead[:, 0].max() + 0.4, 'time to brake'
    # A velocity outside all shapes would keep the last shape.
    assert stop['turn_or_back']['linear_max'] == stop['forward']['linear_min'] == 0
    for name in stop['velocity_polygons']:
        assert stop[name]['theta_min'] <= -10 and stop[name]['theta_max'] >= 10


def test_setup_installs_both_files():
    assert "glob('config/*.yaml')" in (ROOT / 'setup.py').read_text()


# How ObstacleLayer reads infinite, unknown and too near.


def scan_of(*ranges: float) -> LaserScan:
    return LaserScan(
        angle_min=-0.1, angle_increment=0.1, range_min=0.3, range_max=10.0, ranges=list(ranges)
    )


def test_a_free_beam_reaches_to_the_end_and_unknown_or_too_near_ones_say_nothing():
    points = project_laser(scan_of(INF, NAN, -INF), inf_is_valid=True)
    assert points.shape == (1, 3) and np.hypot(*points[0, :2]) == pytest.approx(9.9999)
    assert not len(project_laser(scan_of(INF, NAN, -INF), inf_is_valid=False))


@pytest.mark.parametrize('beam, goes', [(INF, True), (3.2, True), (NAN, False), (-INF, False)])
def test_an_obstacle_goes_where_its_beam_is_free_and_stays_where_it_is_unknown(beam, goes):
    layer = ObstacleLayer(COSTMAP)
    layer.update({'depth_obstacles': np.array([[2.0, 0.0, 0.5]])}, (0, 0))
    assert layer.lethal == {layer.cell(2.0, 0.0)}
    scan = LaserScan(
        angle_min=0.0, angle_increment=0.1, range_min=0.3, range_max=10.0, ranges=[beam]
    )
    layer.update({'depth_scan': project_laser(scan, True) + (0, 0, 0.3)}, (0, 0))
    assert (not layer.lethal) == goes


def test_a_low_box_that_the_camera_looks_over_stays():
    """A level camera at 0.3 m with a view 45 degrees high sees the floor beyond 0.72 m."""
    assert SOURCES['depth_scan']['raytrace_min_range'] <= 0.3 / np.tan(np.radians(45 / 2))
    layer = ObstacleLayer(COSTMAP)
    layer.update({'depth_obstacles': np.array([[0.5, 0.0, 0.1], [1.0, 0.0, 0.1]])}, (0, 0))
    layer.update({'depth_scan': project_laser(scan_of(INF, INF, INF), True)}, (0, 0))
    assert layer.lethal == {layer.cell(0.5, 0.0)}


# Real messages over DDS, to a subscription like those of Nav2.

PITCH, HEIGHT = 12.0, 0.4
POSE = CameraPose(np.radians(PITCH), 0.0, HEIGHT)
CAMERA = CameraModel(320, 240, 250.0, 250.0, 159.5, 119.5)
EMPTY = floor(CAMERA, POSE)


class Drive:
    """Send frames of scenes to a node, and receive what Nav2 would receive."""

    def __init__(self, robot) -> None:
        self.scene = EMPTY
        self.mounting = Mounting(PITCH, HEIGHT)
        self._robot = robot
        self._count = 0
        self._camera = None

    def network(self) -> StandIn:
        return StandIn(lambda rgb, camera: np.where(np.isinf(self.scene), 50.0, self.scene))

    def see(self, scene: np.ndarray) -> dict[str, np.ndarray]:
        """Return the points of the cloud and of the scan in the base frame."""
        if self._camera is None:
            self._robot.listen('depth/points', 'scan', reliability=BEST_EFFORT)
            self._camera = self._robot.camera()
        self.scene = scene
        self._count += 1
        self._camera.send(rgb_image(picture(0, 320, 240)), camera_info(320, 240, 250.0))
        cloud = self._robot.wait_for('depth/points', self._count)[-1]
        scan = self._robot.wait_for('scan', self._count)[-1]
        assert scan.header.frame_id == 'camera_level_frame'
        return {
            'depth_points': self.mounting.cloud_points(cloud),
            'depth_obstacles': self.mounting.scan_points(scan, inf_is_valid=False),
            'depth_scan': self.mounting.scan_points(scan, inf_is_valid=True),
        }


@pytest.fixture
def drive(namespace, robot):
    drive = Drive(robot)
    with running_node(
        namespace, load_estimator=drive.network(), camera_pitch=PITCH, camera_height=HEIGHT
    ):
        yield drive


def box(distance: float, height: float) -> np.ndarray:
    return with_box(EMPTY, CAMERA, POSE, *box_on_the_floor(POSE, distance, height))


@pytest.mark.parametrize('distance', [1.0, 1.7, 2.5])
def test_a_box_on_the_floor_is_marked_and_goes_when_it_is_taken_away(drive, distance):
    layer = ObstacleLayer(COSTMAP)
    layer.update(drive.see(EMPTY), (0, 0))
    assert not layer.lethal, 'the floor is no obstacle'
    layer.update(drive.see(box(distance, 0.1)), (0, 0))
    assert layer.marked_between(distance - 0.06, distance + 0.25) == layer.lethal != set()
    layer.update(drive.see(EMPTY), (0, 0))
    assert not layer.lethal, 'a free beam clears it'


def test_an_obstacle_that_moves_leaves_no_trace(drive):
    layer = ObstacleLayer(COSTMAP)
    for distance in (2.5, 2.0, 1.5, 2.2):
        layer.update(drive.see(box(distance, 0.4)), (0, 0))
        # It hides what is behind it: only cells in front of it are cleared.
        before = layer.marked_between(0, distance - 0.06)
        assert not before and layer.marked_between(distance - 0.06, distance + 0.3)
    layer.update(drive.see(EMPTY), (0, 0))
    assert not layer.lethal


def test_the_collision_monitor_counts_a_box_and_no_floor(drive):
    source, slow = MONITOR['depth_points'], MONITOR['PolygonSlow']
    polygon = np.array(ast.literal_eval(slow['points']))
    assert points_in_polygon(drive.see(EMPTY)['depth_points'], source, polygon) == 0
    seen = points_in_polygon(drive.see(box(0.8, 0.1))['depth_points'], source, polygon)
    assert seen >= slow['min_points']


def test_what_is_too_near_is_an_obstacle_for_both(drive):
    """A wall 0.2 m from the camera is an obstacle; the NaN of a covered camera is not."""
    wall = np.full_like(EMPTY, 0.2)
    seen = drive.see(wall)
    ahead = np.array(ast.literal_eval(MONITOR['StopAhead']['forward']['points']))
    assert points_in_polygon(seen['depth_points'], MONITOR['depth_points'], ahead) >= 1000
    assert len(seen['depth_scan']) > 100, 'a beam at range_min is valid'
    layer = ObstacleLayer(COSTMAP)
    layer.update(seen, (0, 0))
    assert layer.marked_between(0.1, 0.3)


def test_publishers_match_nav2s_sensor_data_subscriptions(namespace):
    """nav2_ros_common/qos_profiles.hpp: SensorDataQoS is best effort and volatile."""
    wanted = QoSProfile(
        depth=50,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
        liveliness=LivelinessPolicy.AUTOMATIC,
    )
    with running_node(namespace, load_estimator=StandIn()) as node:
        for topic in ('depth/points', 'scan'):
            (info,) = node.get_publishers_info_by_topic(f'{namespace}/{topic}')
            compatibility, reason = qos_check_compatible(info.qos_profile, wanted)
            assert compatibility == QoSCompatibility.OK, reason
