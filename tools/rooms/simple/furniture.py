# SPDX-License-Identifier: Apache-2.0
"""Seats, tables and beds in real sizes. Backs to -y, fronts to +y, standing on z = 0."""

from __future__ import annotations

import math

import numpy as np

from simple import clutter, sets
from simple.mesh import Thing, box, cylinder, ellipsoid, lathe, sheet, tube
from simple.shop import from_catalogue, one
from simple.style import Style, numbered, pick


def legs(
    rng: np.random.Generator, width: float, depth: float, height: float, name: str, thick: float
) -> Thing:
    """Four legs under a rectangle, square or round and tapered, sometimes splayed."""
    thing, round_ = Thing(), rng.random() < 0.45
    splay = rng.uniform(0.0, 0.06) if rng.random() < 0.4 else 0.0
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - thick / 2), sy * (depth / 2 - thick / 2)
            if splay or round_:
                foot = (x + sx * splay, y + sy * splay, 0.0)
                thing.add(tube([foot, (x, y, height)], thick / 2, name, 10))
            else:
                thing.add(box((thick, thick, height), (x, y, height / 2), name, 0.003))
    return thing


@from_catalogue(one('chair'))
def chair(rng: np.random.Generator, style: Style) -> Thing:
    """A dining chair: four legs, seat, back with slats or a panel."""
    width, depth = rng.uniform(0.4, 0.48), rng.uniform(0.4, 0.48)
    height, top = rng.uniform(0.43, 0.48), rng.uniform(0.78, 1.02)
    frame = pick(rng, (style.wood, 'wood:1', style.metal, 'plastic:0'))
    seat = pick(rng, (frame, style.seat, 'plastic:1'))
    thick = rng.uniform(0.025, 0.045)
    thing = legs(rng, width, depth, height, frame, thick)
    thing.add(box((width, depth, 0.035), (0, 0, height), seat, 0.012, 2))
    lean = rng.uniform(4, 14)
    back = Thing()
    for sx in (-1, 1):
        back.add(
            box(
                (thick, thick, top - height),
                (sx * (width - thick) / 2, 0, (top - height) / 2),
                frame,
                0.004,
            )
        )
    if rng.random() < 0.5:
        size = rng.uniform(0.2, 0.85) * (top - height)
        back.add(box((width - thick, 0.02, size), (0, 0, top - height - size / 2), seat, 0.008, 2))
    else:
        for z in np.linspace(0.35, 0.95, int(rng.integers(2, 5))) * (top - height):
            back.add(box((width - thick, 0.018, 0.05), (0, 0, z), frame, 0.004))
    return thing.add(back.tilted(0, lean).at(0, -depth / 2 + thick / 2, height))


@from_catalogue(one('chair'), 0.5)
def shell_chair(rng: np.random.Generator, style: Style) -> Thing:
    """A stacking chair: a bent plastic or plywood shell on a tubular frame."""
    name = pick(rng, ('plastic:0', 'plastic:2', 'wood:1', style.seat))
    t = np.linspace(0, 1, 14)
    y = np.where(t < 0.5, 0.22 - 0.84 * t, -0.2 - 0.1 * (t - 0.5))
    z = np.where(
        t < 0.45, 0.45 - 0.03 * np.sin(2.2 * np.pi * t), 0.45 + 0.72 * np.maximum(t - 0.47, 0)
    )
    width = 0.22 * (1 - 0.25 * np.abs(t - 0.5))
    line = np.linspace(-1, 1, 7)
    points = np.stack(
        np.broadcast_arrays(
            line[None] * width[:, None],
            y[:, None] + 0.04 * line[None] ** 2 * (t[:, None] > 0.5),
            z[:, None] + 0.02 * line[None] ** 2 * (t[:, None] <= 0.5),
        ),
        axis=2,
    )
    thing = Thing([sheet(points, name), sheet(points[:, ::-1] - [0, 0, 0.008], name)])
    return thing.add(legs(rng, 0.4, 0.38, 0.44, 'metal:0', 0.022))


