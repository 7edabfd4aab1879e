# SPDX-License-Identifier: Apache-2.0
"""Kitchens and bathrooms in real sizes. Backs to -y, fronts to +y, standing on z = 0."""

from __future__ import annotations

import math

import numpy as np

from simple import clutter, sets
from simple.mesh import Thing, box, cylinder, ellipsoid, lathe, tube
from simple.shop import from_catalogue, one
from simple.storage import doors
from simple.style import Style, numbered, pick


def tap(reach: float = 0.16) -> Thing:
    """A water tap."""
    angle = np.linspace(0, math.pi, 8)
    bow = [(0, reach / 2 * (1 - math.cos(a)), 0.2 + 0.08 * math.sin(a)) for a in angle]
    return cylinder(0.022, 0.05, (0, 0, 0), 'metal:0').add(
        tube([(0, 0, 0), *bow], 0.011, 'metal:0')
    )


def oven(rng: np.random.Generator, width: float, depth: float) -> Thing:
    """An oven front with its glass, handle and knobs, below a hob."""
    y = depth / 2
    thing = Thing(
        [
            box(
                (width - 0.005, 0.02, 0.58),
                (0, y + 0.01, 0.41),
                pick(rng, ('black:0', 'steel:0')),
                0.003,
            )
        ]
    )
    thing.add(box((width - 0.12, 0.004, 0.34), (0, y + 0.021, 0.37), 'glassy:0'))
    thing.add(
        tube(
            [(-width / 2 + 0.07, y + 0.05, 0.6), (width / 2 - 0.07, y + 0.05, 0.6)],
            0.01,
            'metal:0',
            6,
        )
    )
    thing.add(box((width - 0.005, 0.02, 0.12), (0, y + 0.01, 0.77), 'steel:0'))
    for x in np.linspace(-0.2, 0.2, 5):
        thing.add(tube([(x, y + 0.01, 0.77), (x, y + 0.045, 0.77)], 0.018, 'black:0'))
    return thing


@from_catalogue(sets.counter, 0.6)
def counter(rng: np.random.Generator, style: Style, width: float, above: bool = True) -> Thing:
    """A row of kitchen base units with worktop, sink, hob, oven; with wall units if `above`."""
    depth, height = 0.58, rng.uniform(0.86, 0.92)
    top = pick(rng, ('stone:0', 'wood:1', 'stone:0', 'steel:0'))
    thing = Thing([box((width, depth - 0.06, 0.1), (0, -0.03, 0.05), 'black:0')])
    thing.add(box((width, depth, height - 0.14), (0, 0, 0.1 + (height - 0.14) / 2), style.body))
    thing.add(box((width + 0.02, depth + 0.04, 0.04), (0, 0.02, height - 0.02), top, 0.005))
    cook = rng.uniform(-0.25, 0.3) * (width - 0.6)
    for left, right in ((-width / 2, cook - 0.3), (cook + 0.3, width / 2)):
        if right - left > 0.15:
            low = doors(rng, right - left, depth, 0.1, height - 0.04, style)
            thing.add(low.at((left + right) / 2))
    thing.add(oven(rng, 0.6, depth).at(cook))
    thing.add(box((0.58, 0.5, 0.008), (cook, 0, height + 0.003), 'glassy:0', 0.002))
    if rng.random() < 0.5:
        thing.add(
            pan(rng).at(
                cook + rng.choice([-0.15, 0.15]),
                rng.choice([-0.12, 0.12]),
                height + 0.007,
                rng.uniform(0, 360),
            )
        )
    basin = -0.3 * width if cook > 0 else 0.3 * width
    if width > 1.6:
        thing.add(box((0.5, 0.4, 0.006), (basin, 0.02, height + 0.002), 'steel:1', 0.002))
        thing.add(clutter.tray(0.42, 0.34, 0.012, 'steel:1').at(basin, 0.02, height))
        thing.add(tap().at(basin, -0.2, height))
    back = -depth / 2 + (0.02 if above else 0.16)  # a window may be behind
    area = (-width / 2 + 0.05, width / 2 - 0.05, back, 0.1, height)
    clutter.scatter(rng, thing, area, int(rng.integers(2, 9)), clutter.KITCHEN)
    return thing.add(wall_units(rng, style, width, cook)) if above else thing


