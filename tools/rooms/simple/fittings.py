# SPDX-License-Identifier: Apache-2.0
"""Parts of the building: windows, doors, curtains, radiators, lamps."""

from __future__ import annotations

import numpy as np

from simple.mesh import Thing, box, cylinder, lathe, sheet, tube
from simple.style import Style, numbered, pick


def window(rng: np.random.Generator, width: float, height: float, wall: float) -> Thing:
    """A window without panes; origin at the middle of the sill on the inner side of the wall."""
    name = pick(rng, ('white:0', 'wood:1', 'white:0', 'metal:1', 'black:0'))
    y, bar = -0.6 * wall, rng.uniform(0.05, 0.08)
    thing = Thing()
    for x in (-1, 1):
        thing.add(box((bar, 0.07, height), (x * (width - bar) / 2, y, height / 2), name, 0.004))
    for z in (bar / 2, height - bar / 2):
        thing.add(box((width, 0.07, bar), (0, y, z), name, 0.004))
    for number in range(1, max(1, round(width / rng.uniform(0.6, 1.1)))):
        x = width * (number / max(1, round(width / 0.8)) - 0.5)
        thing.add(box((bar, 0.06, height), (x, y, height / 2), name, 0.004))
    if rng.random() < 0.3:
        thing.add(box((width, 0.05, 0.04), (0, y, height * rng.uniform(0.5, 0.7)), name))
    thing.add(
        box(
            (width + 0.1, wall * 0.6 + 0.06, 0.025),
            (0, 0.03 - wall * 0.3, 0.0),
            pick(rng, (name, 'stone:1')),
            0.004,
        )
    )
    return thing


def curtain(rng: np.random.Generator, width: float, height: float, name: str) -> Thing:
    """A gathered curtain of the given width, hanging down to the origin's height."""
    count = int(60 * width) + 12
    x = np.linspace(-width / 2, width / 2, count)
    folds = 0.035 * np.sin(
        2 * np.pi * x / rng.uniform(0.08, 0.14) + np.sin(5 * x + rng.uniform(0, 6))
    )
    z = np.linspace(0, height, 5)
    spread = 1 + rng.uniform(-0.15, 0.2) * (1 - z / height)
    points = np.stack(
        [
            x[None] * spread[:, None],
            np.repeat(folds[None], 5, 0) + 0.09,
            np.repeat(z[:, None], count, 1),
        ],
        axis=2,
    )
    return Thing([sheet(points, name)])


def curtains(
    rng: np.random.Generator, style: Style, width: float, sill: float, head: float
) -> Thing:
    """Two curtains on a rail, or a blind, for a window of this width."""
    choice, thing = rng.random(), Thing()
    if choice < 0.25:
        drop = rng.uniform(0.15, 0.7) * (head - sill)
        return Thing([box((width + 0.04, 0.012, drop), (0, 0.02, head - drop / 2), style.accent)])
    if choice < 0.4:
        low = sill + rng.uniform(0.0, 0.6) * (head - sill)
        for z in np.arange(low, head, 0.045):
            slat = Thing([box((width + 0.02, 0.04, 0.003), (0, 0, 0), 'white:0')])
            thing.add(slat.tilted(0, 35).at(0, 0.03, z))
        return thing
    low = 0.03 if rng.random() < 0.6 else sill - 0.15
    each = rng.uniform(0.2, 0.42) * (width + 0.3)
    for side in (-1, 1):
        part = curtain(rng, each, head + 0.1 - low, style.accent)
        thing.add(part.at(side * ((width + 0.35) / 2 - each / 2 + 0.05), 0, low))
    return thing.add(
        tube(
            [(-width / 2 - 0.3, 0.09, head + 0.1), (width / 2 + 0.3, 0.09, head + 0.1)],
            0.012,
            style.metal,
        )
    )


def door(rng: np.random.Generator, width: float, height: float, wall: float, angle: float) -> Thing:
    """A door in its casing, opened by `angle` degrees into the room; origin at its threshold."""
    name = pick(rng, ('white:0', 'wood:1', 'board:1', 'wood:2', 'white:1'))
    thing = casing(width, height, wall, name)
    leaf = Thing(
        [box((width - 0.01, 0.04, height - 0.01), (width / 2, 0, height / 2), name, 0.003)]
    )
    style = rng.random()
    for low, high in ((0.12, 0.45), (0.55, 0.93)) if style < 0.6 else ():
        for y in (-0.02, 0.02):
            tall = (high - low) * height
            leaf.add(
                box(
                    (width - 0.3, 0.012, tall),
                    (width / 2, y, (low + high) / 2 * height),
                    name,
                    0.005,
                )
            )
    for y in (-1, 1):
        leaf.add(
            tube(
                [
                    (width - 0.07, 0, 1.02),
                    (width - 0.07, y * 0.06, 1.02),
                    (width - 0.19, y * 0.06, 1.02),
                ],
                0.009,
                'metal:0',
                6,
            )
        )
    thing.add(leaf.at(0, -0.025, 0, angle).at(-width / 2 + 0.005, -0.005, 0))
    return thing


