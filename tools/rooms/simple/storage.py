# SPDX-License-Identifier: Apache-2.0
"""Cabinets, shelves and things on walls. Backs to -y, fronts to +y, standing on z = 0."""

from __future__ import annotations

import math

import numpy as np

from simple import clutter, sets
from simple.furniture import drawers
from simple.mesh import Thing, box, cylinder, ellipsoid, tube
from simple.shop import from_catalogue, laden, one
from simple.style import Style, numbered, pick, printed


def book_row(rng: np.random.Generator, left: float, right: float, space: float) -> Thing:
    """Books that stand between two uprights, some leaning."""
    thing, x = Thing(), left + rng.uniform(0, 0.05)
    end = left + (right - left) * rng.uniform(0.3, 1.0)
    while x < end - 0.06:
        size = (
            rng.uniform(0.012, 0.055),
            rng.uniform(0.13, 0.22),
            min(rng.uniform(0.17, 0.32), space - 0.02),
        )
        book = Thing([printed(rng, size, (0, 0, size[2] / 2))])
        if rng.random() < 0.05:
            book = book.tilted(1, -12)
            x += 0.04
        thing.add(book.at(x + size[0] / 2, -rng.uniform(0.0, 0.04)))
        x += size[0] + 0.001
    return thing


def filled(
    rng: np.random.Generator, left: float, right: float, depth: float, space: float
) -> Thing:
    """The content of a compartment: books, objects, a box or nothing."""
    choice = rng.random()
    if choice < 0.5 and space > 0.2:
        return book_row(rng, left, right, space)
    thing = Thing()
    if choice < 0.85:
        area = (left + 0.02, right - 0.02, -depth / 2 + 0.02, depth / 2 - 0.02, 0.0)
        count = int(rng.integers(1, 4))
        makers = clutter.SHELF if space > 0.34 else (clutter.books, clutter.mug, clutter.sheets)
        clutter.scatter(rng, thing, area, count, makers)
        thing.tops.clear()
    return thing


@from_catalogue(laden('bookcase', ('on shelves', 'plant'), 0, 4), 0.4)
def bookcase(rng: np.random.Generator, style: Style, width: float | None = None) -> Thing:
    """An open shelf with books and things, high or low."""
    width = rng.uniform(0.6, 1.3) if width is None else width
    height, depth = (
        float(rng.choice([rng.uniform(0.75, 1.1), rng.uniform(1.5, 2.1)])),
        rng.uniform(0.26, 0.38),
    )
    name, thick = style.body, 0.022
    thing = Thing()
    columns = max(1, round(width / rng.uniform(0.4, 0.9)))
    for number in range(columns + 1):
        x = (number / columns - 0.5) * (width - thick)
        thing.add(box((thick, depth, height), (x, 0, height / 2), name, 0.002))
    if rng.random() < 0.75:
        thing.add(box((width, 0.008, height), (0, -depth / 2, height / 2), name))
    shelves = np.linspace(
        0.06, height - thick / 2, max(3, int(height / rng.uniform(0.3, 0.42)) + 1)
    )
    for z, above in zip(shelves, [*shelves[1:], shelves[-1] + 0.5]):
        thing.add(box((width, depth, thick), (0, 0, z), name, 0.002))
        for number in range(columns if z < shelves[-1] else 0):
            left, right = (
                (number + k) / columns * (width - thick) - width / 2 + thick for k in (0, 1)
            )
            inside = filled(rng, left, right - thick, depth, above - z - thick)
            thing.add(inside.at(0, 0, z + thick / 2))
    if height < 1.3:
        area = (-width / 2, width / 2, -depth / 2, depth / 2, height)
        clutter.scatter(rng, thing, area, int(rng.integers(0, 5)), clutter.SHELF)
    return thing