def wall_units(rng: np.random.Generator, style: Style, width: float, cook: float) -> Thing:
    """Wall units with a hood between them, or open shelves."""
    low, thing, depth = rng.uniform(1.38, 1.5), Thing(), 0.34
    high, y = low + rng.uniform(0.55, 0.8), -0.29 + depth / 2
    choice = rng.random()
    for left, right in ((-width / 2, cook - 0.31), (cook + 0.31, width / 2)):
        span = right - left
        if span < 0.25 or choice > 0.9:
            continue
        if choice < 0.7:
            unit = Thing(
                [box((span, depth, high - low), (0, 0, (low + high) / 2), style.body, 0.003)]
            )
            thing.add(unit.add(doors(rng, span, depth, low, high, style)).at((left + right) / 2, y))
        else:
            for z in (low, low + 0.35):
                shelf = Thing([box((span, 0.24, 0.025), (0, 0, 0), style.wood)])
                area = (-span / 2, span / 2, -0.12, 0.12, 0.013)
                clutter.scatter(rng, shelf, area, int(4 * span) + 1, clutter.KITCHEN)
                shelf.tops.clear()
                thing.add(shelf.at((left + right) / 2, -0.17, z))
    if rng.random() < 0.7:
        thing.add(box((0.6, 0.45, 0.06), (cook, -0.06, low + 0.05), 'steel:0', 0.004))
        thing.add(box((0.28, 0.26, 0.8), (cook, -0.15, low + 0.45), 'steel:0', 0.003))
    return thing


def pan(rng: np.random.Generator) -> Thing:
    """A pot or a frying pan."""
    radius, height = rng.uniform(0.09, 0.14), float(rng.choice([0.05, 0.12]))
    name = pick(rng, ('black:0', 'metal:0', 'lacquer:2'))
    pot = lathe(
        [
            (0, 0),
            (radius, 0),
            (radius, height),
            (radius - 0.004, height),
            (radius - 0.004, 0.006),
            (0, 0.006),
        ],
        name,
        smooth=False,
    )
    return Thing(
        [
            pot,
            tube(
                [(radius, 0, height - 0.01), (radius + 0.17, 0, height + 0.01)], 0.011, 'black:0', 6
            ),
        ]
    )


@from_catalogue(one('fridge'), 0.6)
def fridge(rng: np.random.Generator, _: Style) -> Thing:
    """A refrigerator."""
    width, depth, height = (
        rng.uniform(0.55, 0.7),
        rng.uniform(0.58, 0.68),
        float(rng.choice([0.85, 1.45, 1.8, 2.0])),
    )
    name = pick(rng, ('white:0', 'steel:0', 'lacquer:2', 'white:0'))
    thing = Thing([box((width, depth, height), (0, 0, height / 2), name, 0.01)])
    split = height * rng.uniform(0.3, 0.7)
    for low, high in ((0.04, split), (split, height)):
        thing.add(
            box(
                (width - 0.004, 0.04, high - low - 0.008),
                (0, depth / 2 + 0.02, (low + high) / 2),
                name,
                0.012,
                2,
            )
        )
        thing.add(
            box(
                (0.02, 0.03, min(0.3, 0.6 * (high - low))),
                (-width / 2 + 0.06, depth / 2 + 0.05, (low + high) / 2),
                'metal:0',
                0.005,
            )
        )
    for _ in range(int(rng.integers(0, 6))):
        thing.add(
            box(
                (0.12, 0.003, 0.15),
                (rng.uniform(-0.2, 0.2), depth / 2 + 0.042, rng.uniform(0.5, 0.95) * height),
                numbered(rng, 'paper'),
                fit=True,
            )
        )
    return thing


@from_catalogue(one('washer'))
def washer(rng: np.random.Generator, _: Style) -> Thing:
    """A washing machine."""
    thing = Thing([box((0.6, 0.58, 0.85), (0, 0, 0.425), 'white:0', 0.008)])
    door = lathe([(0, 0), (0.13, 0.01), (0.15, 0.03), (0.19, 0.03), (0.2, 0)], 'metal:0')
    glass = lathe([(0.15, 0.032), (0, 0.045)], 'glassy:0')
    thing.add(Thing([door, glass]).tilted(0, -90).at(0, 0.29, 0.42))
    thing.add(box((0.58, 0.01, 0.1), (0, 0.29, 0.78), 'white:1', 0.003))
    thing.add(box((0.15, 0.012, 0.04), (0.1, 0.29, 0.78), 'glassy:0'))
    return clutter.scatter(rng, thing, (-0.28, 0.28, -0.27, 0.27, 0.85), 3, clutter.BATH)