def casing(width: float, height: float, wall: float, name: str) -> Thing:
    """The frame around a doorway."""
    thing = Thing()
    for y in (0.008, -wall - 0.008):
        for side in (-1, 1):
            thing.add(
                box(
                    (0.07, 0.016, height + 0.07),
                    (side * (width / 2 + 0.035), y, height / 2 + 0.035),
                    name,
                    0.003,
                )
            )
        thing.add(box((width, 0.016, 0.07), (0, y, height + 0.035), name, 0.003))
    for side in (-1, 1):
        thing.add(
            box((0.02, wall, height), (side * (width / 2 - 0.009), -wall / 2, height / 2), name)
        )
    return thing.add(box((width, wall, 0.02), (0, -wall / 2, height - 0.009), name))


def radiator(rng: np.random.Generator, width: float) -> Thing:
    """A radiator with its pipe, origin on the floor at the wall."""
    height, low, thing = rng.uniform(0.4, 0.6), 0.12, Thing()
    if rng.random() < 0.5:
        thing.add(box((width, 0.07, height), (0, 0.08, low + height / 2), 'white:0', 0.008))
        for x in np.arange(-width / 2 + 0.04, width / 2 - 0.02, 0.035):
            thing.add(
                box((0.018, 0.008, height - 0.06), (x, 0.118, low + height / 2), 'white:0', 0.003)
            )
    else:
        for x in np.arange(-width / 2 + 0.03, width / 2, 0.06):
            thing.add(box((0.045, 0.1, height), (x, 0.09, low + height / 2), 'white:0', 0.018, 2))
    return thing.add(
        tube(
            [
                (width / 2, 0.08, low + 0.05),
                (width / 2 + 0.06, 0.08, low + 0.05),
                (width / 2 + 0.06, 0.08, 0),
            ],
            0.01,
            'white:0',
            6,
        )
    )


def ceiling_lamp(rng: np.random.Generator, kind: str) -> Thing:
    """A lamp below the origin: `panel`, `dish` or `pendant`."""
    if kind == 'panel':
        thing = Thing([box((0.62, 0.62, 0.03), (0, 0, -0.015), 'white:0')])
        return thing.add(box((0.58, 0.58, 0.01), (0, 0, -0.03), 'glow:0'))
    if kind == 'dish':
        radius = rng.uniform(0.14, 0.25)
        return Thing(
            [
                lathe(
                    [(0, -0.11), (0.7 * radius, -0.09), (radius, -0.03), (radius, 0)],
                    'glow:0',
                    segments=24,
                )
            ]
        )
    drop = rng.uniform(0.4, 0.8)
    thing = Thing([tube([(0, 0, 0), (0, 0, -drop)], 0.004, 'black:0', 5)])
    radius = rng.uniform(0.12, 0.25)
    shade = [(radius, -drop - 0.1), (0.5 * radius, -drop + 0.08), (0.02, -drop + 0.1)]
    thing.add(lathe(shade, pick(rng, ('shade:0', 'metal:0', 'black:0', 'lacquer:2')), segments=24))
    return thing.add(lathe([(0, -drop - 0.08), (0.04, -drop - 0.05), (0.03, -drop)], 'glow:0'))


def pipe(rng: np.random.Generator, length: float) -> Thing:
    """A pipe or a cable duct along a wall, origin at its middle."""
    if rng.random() < 0.5:
        return Thing(
            [
                tube(
                    [(-length / 2, 0.04, 0), (length / 2, 0.04, 0)],
                    rng.uniform(0.015, 0.05),
                    pick(rng, ('metal:0', 'white:0', numbered(rng, 'lacquer'))),
                )
            ]
        )
    return Thing([box((length, 0.05, 0.08), (0, 0.03, 0), 'white:0', 0.003)])


def column(size: float, height: float, name: str) -> Thing:
    """A pillar."""
    if size > 0.3:
        return cylinder(size / 2, height, (0, 0, 0), name, 24)
    return Thing([box((size, size, height), (0, 0, height / 2), name)])