def doors(
    rng: np.random.Generator, width: float, depth: float, low: float, high: float, style: Style
) -> Thing:
    """Cabinet doors with handles on a front at depth / 2."""
    thing, count = Thing(), max(1, round(width / rng.uniform(0.42, 0.6)))
    each = width / count
    upright = rng.random() < 0.6
    for number in range(count):
        x = (number + 0.5) * each - width / 2
        middle, tall = (low + high) / 2, high - low
        thing.add(
            box(
                (each - 0.005, 0.02, tall - 0.005),
                (x, depth / 2 + 0.01, middle),
                style.front,
                0.003,
            )
        )
        side = (0.5 * each - 0.05) * (-1 if number % 2 else 1)
        size = (
            (0.014, 0.025, min(0.16, 0.5 * tall))
            if upright
            else (min(0.16, 0.5 * each), 0.025, 0.014)
        )
        z = middle if tall > 1.2 else high - 0.12 if low < 0.5 else low + 0.12
        thing.add(
            box(size, (x + (side if upright else 0), depth / 2 + 0.032, z), style.metal, 0.004)
        )
    return thing


@from_catalogue(one('wardrobe'), 0.5)
def wardrobe(rng: np.random.Generator, style: Style) -> Thing:
    """A wardrobe with doors."""
    width, depth, height = rng.uniform(0.8, 2.2), rng.uniform(0.55, 0.65), rng.uniform(1.8, 2.2)
    thing = Thing([box((width, depth, height), (0, 0, height / 2), style.body, 0.004)])
    thing.add(doors(rng, width, depth, 0.07, height - 0.02, style))
    if rng.random() < 0.3:
        thing.add(clutter.cardboard(rng).tilted(0, 0).at(rng.uniform(-0.2, 0.2), 0, height))
    return thing


@from_catalogue(laden('cabinet', ('on shelves', 'plant', 'table lamp'), 0, 6), 0.6)
def cabinet(rng: np.random.Generator, style: Style) -> Thing:
    """A sideboard, chest or filing cabinet with things on top."""
    width, depth, height = rng.uniform(0.45, 1.7), rng.uniform(0.36, 0.5), rng.uniform(0.6, 1.15)
    if rng.random() < 0.5:
        thing = drawers(rng, width, depth, height, style, int(rng.integers(3, 6)))
    else:
        foot = rng.uniform(0.0, 0.15)
        thing = Thing(
            [box((width, depth, height - foot), (0, 0, (height + foot) / 2), style.body, 0.004)]
        )
        thing.add(doors(rng, width, depth, foot + 0.02, height - 0.02, style))
        for sx in (-1, 1):
            thing.add(
                box(
                    (0.04, depth * 0.9, foot + 0.01),
                    (sx * (width / 2 - 0.05), 0, foot / 2),
                    style.metal,
                )
            )
    area = (-width / 2, width / 2, -depth / 2, depth / 2, height)
    return clutter.scatter(rng, thing, area, int(rng.integers(1, 6)), clutter.SHELF)


@from_catalogue(sets.television)
def tv_unit(rng: np.random.Generator, style: Style) -> Thing:
    """A low unit with a television."""
    width, depth, height = rng.uniform(1.1, 2.0), rng.uniform(0.36, 0.48), rng.uniform(0.35, 0.58)
    thing = Thing(
        [box((width, depth, height - 0.06), (0, 0, height / 2 + 0.03), style.body, 0.005)]
    )
    thing.add(box((width * 0.9, depth * 0.8, 0.06), (0, 0, 0.03), style.metal))
    thing.add(doors(rng, width, depth, 0.08, height - 0.02, style))
    screen = rng.uniform(0.7, min(1.35, width))
    tall = screen * 0.57
    thing.add(box((0.4, 0.22, 0.015), (0, 0, height + 0.008), 'black:0'))
    thing.add(box((0.08, 0.04, 0.08), (0, 0, height + 0.04), 'black:0'))
    thing.add(box((screen, 0.05, tall), (0, 0, height + 0.07 + tall / 2), 'black:1', 0.006))
    face = 'glassy:0' if rng.random() < 0.7 else 'screen:1'
    thing.add(
        box(
            (screen - 0.02, 0.004, tall - 0.02),
            (0, 0.025, height + 0.07 + tall / 2),
            face,
            fit=True,
        )
    )
    for side in (-1, 1):
        area = sorted((side * screen / 2, side * width / 2))
        clutter.scatter(rng, thing, (*area, -depth / 2, depth / 2, height), 2, clutter.SHELF)
    return thing


