# SPDX-License-Identifier: Apache-2.0
"""The restated rules of Nav2's collision monitor, each in one small case."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from test.support.drive import MONITOR
from test.support.nav2_rules import CollisionMonitor, Velocity, inside

SQUARE = np.array([[0.2, 0.2], [0.2, -0.2], [-0.2, -0.2], [-0.2, 0.2]])
AHEAD = Velocity(0.5, 0.0)
SOURCE = {
    'type': 'pointcloud',
    'topic': '/depth/points',
    'enabled': True,
    'min_height': 0.1,
    'max_height': 1.0,
}


def monitor(**polygons: dict) -> CollisionMonitor:
    return CollisionMonitor(
        {
            'source_timeout': 1.0,
            'observation_sources': ['depth_points'],
            'depth_points': SOURCE,
            'polygons': list(polygons),
            **{
                name: {'type': 'polygon', 'enabled': True, 'min_points': 4, **polygon}
                for name, polygon in polygons.items()
            },
        },
        SQUARE,
    )


def at(x: float, y: float = 0.0, z: float = 0.5, count: int = 4) -> dict:
    return {'depth_points': (0.0, np.tile([x, y, z], (count, 1)))}


STOP = {'action_type': 'stop', 'points': '[[1, 0.3], [1, -0.3], [0, -0.3], [0, 0.3]]'}
SLOW = {**STOP, 'action_type': 'slowdown', 'slowdown_ratio': 0.4}
APPROACH = {
    'action_type': 'approach',
    'footprint_topic': 'footprint',
    'time_before_collision': 2.0,
    'simulation_time_step': 0.1,
}


def test_a_point_is_in_a_polygon_that_is_not_convex():
    angle = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], float)
    points = np.array([[0.5, 1.5], [1.5, 1.5], [1.5, 0.5], [-0.1, 1.0], [0.5, 0.5]])
    assert inside(points, angle).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    'seen, speed',
    [
        (at(0.5), 0.0),
        (at(0.5, count=3), 0.5),
        (at(1.1), 0.5),
        (at(0.5, y=0.31), 0.5),
        (at(0.5, z=0.09), 0.5),
        (at(0.5, z=1.1), 0.5),
        (at(np.nan), 0.5),
    ],
)
def test_enough_points_at_its_heights_in_a_stop_polygon_stop(seen, speed):
    assert monitor(stop=STOP)(AHEAD, seen)[0].x == speed


def test_a_slowdown_scales_both_and_the_slower_polygon_counts():
    assert monitor(slow=SLOW)(Velocity(0.5, 0.2), at(0.5))[0] == pytest.approx((0.2, 0.08))
    both = monitor(slow=SLOW, slower={**SLOW, 'slowdown_ratio': 0.1})
    assert both(AHEAD, at(0.5)) == (pytest.approx((0.05, 0)), 'slower')
    assert monitor(slow=SLOW, stop=STOP)(AHEAD, at(0.5)) == ((0, 0), 'stop')


def test_a_limit_keeps_the_curve():
    limit = {**STOP, 'action_type': 'limit', 'linear_limit': 0.1, 'angular_limit': 1.0}
    assert monitor(limit=limit)(Velocity(0.5, 0.5), at(0.5))[0] == pytest.approx((0.1, 0.1))


def test_an_approach_keeps_the_time_before_the_footprint_meets_the_points():
    """At 0.5 m/s it enters in the 9th step, at 0.2 + 0.45 m; Nav2 reports the start of the step."""
    allowed, _ = monitor(approach=APPROACH)(AHEAD, at(0.63))
    assert allowed.x == pytest.approx(0.5 * 0.8 / 2)
    assert monitor(approach=APPROACH)(AHEAD, at(1.4))[0] == AHEAD
    assert monitor(approach=APPROACH)(AHEAD, at(0.1))[0].x == 0
    # When the robot turns on the spot, a corner sweeps over points next to the square.
    assert monitor(approach=APPROACH)(Velocity(0, 1.0), at(0.25))[0].turn < 1


def test_an_old_source_stops_and_a_missing_one_too():
    held = monitor(slow=SLOW)
    assert held(AHEAD, {'depth_points': (1.1, np.empty((0, 3)))}) == ((0, 0), 'invalid source')
    assert held(AHEAD, {}) == ((0, 0), 'invalid source')
    assert held(AHEAD, {'depth_points': (0.9, np.empty((0, 3)))}) == (AHEAD, '')


def test_a_velocity_polygon_has_the_shape_of_the_velocity():
    held = CollisionMonitor(MONITOR, SQUARE)
    near = at(0.6, count=50)
    assert held(AHEAD, near) == ((0, 0), 'StopAhead')
    assert held(Velocity(0.05, 0.4), near) == ((0, 0), 'StopAhead')
    for way_out in (Velocity(-0.2, 0.0), Velocity(0.0, 0.5), Velocity(0.0, -0.5)):
        allowed, responsible = held(way_out, near)
        assert responsible == 'PolygonSlow'
        assert allowed == pytest.approx(way_out.times(MONITOR['PolygonSlow']['slowdown_ratio']))


def test_without_a_shape_for_it_a_velocity_polygon_keeps_its_last_one():
    parameters = copy.deepcopy(MONITOR)
    parameters['StopAhead']['velocity_polygons'] = ['forward']
    held = CollisionMonitor(parameters, SQUARE)
    near = at(0.6, count=50)
    assert held(Velocity(-0.2, 0.0), near)[1] == 'PolygonSlow'
    assert held(AHEAD, near)[1] == 'StopAhead'
    assert held(Velocity(-0.2, 0.0), near)[1] == 'StopAhead'