@from_catalogue(one('office chair'))
def office_chair(rng: np.random.Generator, style: Style) -> Thing:
    """A swivel chair with five castors."""
    name = pick(rng, ('black:0', 'fabric:2', 'fabric:0', 'black:1'))
    height = rng.uniform(0.44, 0.54)
    thing = Thing()
    for angle in np.arange(5) * 2 * math.pi / 5 + rng.uniform(0, 1):
        x, y = 0.3 * math.cos(angle), 0.3 * math.sin(angle)
        thing.add(tube([(0, 0, 0.12), (x, y, 0.075)], 0.02, style.metal, 6))
        thing.add(ellipsoid((0.055, 0.055, 0.06), (x, y, 0.03), 'black:0'))
    thing.add(cylinder(0.028, height - 0.12, (0, 0, 0.1), 'metal:0'))
    thing.add(box((0.48, 0.47, 0.08), (0, 0, height), name, 0.035, 3))
    top = rng.uniform(0.4, 0.7)
    back = Thing([box((0.44, 0.06, top), (0, 0, 0.12 + top / 2), name, 0.028, 3)])
    back.add(box((0.06, 0.03, 0.25), (0, -0.03, 0.08), 'black:0'))
    thing.add(back.tilted(0, rng.uniform(2, 14)).at(0, -0.23, height))
    if rng.random() < 0.6:
        for sx in (-0.27, 0.27):
            thing.add(box((0.05, 0.25, 0.03), (sx, 0, height + 0.2), 'black:0', 0.012, 2))
            thing.add(box((0.03, 0.05, 0.22), (sx, 0, height + 0.1), 'black:0'))
    return thing


@from_catalogue(one('stool'))
def stool(rng: np.random.Generator, style: Style) -> Thing:
    """A stool."""
    height = float(rng.choice([0.45, 0.65]))
    thing = cylinder(0.17, 0.035, (0, 0, height), pick(rng, (style.wood, style.seat, 'plastic:1')))
    return thing.add(legs(rng, 0.22, 0.22, height, pick(rng, (style.wood, style.metal)), 0.03))


@from_catalogue(sets.sofa)
def sofa(rng: np.random.Generator, style: Style, seats: int | None = None) -> Thing:
    """A sofa or an armchair with cushions."""
    seats = int(rng.integers(2, 4)) if seats is None else seats
    seat, arm = rng.uniform(0.58, 0.72), rng.uniform(0.1, 0.22)
    width, depth = seats * seat + 2 * arm, rng.uniform(0.82, 1.0)
    height, top, name = rng.uniform(0.38, 0.46), rng.uniform(0.74, 0.92), style.seat
    foot = rng.uniform(0.04, 0.14)
    thing = legs(rng, width - 0.08, depth - 0.08, foot, style.wood, 0.05)
    thing.add(
        box(
            (width - 0.02, depth - 0.04, height - 0.14 - foot),
            (0, 0, foot + (height - 0.14 - foot) / 2),
            name,
            0.02,
            2,
        )
    )
    thing.add(
        box((width - 0.02, 0.2, top - foot), (0, -depth / 2 + 0.1, (top + foot) / 2), name, 0.06, 3)
    )
    rest = rng.uniform(0.52, 0.66)
    for sx in (-1, 1):
        thing.add(
            box(
                (arm, depth, rest - foot),
                (sx * (width - arm) / 2, 0, (rest + foot) / 2),
                name,
                0.05,
                3,
            )
        )
    for number in range(seats):
        x = (number - (seats - 1) / 2) * seat
        thing.add(box((seat - 0.008, depth - 0.2, 0.15), (x, 0.09, height - 0.075), name, 0.045, 3))
        cushion = Thing([box((seat - 0.02, 0.16, top - height + 0.03), (0, 0, 0), name, 0.06, 3)])
        thing.add(
            cushion.tilted(0, rng.uniform(8, 16)).at(x, -depth / 2 + 0.28, (top + height) / 2)
        )
        if rng.random() < 0.6:
            size = rng.uniform(0.36, 0.48)
            pillow = Thing(
                [
                    ellipsoid(
                        (size, 0.16, size),
                        (0, 0, 0),
                        pick(rng, (style.accent, 'fabric:3', 'linen:0')),
                        0.5,
                    )
                ]
            )
            pillow = pillow.tilted(1, rng.normal(0, 12)).tilted(0, rng.uniform(15, 30))
            thing.add(
                pillow.at(
                    x + rng.normal(0, 0.1),
                    -depth / 2 + 0.42,
                    height + size / 2 - 0.02,
                    rng.normal(0, 15),
                )
            )
    thing.tops.append((0.0, 0.0, height))
    return thing