@from_catalogue(one('rack', 'clothes'), 0.25)
def rack(rng: np.random.Generator, style: Style) -> Thing:
    """A metal storage rack with boxes, crates and tools."""
    width, depth, height = rng.uniform(0.9, 1.8), rng.uniform(0.4, 0.6), rng.uniform(1.6, 2.1)
    name, thing = pick(rng, ('metal:0', 'lacquer:4', 'black:0')), Thing()
    for sx in (-1, 1):
        for sy in (-1, 1):
            thing.add(
                box((0.035, 0.035, height), (sx * width / 2, sy * depth / 2, height / 2), name)
            )
    for z in np.linspace(0.12, height - 0.03, int(rng.integers(4, 6))):
        thing.add(box((width, depth, 0.03), (0, 0, z), pick(rng, (name, 'wood:1'))))
        area = (-width / 2 + 0.03, width / 2 - 0.03, -depth / 2, depth / 2, z + 0.015)
        makers = (
            clutter.cardboard,
            clutter.crate,
            clutter.toolbox,
            clutter.cardboard,
            clutter.bottle,
        )
        clutter.scatter(rng, thing, area, int(rng.integers(2, 7)), makers)
    thing.tops.clear()
    return thing


@from_catalogue(laden('workbench', ('on desks', 'on shelves', 'on floors'), 2, 9), 0.4)
def workbench(rng: np.random.Generator, style: Style) -> Thing:
    """A workbench with tools, a vice and a perforated board above."""
    width, depth, height = rng.uniform(1.2, 2.2), rng.uniform(0.6, 0.75), rng.uniform(0.82, 0.95)
    thing = Thing([box((width, depth, 0.05), (0, 0, height - 0.025), 'wood:1', 0.004)])
    for sx in (-1, 1):
        for sy in (-1, 1):
            thing.add(
                box(
                    (0.08, 0.08, height),
                    (sx * (width / 2 - 0.06), sy * (depth / 2 - 0.06), height / 2),
                    'wood:2',
                )
            )
    thing.add(box((width - 0.15, depth - 0.1, 0.025), (0, 0, 0.2), 'wood:2'))
    below = (-width / 2 + 0.1, width / 2 - 0.1, -depth / 2, depth / 2, 0.215)
    clutter.scatter(rng, thing, below, 4, clutter.BENCH)
    area = (-width / 2, width / 2, -depth / 2, depth / 2, height)
    thing.tops.clear()
    clutter.scatter(rng, thing, area, int(rng.integers(4, 12)), clutter.BENCH)
    if rng.random() < 0.7:
        thing.add(
            box(
                (width, 0.02, 0.7),
                (0, -depth / 2 + 0.01, height + 0.55),
                pick(rng, ('wood:2', 'lacquer:3', 'white:0')),
            )
        )
        for _ in range(int(rng.integers(4, 14))):
            item = clutter.tool(rng).tilted(0, 90).tilted(1, float(rng.choice([0, 90, 80])))
            thing.add(
                item.at(
                    rng.uniform(-0.42, 0.42) * width,
                    -depth / 2 + 0.05,
                    height + rng.uniform(0.35, 0.8),
                )
            )
    return thing


