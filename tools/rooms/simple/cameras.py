# SPDX-License-Identifier: Apache-2.0
"""Views of a planned room: from robot heights, of near objects, and down at a table top."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import views

from simple.layout import Plan

Aim = Literal['table', 'near', 'room']

TABLE_SHARE = 0.18  # share of views of a table, a bed or a sofa from 0.4 to 2 m
NEAR_SHARE = 0.3  # share of views close to a cupboard, a chair, a corner: the scale of near things
NEAREST = 0.15  # metres, in such views
ROBOT_HEIGHT = (0.08, 1.2)  # metres: robot vacuums too
ROBOT_SHARE = 0.75  # share of robots among the other views
TILTED_SHARE = 0.55  # share of robots whose camera is tilted to the floor before them
TILT = (-35.0, -5.0)  # degrees, of such cameras
LARGE = 0.25  # metres, the longest side of a model that such views are aimed at
#: Range of the median distance of a view in metres.
MEDIAN: dict[Aim, tuple[float, float]] = {
    'table': (0.4, views.FARTHEST),
    'near': (0.3, 1.5),
    'room': (1.0, views.FARTHEST),
}
LEAST_RANGE = 1.7  # smallest ratio of the 90th to the 10th percentile of the distances
MARGIN = 0.2  # metres from the walls


def draw_view(seed: int, index: int, attempt: int, plan: Plan) -> views.View | None:
    """Draw the view of (seed, index, attempt), or return None if no floor is below it."""
    rng = np.random.default_rng([seed, index, attempt])
    aim = aim_of(seed, index)
    if aim == 'table' and plan.thing.tops and attempt < 100:
        drawn = aimed_at_table(rng, plan)
    elif aim == 'near' and plan.taken and attempt % 3:
        drawn = in_front_of_something(rng, plan)
    else:
        drawn = from_the_floor(rng, plan)
    x, y, height, yaw, pitch, roll = drawn
    if not any(zone.contains(x, y, MARGIN) for zone in plan.zones) or height > plan.height - 0.2:
        return None
    return views.View(
        index=index,
        attempt=attempt,
        x=x,
        y=y,
        height=height,
        yaw=yaw % 360.0,
        pitch=pitch,
        roll=roll,
        field_of_view=rng.uniform(*views.FIELD_OF_VIEW),
        lighting=views.lighting_of(index),
        exposure=float(np.clip(rng.normal(0.0, 0.6), -1.8, 1.5)),
        warmth=float(np.clip(rng.normal(0.0, 0.25), -0.7, 0.7)),
    )


def aim_of(seed: int, index: int) -> Aim:
    """Return the purpose of this view of the room."""
    drawn = np.random.default_rng([seed, index, 99_999]).random()
    if drawn < TABLE_SHARE:
        return 'table'
    return 'near' if drawn < TABLE_SHARE + NEAR_SHARE else 'room'


def from_the_floor(rng: np.random.Generator, plan: Plan) -> tuple[float, ...]:
    """Draw x, y, height, yaw, pitch, roll of a robot or a person somewhere in the room."""
    areas = np.array([zone.size[0] * zone.size[1] for zone in plan.zones])
    areas[1:] *= 0.6
    zone = plan.zones[int(rng.choice(len(areas), p=areas / areas.sum()))]
    robot = rng.random() < ROBOT_SHARE
    height = robot_height(rng) if robot else rng.uniform(*views.HAND_HEIGHT)
    x, y = (rng.uniform(zone.low[k] + MARGIN, zone.high[k] - MARGIN) for k in (0, 1))
    roll = rng.normal(0.0, 1.0 if robot else 4.0)
    tilted = robot and rng.random() < TILTED_SHARE
    pitch = rng.uniform(*TILT) if tilted else views.draw_pitch(rng, height)
    return x, y, height, draw_yaw(rng, plan, x, y), pitch, roll


def robot_height(rng: np.random.Generator) -> float:
    """Draw a height, uniform in its logarithm, since low heights change the picture most."""
    low, high = ROBOT_HEIGHT
    return float(low * (high / low) ** rng.random())


def draw_yaw(rng: np.random.Generator, plan: Plan, x: float, y: float) -> float:
    """Draw a direction: usually towards another point of the floor, where there is more to see."""
    if rng.random() < 0.3:
        return rng.uniform(0.0, 360.0)
    zone = plan.zones[int(rng.integers(len(plan.zones)))]
    there = [rng.uniform(zone.low[k], zone.high[k]) for k in (0, 1)]
    return math.degrees(math.atan2(there[1] - y, there[0] - x)) + rng.normal(0.0, 12.0)


def aimed_at_table(rng: np.random.Generator, plan: Plan) -> tuple[float, ...]:
    """Draw a camera position that looks down at a table top, slightly off its centre."""
    top = np.array(plan.thing.tops[int(rng.integers(len(plan.thing.tops)))])
    top[:2] += rng.normal(0.0, 0.15, 2)
    away, yaw = rng.uniform(0.35, 1.7), rng.uniform(0.0, 360.0)
    above = min(rng.uniform(0.15, 0.9), 1.75 - top[2])
    x, y = top[:2] - away * np.array([math.cos(math.radians(yaw)), math.sin(math.radians(yaw))])
    pitch = -math.degrees(math.atan2(above, away)) + rng.normal(0.0, 6.0)
    return x, y, top[2] + above, yaw + rng.normal(0.0, 8.0), pitch, rng.normal(0.0, 5.0)


def something(rng: np.random.Generator, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest corner of a model, or of what else takes space."""
    large = [item for item in plan.thing.models if max(item.model.size) > LARGE]
    if large and rng.random() < 0.7:
        corners = large[int(rng.integers(len(large)))].corners()
        return corners.min(axis=0), corners.max(axis=0)
    return plan.taken[int(rng.integers(len(plan.taken)))]


def in_front_of_something(rng: np.random.Generator, plan: Plan) -> tuple[float, ...]:
    """Draw a camera, usually a low robot, 0.25 to 1.1 m in front of a piece of furniture."""
    low, high = something(rng, plan)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    ahead = np.array([math.cos(angle), math.sin(angle)])
    half = (high - low)[:2] / 2
    edge = float(np.min(half / np.maximum(np.abs(ahead), 1e-6)))  # from the centre to the outside
    x, y = (low + high)[:2] / 2 - ahead * (edge + rng.uniform(0.25, 1.1))
    robot = rng.random() < 0.7
    height = min(robot_height(rng), 0.7) if robot else rng.uniform(0.7, 1.6)
    target = np.clip(rng.uniform(low[2], high[2]), 0.0, 1.8)
    pitch = math.degrees(math.atan2(target - height, edge + 0.7))
    pitch = float(np.clip((0.4 if robot else 0.8) * pitch + rng.normal(0.0, 6.0), -60.0, 25.0))
    yaw = math.degrees(angle) + rng.normal(0.0, 18.0)
    return float(x), float(y), height, yaw, pitch, rng.normal(0.0, 1.0 if robot else 4.0)


def rejection(distances: np.ndarray, backs: np.ndarray, aim: Aim) -> str | None:
    """Return why a view is not worth rendering (see `views.rejection`), or None."""
    capped = np.minimum(distances, views.FARTHEST)
    near, far = np.quantile(capped, (0.1, 0.9))
    if far < LEAST_RANGE * near:
        return 'one surface'
    nearest, farthest = MEDIAN[aim]
    if np.median(capped) > farthest:
        return 'distance'
    closest = NEAREST if aim == 'near' else views.NEAREST
    return views.rejection(distances, backs, nearest, closest)