def table(rng: np.random.Generator, width: float, depth: float, height: float, name: str) -> Thing:
    """A table on four legs or, if round, on one foot."""
    thick = rng.uniform(0.02, 0.045)
    if abs(width - depth) < 0.05 and rng.random() < 0.5:
        thing = cylinder(width / 2, thick, (0, 0, height - thick), name, 32)
        if rng.random() < 0.5:
            foot = [(0.26, 0.0), (0.25, 0.02), (0.05, 0.05), (0.04, height - thick)]
            return thing.add(lathe(foot, pick(rng, (name, 'metal:0'))))
        return thing.add(legs(rng, width * 0.66, width * 0.66, height - thick, name, 0.05))
    thing = Thing([box((width, depth, thick), (0, 0, height - thick / 2), name, 0.006)])
    leg = pick(rng, (name, name, 'metal:0', 'black:0', 'white:0'))
    size = rng.uniform(0.04, 0.08)
    inset = rng.uniform(0.0, 0.08)
    thing.add(legs(rng, width - inset, depth - inset, height - thick, leg, size))
    if rng.random() < 0.6 and height > 0.5:
        for sy in (-1, 1):
            thing.add(
                box(
                    (width - inset - 0.1, 0.02, 0.08),
                    (0, sy * (depth - inset - size) / 2, height - thick - 0.04),
                    leg,
                )
            )
    return thing


@from_catalogue(sets.dining_set)
def dining_set(rng: np.random.Generator, style: Style) -> Thing:
    """A laid or littered table with its chairs around it."""
    if rng.random() < 0.25:
        width = depth = rng.uniform(0.8, 1.15)
    else:
        width, depth = rng.uniform(1.1, 2.0), rng.uniform(0.75, 0.98)
    height = rng.uniform(0.71, 0.77)
    thing = table(
        rng, width, depth, height, pick(rng, (style.wood, 'wood:1', 'board:1', style.wood))
    )
    area = (-0.4 * width, 0.4 * width, -0.4 * depth, 0.4 * depth, height)
    clutter.scatter(rng, thing, area, int(rng.integers(1, 9)), clutter.DINING)
    maker = chair if rng.random() < 0.75 else shell_chair
    seed = int(rng.integers(1 << 30))  # all chairs of a set are alike
    along = max(1, int(width / 0.62))
    places = [
        ((k + 0.5) / along * width - width / 2, s * depth / 2, 0 if s < 0 else 180)
        for k in range(along)
        for s in (-1, 1)
    ]
    if rng.random() < 0.5:
        places += [(-width / 2, 0.0, -90), (width / 2, 0.0, 90)]
    for x, y, turn in places:
        if rng.random() < 0.12:
            continue
        seat = maker(np.random.default_rng(seed), style)
        out = rng.uniform(0.0, 0.3) - 0.08
        away = np.array([-math.sin(math.radians(turn)), math.cos(math.radians(turn))])
        place = np.array([x, y]) - away * out
        thing.add(seat.at(*place, turn=turn + rng.normal(0, 9)))
    return thing


@from_catalogue(sets.coffee_table)
def coffee_table(rng: np.random.Generator, style: Style) -> Thing:
    """A low table with things on it."""
    width, depth = rng.uniform(0.7, 1.2), rng.uniform(0.45, 0.7)
    height = rng.uniform(0.36, 0.48)
    thing = table(
        rng, width, depth, height, pick(rng, (style.wood, 'white:1', 'glassy:0', 'stone:1'))
    )
    area = (-0.42 * width, 0.42 * width, -0.42 * depth, 0.42 * depth, height)
    return clutter.scatter(rng, thing, area, int(rng.integers(1, 6)), clutter.DINING)


def monitor(rng: np.random.Generator) -> Thing:
    """A computer screen on its foot."""
    width = rng.uniform(0.48, 0.65)
    height = width * 0.58
    thing = Thing([box((0.24, 0.18, 0.012), (0, 0, 0.006), 'black:0', 0.004)])
    thing.add(box((0.05, 0.03, 0.3), (0, -0.03, 0.15), 'black:0'))
    thing.add(box((width, 0.035, height), (0, 0, 0.12 + height / 2), 'black:1', 0.006))
    face = numbered(rng, 'screen') if rng.random() < 0.6 else 'glassy:0'
    return thing.add(
        box((width - 0.025, 0.002, height - 0.03), (0, 0.018, 0.123 + height / 2), face, fit=True)
    )