@from_catalogue(one('toilet'))
def toilet(rng: np.random.Generator, _: Style) -> Thing:
    """A toilet with its cistern."""
    bowl = [
        (0.12, 0.0),
        (0.11, 0.15),
        (0.18, 0.35),
        (0.19, 0.4),
        (0.15, 0.4),
        (0.1, 0.25),
        (0, 0.2),
    ]
    part = lathe(bowl, 'ceramic:0', segments=24)
    part.vertices = part.vertices * [1.0, 1.3, 1.0] + [0, 0.1, 0]
    thing = Thing([part, box((0.22, 0.25, 0.4), (0, -0.18, 0.2), 'ceramic:0', 0.02, 2)])
    thing.add(box((0.38, 0.17, 0.38), (0, -0.26, 0.59), 'ceramic:0', 0.03, 2))
    if rng.random() < 0.6:
        thing.add(box((0.37, 0.45, 0.025), (0, 0.1, 0.415), 'white:0', 0.012, 2))
    else:
        thing.add(box((0.36, 0.025, 0.44), (0, -0.15, 0.63), 'white:0', 0.012, 2))
    return thing


@from_catalogue(one('washbasin'))
def wash_stand(rng: np.random.Generator, style: Style) -> Thing:
    """A washbasin on a cabinet with a mirror above."""
    width, height = rng.uniform(0.5, 1.1), rng.uniform(0.8, 0.88)
    thing = Thing([box((width, 0.44, 0.5), (0, 0, height - 0.37), style.body, 0.004)])
    thing.add(doors(rng, width, 0.44, height - 0.6, height - 0.13, style))
    thing.add(box((width + 0.02, 0.48, 0.1), (0, 0.01, height - 0.07), 'ceramic:0', 0.02, 2))
    thing.add(
        ellipsoid((0.42, 0.3, 0.03), (0, 0.04, height - 0.02), 'ceramic:1'),
        tap().at(0, -0.17, height - 0.02),
    )
    clutter.scatter(
        rng, thing, (-width / 2, width / 2, -0.22, -0.1, height - 0.02), 4, clutter.BATH
    )
    tall = rng.uniform(0.5, 0.9)
    if rng.random() < 0.5:
        thing.add(box((width, 0.02, tall), (0, -0.22, height + 0.25 + tall / 2), 'mirror:0'))
    else:
        unit = Thing(
            [box((width, 0.16, tall), (0, -0.15, height + 0.25 + tall / 2), style.body, 0.003)]
        )
        thing.add(
            unit, doors(rng, width, 0.02, height + 0.26, height + 0.24 + tall, style).at(0, -0.08)
        )
    return thing


@from_catalogue(one('bathtub'))
def bathtub(rng: np.random.Generator, _: Style) -> Thing:
    """A bathtub with its panel, long side to the wall."""
    width, depth, height = rng.uniform(1.5, 1.75), rng.uniform(0.7, 0.8), rng.uniform(0.52, 0.6)
    panel = pick(rng, ('ceramic:0', 'walltiles:0'))
    thing = clutter.tray(width, depth, height - 0.02, panel, 0.03)
    for sy in (-1, 1):
        thing.add(
            box((width, 0.09, 0.03), (0, sy * (depth / 2 - 0.045), height), 'ceramic:0', 0.012, 2)
        )
    for sx in (-1, 1):
        thing.add(
            box((0.12, depth, 0.03), (sx * (width / 2 - 0.06), 0, height), 'ceramic:0', 0.012, 2)
        )
    thing.add(ellipsoid((width - 0.16, depth - 0.12, 0.2), (0, 0, 0.1), 'ceramic:0', 0.4))
    thing.add(tap(0.2).at(width / 2 - 0.06, 0, height, 90))
    return thing


@from_catalogue(one('shower'), 0.5)
def shower(rng: np.random.Generator, style: Style) -> Thing:
    """A shower tray with a curtain rail, a hose and bottles."""
    size = rng.uniform(0.8, 0.95)
    thing = Thing([box((size, size, 0.08), (0, 0, 0.04), 'ceramic:0', 0.02, 2)])
    thing.add(tube([(0, -size / 2 + 0.03, 1.0), (0, -size / 2 + 0.03, 1.9)], 0.012, 'metal:0'))
    thing.add(cylinder(0.07, 0.03, (0, -size / 2 + 0.12, 1.9), 'metal:0'))
    thing.add(tube([(0, -size / 2 + 0.03, 1.9), (0, -size / 2 + 0.12, 1.93)], 0.012, 'metal:0'))
    return thing


def towel(rng: np.random.Generator, _: Style) -> Thing:
    """Towels on a rail, origin on the wall."""
    width = rng.uniform(0.4, 0.7)
    thing = Thing([tube([(-width / 2, 0.07, 0), (width / 2, 0.07, 0)], 0.01, 'metal:0')])
    for x in (-0.22, 0.22):
        if rng.random() < 0.8:
            tall = rng.uniform(0.35, 0.8)
            thing.add(
                box(
                    (0.42 * width, 0.04, tall),
                    (x * width, 0.07, 0.02 - tall / 2),
                    numbered(rng, 'fabric'),
                    0.015,
                    2,
                )
            )
    return thing
