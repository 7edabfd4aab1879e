# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the closed loop: obstacles in a room."""

from __future__ import annotations

import math

from test.support.depth_errors import DepthErrors
from test.support.drive import Scenario, ahead, turn_and_leave
from test.support.ray_caster import Box, Scene

SPEED = 0.5
#: Four walls, 9 m by 5 m; the robot starts 2 m in front of the rear wall.
ROOM = (
    Box((7, -2.6, 0), (7.1, 2.6, 2.5)),
    Box((-2.1, -2.6, 0), (-2, 2.6, 2.5)),
    Box((-2, 2.5, 0), (7, 2.6, 2.5)),
    Box((-2, -2.6, 0), (7, -2.5, 2.5)),
)
GOAL = 5.0
#: The camera's distance in front of the robot's centre.
CAMERA_AT = 0.2


def _in_room(*boxes: Box, **floor: float) -> Scene:
    return Scene((*ROOM, *boxes), **floor)


def _towards(*boxes: Box, passable: bool = False, **floor: float) -> Scenario:
    return Scenario(
        _in_room(*boxes, **floor), ahead(SPEED, GOAL), passable, 14.0 if passable else 10.0
    )


def _upright(x: float, y: float, width: float, height: float) -> Box:
    return Box((x, y - width / 2, 0), (x + width, y + width / 2, height))


def _person(x: float, y: float, path=None) -> tuple[Box, ...]:
    """Return a person: two legs, a body and a head."""
    parts = (
        (-0.13, 0.0, 0.8, 0.12),
        (0.13, 0.0, 0.8, 0.12),
        (0.0, 0.8, 1.5, 0.4),
        (0.0, 1.5, 1.75, 0.18),
    )
    return tuple(
        Box((x, y + side - width / 2, low), (x + 0.2, y + side + width / 2, high), path)
        for side, low, high, width in parts
    )


def _steps_in(seconds: float) -> tuple[float, float]:
    """Walk onto the path from 1.5 m to its side, and stay there."""
    return 0.0, -min(1.5, max(0.0, (seconds - 1.0) * 1.0))


def _wall_before_the_camera(distance: float) -> Scenario:
    x = CAMERA_AT + distance
    return Scenario(
        _in_room(Box((x, -2.5, 0), (x + 0.1, 2.5, 2.0))), ahead(SPEED, GOAL), seconds=5.0
    )


SCENARIOS = {
    'wall': _towards(Box((3, -2.5, 0), (3.1, 2.5, 2.0))),
    'wall 0.35 m before the camera': _wall_before_the_camera(0.35),
    'wall 0.25 m before the camera': _wall_before_the_camera(0.25),
    'post of 4 cm': _towards(_upright(3, 0.05, 0.04, 1.2)),
    'box of 10 cm': _towards(Box((3, -0.15, 0), (3.3, 0.15, 0.1))),
    'table': _towards(Box((3, -0.6, 0.68), (3.8, 0.6, 0.72)), passable=True),
    'person': _towards(*_person(3, 0)),
    'person steps in': _towards(*_person(3, 1.5, _steps_in)),
    'rug of 2 cm': _towards(Box((1.5, -1, 0), (3.5, 1, 0.02)), passable=True),
    'doorway of 0.8 m': _towards(
        Box((3, 0.4, 0), (3.1, 2.5, 2.0)), Box((3, -2.5, 0), (3.1, -0.4, 2.0)), passable=True
    ),
    'ramp of 3 degrees': _towards(passable=True, ramp=2.5, slope=math.radians(3)),
    'open floor': _towards(passable=True),
    'turn before a wall': Scenario(
        _in_room(Box((0.6, -2.5, 0), (0.7, 2.5, 2.0))), turn_and_leave(SPEED, 0.6, 1.0), True, 9.0
    ),
}


def _all_at_once(scale: float) -> DepthErrors:
    return DepthErrors(scale, field=0.15, blur=1.0, nearest=0.4, lost=0.3, late=0.3)


ERRORS = {
    'none': DepthErrors(),
    'scale 0.6': DepthErrors(0.6),
    'scale 0.8': DepthErrors(0.8),
    'scale 1.25': DepthErrors(1.25),
    'scale 1.6': DepthErrors(1.6),
    'smooth field of 15 %': DepthErrors(field=0.15),
    'blur of 1 pixel': DepthErrors(blur=1.0),
    'nothing below 0.4 m': DepthErrors(nearest=0.4),
    '30 % of frames lost': DepthErrors(lost=0.3),
    '0.3 s late': DepthErrors(late=0.3),
    'all, scale 0.6': _all_at_once(0.6),
    'all, scale 1.6': _all_at_once(1.6),
}