@from_catalogue(sets.desk_set)
def desk_set(rng: np.random.Generator, style: Style) -> Thing:
    """A desk with screens, clutter, drawers and an office chair."""
    width, depth, height = rng.uniform(1.0, 1.8), rng.uniform(0.6, 0.85), rng.uniform(0.7, 0.76)
    name = pick(rng, (style.wood, 'board:0', 'wood:1', 'white:0'))
    thing = table(rng, width, depth, height, name)
    if rng.random() < 0.5:
        thing.add(drawers(rng, 0.42, depth - 0.1, height - 0.08, style, 3).at(width / 2 - 0.27, 0))
    for x in rng.permutation([-0.3, 0.35])[: int(rng.integers(0, 3))]:
        thing.add(
            monitor(rng).at(x * width * 0.7, -depth / 2 + 0.2, height, rng.normal(-20 * x, 8))
        )
    if rng.random() < 0.6:
        thing.add(clutter.keyboard(rng).at(rng.normal(0, 0.1), 0.1, height, rng.normal(0, 5)))
    area = (-0.45 * width, 0.45 * width, 0.0, 0.45 * depth, height)
    clutter.scatter(rng, thing, area, int(rng.integers(1, 7)), clutter.DESK)
    if rng.random() < 0.4:
        thing.add(clutter.table_lamp(rng).at(-0.42 * width, -0.3 * depth, height))
    seat = office_chair(rng, style) if rng.random() < 0.75 else chair(rng, style)
    out = rng.uniform(0.05, 0.45)
    return thing.add(seat.at(rng.normal(0, 0.15), depth / 2 + out, turn=180 + rng.normal(0, 35)))


def school_desk(rng: np.random.Generator, style: Style, pupils: int = 2) -> Thing:
    """A pupils' desk with chairs, to stand in rows; the pupils look to +y."""
    width = 0.65 * pupils
    thing = Thing([box((width, 0.5, 0.025), (0, 0, 0.73), 'wood:0', 0.005)])
    thing.add(legs(np.random.default_rng(1), width - 0.08, 0.42, 0.72, 'metal:0', 0.03))
    area = (-0.45 * width, 0.45 * width, -0.2, 0.2, 0.743)
    clutter.scatter(rng, thing, area, int(rng.integers(0, 4)), clutter.DESK)
    for number in range(pupils):
        x = (number - (pupils - 1) / 2) * 0.65
        seat = shell_chair(np.random.default_rng(3), style)
        thing.add(
            seat.at(
                x + rng.normal(0, 0.04), -0.42 - rng.uniform(-0.1, 0.25), turn=rng.normal(0, 12)
            )
        )
    return thing


def drawers(
    rng: np.random.Generator, width: float, depth: float, height: float, style: Style, count: int
) -> Thing:
    """A chest of drawers."""
    thing = Thing([box((width, depth, height), (0, 0, height / 2), style.body, 0.004)])
    each = (height - 0.05) / count
    for number in range(count):
        z = 0.05 + each * (number + 0.5)
        thing.add(
            box((width - 0.02, 0.018, each - 0.008), (0, depth / 2 + 0.008, z), style.front, 0.003)
        )
        thing.add(
            box(
                (min(0.14, 0.4 * width), 0.02, 0.012),
                (0, depth / 2 + 0.028, z + 0.2 * each),
                style.metal,
                0.003,
            )
        )
    return thing


