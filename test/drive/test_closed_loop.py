# SPDX-License-Identifier: Apache-2.0
"""A robot that drives by Nav2's rules with this package's cloud and scan hits nothing.

`python -m benchmarks.closed_loop` runs all scenarios with all errors; these are a selection.
"""

from __future__ import annotations

import json

import pytest

from benchmarks import closed_loop
from test.support.depth_errors import DepthErrors
from test.support.drive import LOW, TALL, Outcome, drive
from test.support.drive_scenarios import ERRORS, SCENARIOS

ROBOTS = {'low': LOW, 'tall': TALL}
SENSORS = {'low': 'lidar', 'tall': 'zones'}
OBSTACLES = ['wall', 'wall 0.25 m before the camera', 'post of 4 cm', 'box of 10 cm', 'person']
PASSABLE = ['table', 'rug of 2 cm', 'doorway of 0.8 m', 'turn before a wall']


@pytest.mark.parametrize('guard', ['monitor', 'costmap'])
@pytest.mark.parametrize(
    'robot, name',
    [*(('low', name) for name in OBSTACLES), ('tall', 'box of 10 cm'), ('tall', 'table')],
)
def test_with_true_depth_it_stops_before_what_is_in_its_way(name, robot, guard):
    outcome = drive(SCENARIOS[name], ROBOTS[robot], guard=guard)
    assert not outcome.collided and not outcome.arrived
    assert outcome.stops_for_nothing == 0
    assert 0.15 < outcome.gap < 0.85


@pytest.mark.parametrize('guard', ['monitor', 'costmap'])
@pytest.mark.parametrize('name', PASSABLE)
def test_with_true_depth_it_passes_where_it_can(name, guard):
    outcome = drive(SCENARIOS[name], LOW, guard=guard)
    assert outcome.arrived and not outcome.collided and outcome.stops_for_nothing == 0


def test_somebody_who_steps_in_its_way_is_not_hit():
    outcome = drive(SCENARIOS['person steps in'], LOW)
    assert not outcome.collided and outcome.gap > 0.15


@pytest.mark.parametrize(
    'robot, name, errors',
    [
        ('low', 'wall', 'scale 1.6'),
        ('low', 'box of 10 cm', 'scale 1.6'),
        ('low', 'box of 10 cm', 'scale 0.6'),
        ('tall', 'table', 'all, scale 1.6'),
        ('tall', 'box of 10 cm', 'all, scale 0.6'),
    ],
)
def test_with_a_ranging_sensor_no_error_of_the_network_makes_it_hit(robot, name, errors):
    outcome = drive(SCENARIOS[name], ROBOTS[robot], ERRORS[errors], SENSORS[robot])
    assert not outcome.collided and not outcome.arrived
    assert outcome.stops_for_nothing == 0


@pytest.mark.parametrize('guard', ['monitor', 'costmap'])
@pytest.mark.parametrize('gap', ['0.35', '0.25'])
def test_a_wall_that_fills_the_view_is_not_taken_for_floor(gap, guard):
    """The network sees it leaning, no floor is in the image, and the lidar's row is below it."""
    name = f'wall {gap} m before the camera'
    outcome = drive(SCENARIOS[name], TALL, ERRORS['smooth field of 15 %'], 'lidar', guard)
    assert not outcome.collided and outcome.gap > 0.15


def test_a_lidar_below_a_table_top_does_not_hide_it():
    outcome = drive(SCENARIOS['table'], TALL, ERRORS['scale 1.6'], 'lidar')
    assert not outcome.collided and not outcome.arrived
    assert outcome.stops_for_nothing == 0 and outcome.gap > 0.4


def test_a_ranging_sensor_frees_the_floor_that_a_wrong_scale_has_raised():
    scenario, wrong = SCENARIOS['open floor'], ERRORS['scale 0.6']
    assert drive(scenario, LOW, wrong, floor_model=False).stops_for_nothing
    assert drive(scenario, LOW, wrong, 'lidar', floor_model=False).arrived


@pytest.mark.parametrize('errors', ['scale 0.6', 'scale 1.6'])
def test_the_floor_that_is_seen_does_so_without_a_sensor(errors):
    wrong = ERRORS[errors]
    outcome = drive(SCENARIOS['box of 10 cm'], LOW, wrong)
    assert not outcome.collided and not outcome.arrived and outcome.stops_for_nothing == 0
    assert drive(SCENARIOS['rug of 2 cm'], LOW, wrong).arrived
    assert drive(SCENARIOS['ramp of 3 degrees'], LOW, wrong).arrived


def test_without_either_a_scale_that_is_too_long_hits_a_low_box():
    """Shows that the test can fail: nothing else stops the robot."""
    assert drive(SCENARIOS['box of 10 cm'], LOW, ERRORS['scale 1.6'], floor_model=False).collided


def test_a_robot_whose_camera_has_failed_stands():
    outcome = drive(SCENARIOS['wall'], LOW, DepthErrors(lost=1.0))
    assert outcome.track[-1][1] == 0 and outcome.reasons == {'invalid source'}


@pytest.mark.parametrize(
    'outcomes, cell',
    [
        ([Outcome(collided=True, stops_for_nothing=1)], 'HIT'),
        ([Outcome(collided=True), Outcome()], 'HIT 1 of 2'),
        ([Outcome(gap=0.756)], '0.76 m'),
        (
            [Outcome(gap=0.756), Outcome(gap=0.8, stops_for_nothing=1)],
            '0.76 to 0.80 m, 1 for nothing',
        ),
        ([Outcome(arrived=True)], 'through'),
        ([Outcome(), Outcome(arrived=True)], 'on its way'),
        ([Outcome(arrived=True, stops_for_nothing=2)], 'through, 2 for nothing'),
    ],
)
def test_the_table_says_what_became_of_a_drive(outcomes, cell):
    assert closed_loop.told([closed_loop.row(outcome) for outcome in outcomes]) == cell


def test_the_command_prints_a_table_and_writes_figures_and_a_picture(tmp_path, capsys, monkeypatch):
    name = 'wall 0.35 m before the camera'
    monkeypatch.setattr(closed_loop, 'PANELS', ((name, 'none', 'floor'),))
    closed_loop.main(
        [
            '--out',
            str(tmp_path),
            '--scenario',
            name,
            '--error',
            'none',
            '--robot',
            'low',
            '--guard',
            'monitor',
            '--aid',
            'floor',
        ]
    )
    said = capsys.readouterr().out
    assert '0 collisions in 1 drives, 0 stops for nothing' in said
    assert f'| {name} | 0.33 m |' in said
    assert '| none | 0 / 0 in 1 |' in said
    (row,) = json.loads((tmp_path / 'closed_loop.json').read_text())
    assert row['gap_m'] == pytest.approx(0.33) and not row['collided']
    assert (tmp_path / 'closed_loop.png').stat().st_size > 1000