@from_catalogue(sets.box_stack)
def box_stack(rng: np.random.Generator, _: Style) -> Thing:
    """Stacked cardboard boxes."""
    thing, height = Thing(), 0.0
    for _level in range(int(rng.integers(1, 5))):
        item = clutter.cardboard(rng) if height == 0.0 else clutter.package(rng)
        if rng.random() < 0.7:
            size = (rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.4), rng.uniform(0.15, 0.4))
            item = Thing([box(size, (0, 0, size[2] / 2), numbered(rng, 'cardboard', 2), 0.003)])
            item.add(box((size[0] + 0.002, 0.05, size[2] + 0.002), (0, 0, size[2] / 2), 'clay:2'))
        thing.add(item.at(*rng.normal(0, 0.02, 2), height, rng.normal(0, 8)))
        height = float(thing.bounds()[1][2])
    return thing


@from_catalogue(sets.floor_item)
def floor_item(rng: np.random.Generator, _: Style) -> Thing:
    """Something lying on the floor."""
    return clutter.FLOOR[int(rng.integers(len(clutter.FLOOR)))](rng).at(turn=rng.uniform(0, 360))


@from_catalogue(one('clothes'), 0.4)
def coat_rack(rng: np.random.Generator, style: Style) -> Thing:
    """Hooks with clothes above a shoe bench."""
    width = rng.uniform(0.6, 1.1)
    thing = Thing([box((width, 0.03, 0.12), (0, -0.14, 1.65), style.wood, 0.004)])
    thing.add(box((width, 0.33, 0.03), (0, 0, 0.45), style.wood, 0.004))
    for sx in (-1, 1):
        thing.add(box((0.03, 0.33, 0.45), (sx * (width / 2 - 0.02), 0, 0.225), style.wood))
    for x in np.linspace(-0.4, 0.4, int(rng.integers(2, 6))) * width:
        thing.add(tube([(x, -0.12, 1.65), (x, -0.06, 1.66)], 0.008, 'metal:0', 6))
        if rng.random() < 0.7:
            tall = rng.uniform(0.5, 1.0)
            coat = ellipsoid(
                (rng.uniform(0.2, 0.34), 0.16, tall),
                (x, -0.06, 1.66 - tall / 2),
                numbered(rng, 'fabric', 5),
                0.7,
            )
            thing.add(coat)
    for x in np.linspace(-0.35, 0.35, 3) * width:
        if rng.random() < 0.6:
            thing.add(clutter.shoes(rng).at(x, 0.02))
    return thing


@from_catalogue(one('ladder'), 0.5)
def ladder(rng: np.random.Generator, _: Style) -> Thing:
    """A ladder leaning on the wall."""
    length, thing = rng.uniform(1.6, 2.2), Thing()
    for sx in (-0.2, 0.2):
        thing.add(box((0.03, 0.06, length), (sx, 0, length / 2), 'metal:0'))
    for z in np.arange(0.25, length, 0.28):
        thing.add(box((0.4, 0.04, 0.025), (0, 0, z), 'metal:0'))
    return thing.tilted(0, 12).at(0, 0.22)


@from_catalogue(one('barrel'))
def barrel(rng: np.random.Generator, _: Style) -> Thing:
    """A barrel, a big bin or a gas bottle."""
    radius, height = rng.uniform(0.18, 0.3), rng.uniform(0.55, 0.95)
    return cylinder(radius, height, (0, 0, 0), numbered(rng, 'lacquer', 6), 24)


def poles(rng: np.random.Generator, _: Style) -> Thing:
    """Brooms, rods and poles that lean against a wall."""
    thing = Thing()
    for _number in range(int(rng.integers(1, 5))):
        length, thick = rng.uniform(0.9, 1.9), rng.uniform(0.006, 0.02)
        name = pick(rng, ('wood:1', 'metal:0', 'plastic:1', 'black:0', 'white:0'))
        foot = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.05, 0.3), 0.02])
        head = np.array([foot[0] + rng.normal(0, 0.1), -0.12, 0.0])
        head[2] = math.sqrt(length**2 - (foot[1] - head[1]) ** 2)
        thing.add(tube([tuple(foot), tuple(head)], thick, name, 8))
        if rng.random() < 0.4:
            thing.add(box((0.28, 0.06, 0.06), (foot[0], foot[1], 0.04), 'plastic:2', 0.01))
    return thing