@from_catalogue(sets.bed)
def bed(rng: np.random.Generator, style: Style) -> Thing:
    """A bed, made or unmade, with bedside tables."""
    width, length = float(rng.choice([0.9, 1.2, 1.4, 1.6, 1.8])), rng.uniform(1.95, 2.1)
    height = rng.uniform(0.42, 0.6)
    thing = Thing(
        [box((width + 0.06, length + 0.04, 0.22), (0, 0, height - 0.3), style.wood, 0.01)]
    )
    thing.add(legs(rng, width, length, height - 0.4, style.wood, 0.07))
    thing.add(box((width, length, 0.2), (0, 0, height - 0.1), 'linen:0', 0.06, 3))
    head = rng.uniform(0.8, 1.2)
    thing.add(
        box(
            (width + 0.1, 0.06, head),
            (0, -length / 2 - 0.03, head / 2),
            pick(rng, (style.wood, style.seat)),
            0.02,
            2,
        )
    )
    for number in range(1 if width < 1.3 else 2):
        x = 0.0 if width < 1.3 else (number - 0.5) * width * 0.48
        pillow = Thing(
            [
                ellipsoid(
                    (min(0.7, 0.46 * width + 0.2), 0.42, 0.17),
                    (0, 0, 0),
                    pick(rng, ('linen:0', 'linen:1')),
                    0.5,
                )
            ]
        )
        thing.add(pillow.tilted(0, -12).at(x, -length / 2 + 0.3, height + 0.07, rng.normal(0, 6)))
    thing.add(duvet(rng, width, length, height))
    thing.tops.append((0.0, 0.2, height + 0.05))
    for sx in (-1, 1):
        if rng.random() < 0.7:
            stand = drawers(rng, 0.45, 0.38, rng.uniform(0.42, 0.58), style, 2)
            top = float(stand.bounds()[1][2])
            if rng.random() < 0.6:
                stand.add(clutter.table_lamp(rng).at(0, -0.05, top))
            else:
                clutter.scatter(rng, stand, (-0.2, 0.2, -0.17, 0.17, top), 2, clutter.SHELF)
            thing.add(stand.at(sx * (width / 2 + 0.32), -length / 2 + 0.22))
    return thing


def duvet(rng: np.random.Generator, width: float, length: float, height: float) -> Thing:
    """A duvet with folds that hangs over the sides of a bed."""
    start = -length / 2 + rng.uniform(0.45, 0.9)
    u, v = np.meshgrid(np.linspace(-1, 1, 34), np.linspace(0, 1, 26))
    reach = width / 2 + rng.uniform(0.1, 0.25)
    x = u * reach + 0.02 * np.sin(9 * v + rng.uniform(0, 6))
    y = start + v * (length / 2 + 0.12 - start)
    over = np.maximum(np.abs(x) - width / 2 - 0.03, 0)
    end = np.maximum(y - length / 2 - 0.03, 0)
    waves = sum(
        rng.uniform(0.006, 0.02)
        * np.cos(rng.normal(0, 9) * x + rng.normal(0, 9) * y + rng.uniform(0, 6))
        for _ in range(7)
    )
    z = height + 0.06 + waves - 2.2 * over - 2.2 * end
    x = np.clip(x, -width / 2 - 0.05, width / 2 + 0.05) + 0.3 * waves
    y = np.clip(y, None, length / 2 + 0.05) + 0.3 * waves
    return Thing(
        [
            sheet(
                np.stack([x, y, np.maximum(z, 0.12)], axis=2),
                pick(rng, ('fabric:1', 'linen:1', 'linen:2')),
            )
        ]
    )


def rug(rng: np.random.Generator, width: float, depth: float) -> Thing:
    """A rug: rectangular or round, plain or patterned, flat or as thick as a finger."""
    name = numbered(rng, pick(rng, ('rug', 'plainrug', 'patternrug')), 2)
    thick = rng.uniform(0.002, 0.02)
    if rng.random() < 0.2:
        return cylinder(min(width, depth) / 2, thick, (0, 0, 0), name, 40)
    thing = Thing([box((width, depth, thick), (0, 0, thick / 2), name)])
    if rng.random() < 0.4:
        border = rng.uniform(0.06, 0.3)
        if min(width, depth) > 2.5 * border:
            middle = pick(rng, ('rug:2', 'plainrug:2', 'patternrug:2'))
            size = (width - border, depth - border, thick + 0.001)
            thing.add(box(size, (0, 0, thick / 2 + 0.0005), middle))
    return thing


def floor_lamp(rng: np.random.Generator, style: Style) -> Thing:
    """A standard lamp."""
    height = rng.uniform(1.4, 1.75)
    thing = cylinder(0.14, 0.02, (0, 0, 0), style.metal).add(
        cylinder(0.012, height, (0, 0, 0), style.metal)
    )
    return thing.add(
        lathe([(0.2, 0), (0.13, 0.25), (0.125, 0.25), (0.195, 0)], 'shade:0', (0, 0, height - 0.1))
    )


@from_catalogue(one('large plant'))
def big_plant(rng: np.random.Generator, _: Style) -> Thing:
    """A plant that stands on the floor."""
    return clutter.plant(rng, rng.uniform(0.4, 0.75))