def slats(rng: np.random.Generator, style: Style) -> Thing:
    """A screen of slats, or a railing of rods, between two posts."""
    width, height = rng.uniform(0.7, 1.6), rng.uniform(0.7, 1.8)
    name = pick(rng, (style.wood, style.metal, 'white:0', 'black:0'))
    thing = Thing()
    for x in (-width / 2, width / 2):
        thing.add(box((0.04, 0.04, height), (x, 0, height / 2), name))
        thing.add(box((0.05, 0.3, 0.03), (x, 0, 0.015), name))
    pitch, thick = rng.uniform(0.04, 0.14), rng.uniform(0.006, 0.03)
    if rng.random() < 0.5:
        for z in np.arange(0.12, height, pitch):
            thing.add(box((width, 0.012, thick), (0, 0, z), name))
        return thing
    for z in (0.1, height - 0.02):
        thing.add(box((width, 0.03, 0.03), (0, 0, z), name))
    for x in np.arange(-width / 2 + pitch, width / 2, pitch):
        thing.add(box((thick, thick, height - 0.12), (x, 0, height / 2 + 0.04), name))
    return thing


def painting(rng: np.random.Generator, _: Style) -> Thing:
    """A framed picture, origin in its middle on the wall."""
    width, height = rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.8)
    rim = rng.uniform(0.015, 0.05)
    thing = Thing(
        [
            box(
                (width, 0.025, height),
                (0, 0.013, 0),
                pick(rng, ('wood:1', 'black:0', 'metal:0', 'white:0')),
                0.004,
            )
        ]
    )
    face = numbered(rng, 'painting', 4) if rng.random() < 0.8 else 'paper:1'
    return thing.add(box((width - 2 * rim, 0.004, height - 2 * rim), (0, 0.026, 0), face, fit=True))


def wall_shelf(rng: np.random.Generator, style: Style) -> Thing:
    """A board on the wall with books or objects, origin in its middle."""
    width = rng.uniform(0.6, 1.4)
    thing = Thing([box((width, 0.24, 0.025), (0, 0.12, 0), style.wood, 0.003)])
    inside = filled(rng, -width / 2, width / 2, 0.22, 0.4)
    return thing.add(inside.at(0, 0.12, 0.013))


def board(rng: np.random.Generator, _: Style) -> Thing:
    """A whiteboard, a blackboard or a notice board with papers."""
    width, height = rng.uniform(1.0, 2.6), rng.uniform(0.9, 1.2)
    name = pick(rng, ('white:0', 'leaf:0', 'cardboard:0', 'black:0'))
    thing = Thing([box((width, 0.02, height), (0, 0.01, 0), 'metal:0', 0.004)])
    thing.add(
        box(
            (width - 0.05, 0.006, height - 0.05),
            (0, 0.02, 0),
            'white:0' if name == 'leaf:0' else name,
        )
    )
    for _ in range(int(rng.integers(0, 10))):
        sheet_ = box((0.21, 0.002, 0.297), (0, 0, 0), numbered(rng, 'paper'), fit=True)
        item = Thing([sheet_]).tilted(1, rng.normal(0, 4))
        thing.add(item.at(rng.uniform(-0.4, 0.4) * width, 0.025, rng.uniform(-0.3, 0.3) * height))
    return thing.add(box((width * 0.6, 0.06, 0.02), (0, 0.03, -height / 2), 'metal:0'))


def switch(rng: np.random.Generator, _: Style) -> Thing:
    """A light switch or a socket."""
    return Thing([box((0.08, 0.012, 0.08), (0, 0.006, 0), 'white:0', 0.004)])
