# SPDX-License-Identifier: Apache-2.0
"""Small objects on tables, shelves and floors, standing on z = 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from simple.mesh import Thing, box, cylinder, ellipsoid, lathe, sheet, tube
from simple.style import numbered, pick, printed


def mug(rng: np.random.Generator) -> Thing:
    """A mug with its handle."""
    radius, height = rng.uniform(0.035, 0.045), rng.uniform(0.08, 0.11)
    name = pick(rng, ('ceramic:0', 'plastic:0', 'plastic:1', 'plastic:2'))
    profile = [(0.0, 0.0), (radius, 0.0), (radius, height), (radius - 0.004, height)]
    profile += [(radius - 0.004, 0.01), (0.0, 0.01)]
    angle = np.linspace(-1.4, 1.4, 6)
    handle = [
        (radius - 0.01 + 0.03 * math.cos(a), 0.0, height / 2 + 0.03 * math.sin(a)) for a in angle
    ]
    return Thing([lathe(profile, name, smooth=False), tube(handle, 0.005, name, 6)])


def bottle(rng: np.random.Generator) -> Thing:
    """A bottle or a spray can."""
    radius, height = rng.uniform(0.03, 0.045), rng.uniform(0.18, 0.33)
    neck = rng.uniform(0.3, 0.6) * radius
    profile = [
        (0, 0),
        (radius, 0.004),
        (radius, 0.6 * height),
        (neck, 0.8 * height),
        (neck, height),
    ]
    name = pick(rng, ('plastic:3', 'glassy:0', 'plastic:4', 'leaf:1', 'white:0'))
    return Thing([lathe([*profile, (0, height)], name), label(rng, radius, height)])


def label(rng: np.random.Generator, radius: float, height: float) -> object:
    """The label around a bottle."""
    part = lathe([(radius * 1.01, 0.15 * height), (radius * 1.01, 0.5 * height)], 'covers:0')
    span = part.uv.reshape(-1, 2).max(axis=0)
    part.uv = (0.03 + 0.94 * part.uv / span + rng.integers(0, 8, 2)) / 8
    return part


def bowl(rng: np.random.Generator) -> Thing:
    """A bowl with fruit, or a plate."""
    radius = rng.uniform(0.09, 0.15)
    height = rng.choice([0.02, 0.07])
    profile = [
        (0, 0),
        (0.5 * radius, 0),
        (radius, height),
        (0.97 * radius, height),
        (0.45 * radius, 0.01),
    ]
    thing = Thing([lathe([*profile, (0, 0.01)], numbered(rng, 'ceramic'))])
    for _ in range(int(rng.integers(0, 6)) if height > 0.05 else 0):
        place = (*rng.uniform(-0.45, 0.45, 2) * radius, rng.uniform(0.04, 0.08))
        size = rng.uniform(0.06, 0.085, 3)
        thing.add(ellipsoid(size, place, pick(rng, ('lacquer:5', 'lacquer:6', 'clay:1', 'leaf:2'))))
    return thing


def package(rng: np.random.Generator) -> Thing:
    """A printed package, standing or lying, as of cereals or tea."""
    size = np.array([rng.uniform(0.08, 0.22), rng.uniform(0.04, 0.09), rng.uniform(0.1, 0.3)])
    if rng.random() < 0.35:
        size = size[[0, 2, 1]]
    return Thing([printed(rng, tuple(size), (0, 0, size[2] / 2))])


def books(rng: np.random.Generator) -> Thing:
    """A pile of books or magazines."""
    thing, height = Thing(), 0.0
    for _ in range(int(rng.integers(1, 6))):
        size = (rng.uniform(0.13, 0.22), rng.uniform(0.18, 0.3), rng.uniform(0.008, 0.04))
        book = Thing([printed(rng, size, (0, 0, height + size[2] / 2))])
        thing.add(book.at(turn=rng.normal(0, 12)))
        height += size[2]
    return thing


def sheets(rng: np.random.Generator) -> Thing:
    """Sheets of printed paper, A4."""
    thing = Thing()
    for number in range(int(rng.integers(1, 4))):
        page = box(
            (0.21, 0.297, 0.0015), (0, 0, 0.001 + 0.0015 * number), numbered(rng, 'paper'), fit=True
        )
        thing.add(Thing([page]).at(*rng.normal(0, 0.06, 2), turn=rng.uniform(0, 360)))
    return thing


def laptop(rng: np.random.Generator) -> Thing:
    """An open laptop."""
    name = pick(rng, ('metal:1', 'black:1', 'white:1'))
    base = box((0.33, 0.23, 0.018), (0, 0, 0.009), name, 0.004)
    keys = box((0.28, 0.11, 0.002), (0, -0.03, 0.019), 'black:2')
    lid = Thing([box((0.33, 0.008, 0.22), (0, 0, 0.11), name, 0.003)])
    lid.add(box((0.31, 0.002, 0.2), (0, 0.005, 0.11), numbered(rng, 'screen', 2), fit=True))
    return Thing([base, keys]).add(lid.tilted(0, rng.uniform(5, 25)).at(0, -0.115, 0.015))


def keyboard(rng: np.random.Generator) -> Thing:
    """A keyboard with a mouse next to it."""
    name = pick(rng, ('black:1', 'white:1', 'black:2'))
    thing = Thing([box((0.44, 0.14, 0.02), (0, 0, 0.01), name, 0.005)])
    for row in range(5):
        thing.add(box((0.41, 0.018, 0.006), (0, 0.023 * (row - 2), 0.023), 'plastic:5', 0.002))
    return thing.add(ellipsoid((0.06, 0.1, 0.05), (0.32, 0, 0.012), name))


def cardboard(rng: np.random.Generator) -> Thing:
    """A cardboard box, closed with tape or open."""
    width, depth, height = rng.uniform(0.2, 0.55), rng.uniform(0.18, 0.4), rng.uniform(0.12, 0.42)
    name = numbered(rng, 'cardboard', 2)
    if rng.random() < 0.6:
        thing = Thing([box((width, depth, height), (0, 0, height / 2), name, 0.003)])
        thing.add(box((width + 0.002, 0.05, height + 0.002), (0, 0, height / 2), 'clay:2'))
        if rng.random() < 0.5:
            thing.add(box((0.15, depth + 0.004, 0.1), (0, 0, height * 0.55), 'paper:1', fit=True))
        return thing
    thing = tray(width, depth, height, name)
    for side, turn in ((0, 0), (1, 90), (2, 180), (3, 270)):
        length, reach = (width, depth / 2) if side % 2 == 0 else (depth, width / 2)
        flap = Thing([box((length, 0.4 * reach + 0.03, 0.004), (0, 0.2 * reach, 0), name)])
        flap = flap.tilted(0, rng.uniform(-50, 40))
        thing.add(flap.at(0, reach, height).at(turn=turn))
    return thing


def tray(width: float, depth: float, height: float, name: str, wall: float = 0.006) -> Thing:
    """An open box."""
    thing = Thing([box((width, depth, wall), (0, 0, wall / 2), name)])
    for sign in (-1, 1):
        thing.add(box((width, wall, height), (0, sign * (depth - wall) / 2, height / 2), name))
        thing.add(box((wall, depth, height), (sign * (width - wall) / 2, 0, height / 2), name))
    return thing


def crate(rng: np.random.Generator) -> Thing:
    """A plastic crate, a basket or a drawer box."""
    name = pick(rng, ('plastic:6', 'plastic:7', 'wood:3', 'fabric:4'))
    return tray(rng.uniform(0.25, 0.4), rng.uniform(0.2, 0.35), rng.uniform(0.12, 0.3), name, 0.01)


def leaf(rng: np.random.Generator, length: float, width: float, name: str) -> object:
    """A bent leaf from the origin outwards."""
    along = np.linspace(0, 1, 5)
    rise, fall = rng.uniform(0.4, 1.1), rng.uniform(0.5, 1.4)
    spine = np.stack([along * length, 0 * along, length * (rise * along - fall * along**2)], axis=1)
    half = width / 2 * np.sin(np.pi * np.clip(along * 0.96 + 0.02, 0, 1)) ** 0.7
    points = spine[None] + np.array([-1, 0, 1])[:, None, None] * np.stack(
        [0 * half, half, 0.2 * half], axis=1
    )
    return sheet(points, name, fit=True)


def plant(rng: np.random.Generator, size: float | None = None) -> Thing:
    """A potted plant, about twice as high as `size`."""
    size = rng.uniform(0.1, 0.25) if size is None else size
    pot, height = 0.38 * size, rng.uniform(0.5, 0.75) * size
    name = pick(rng, ('clay:0', 'ceramic:1', 'white:0', 'black:0', 'plastic:1'))
    thing = Thing(
        [
            lathe(
                [
                    (0, 0),
                    (0.75 * pot, 0),
                    (pot, height),
                    (0.9 * pot, height),
                    (0.85 * pot, 0.85 * height),
                ],
                name,
            )
        ]
    )
    thing.add(lathe([(0.9 * pot, 0.86 * height), (0, 0.88 * height)], 'soil:0'))
    green = numbered(rng, 'leaf', 2)
    stem = rng.uniform(0.0, 0.7) * size
    wide = rng.uniform(0.15, 0.45)
    for _ in range(int(rng.integers(10, 26))):
        start = height + stem * rng.random()
        blade = Thing(
            [leaf(rng, size * rng.uniform(0.5, 1.0), size * wide * rng.uniform(0.6, 1), green)]
        )
        thing.add(blade.at(0, 0, start, rng.uniform(0, 360)))
    if stem > 0.1:
        thing.add(
            tube([(0, 0, 0.8 * height), (0.01, 0, height + stem)], 0.02 * size + 0.003, 'wood:1', 6)
        )
    return thing


def vase(rng: np.random.Generator) -> Thing:
    """A vase."""
    height, radius = rng.uniform(0.15, 0.35), rng.uniform(0.04, 0.09)
    widths = radius * np.clip(rng.uniform(0.45, 1.0, 6), 0.3, 1)
    profile = [(0.0, 0.0), *zip(widths, np.linspace(0.0, height, 6)), (widths[-1] * 0.85, height)]
    return Thing(
        [
            lathe(
                [*profile, (widths[-1] * 0.7, 0.5 * height)],
                pick(rng, ('ceramic:0', 'lacquer:2', 'clay:0', 'glassy:1')),
            )
        ]
    )


def table_lamp(rng: np.random.Generator) -> Thing:
    """A lamp with a shade."""
    height, radius = rng.uniform(0.2, 0.38), rng.uniform(0.09, 0.16)
    thing = cylinder(0.07, 0.015, (0, 0, 0), 'metal:0').add(
        cylinder(0.012, height, (0, 0, 0), 'metal:0')
    )
    top = radius * rng.uniform(0.5, 1.0)
    return thing.add(
        lathe(
            [(radius, 0), (top, 0.16), (top - 0.004, 0.16), (radius - 0.004, 0)],
            'shade:0',
            (0, 0, height - 0.04),
            smooth=True,
        )
    )


def frame(rng: np.random.Generator) -> Thing:
    """A photograph in a stand."""
    width, height = rng.uniform(0.1, 0.2), rng.uniform(0.12, 0.25)
    thing = Thing(
        [
            box(
                (width, 0.012, height),
                (0, 0, height / 2),
                pick(rng, ('wood:1', 'black:0', 'metal:0')),
            )
        ]
    )
    thing.add(
        box(
            (width - 0.03, 0.003, height - 0.03),
            (0, 0.006, height / 2),
            numbered(rng, 'painting'),
            fit=True,
        )
    )
    return thing.tilted(0, 10)


def clock(rng: np.random.Generator) -> Thing:
    """A ball, a globe or a round box."""
    radius = rng.uniform(0.04, 0.11)
    return Thing(
        [
            ellipsoid(
                (2 * radius,) * 3, (0, 0, radius), pick(rng, ('lacquer:3', 'plastic:2', 'metal:0'))
            )
        ]
    )


def tool(rng: np.random.Generator) -> Thing:
    """A hand tool: a handle and a head."""
    length = rng.uniform(0.15, 0.32)
    thing = Thing(
        [
            box(
                (length * 0.5, 0.03, 0.025),
                (-length / 4, 0, 0.013),
                numbered(rng, 'lacquer', 6),
                0.008,
            )
        ]
    )
    thing.add(box((length * 0.5, 0.014, 0.012), (length / 4, 0, 0.012), 'metal:0', 0.003))
    if rng.random() < 0.5:
        thing.add(box((0.03, 0.1, 0.03), (length / 2, 0, 0.015), 'metal:0', 0.004))
    return thing


def toolbox(rng: np.random.Generator) -> Thing:
    """A toolbox or a machine with a handle."""
    name = numbered(rng, 'lacquer', 6)
    size = (rng.uniform(0.3, 0.5), rng.uniform(0.18, 0.25), rng.uniform(0.15, 0.25))
    thing = Thing([box(size, (0, 0, size[2] / 2), name, 0.015)])
    z = size[2]
    handle = [(-0.08, 0, z), (-0.08, 0, z + 0.05), (0.08, 0, z + 0.05), (0.08, 0, z)]
    return thing.add(
        tube(handle, 0.012, 'black:0', 6),
        box((0.06, 0.01, 0.04), (0, size[1] / 2, z * 0.7), 'metal:0'),
    )


def cloth(rng: np.random.Generator) -> Thing:
    """A crumpled cloth or piece of clothing."""
    size = rng.uniform(0.25, 0.5)
    line = np.linspace(-0.5, 0.5, 12)
    y, x = np.meshgrid(line, line, indexing='ij')
    bumps = sum(
        rng.uniform(0.01, 0.03)
        * np.cos(rng.uniform(3, 14) * x + rng.uniform(3, 14) * y + rng.uniform(0, 6))
        for _ in range(5)
    )
    edge = np.clip(2.5 * (0.5 - np.maximum(np.abs(x), np.abs(y))), 0, 1)
    z = 0.004 + edge * np.maximum(bumps + 0.03, 0.0)
    warp = 1 + 0.25 * np.cos(3 * np.arctan2(y, x) + rng.uniform(0, 6))
    return Thing(
        [sheet(np.stack([x * size * warp, y * size * warp, z], axis=2), numbered(rng, 'fabric', 5))]
    )


def cable(rng: np.random.Generator) -> Thing:
    """A cable lying in curves on the floor."""
    steps = np.cumsum(rng.normal(0, 0.45, 24))
    line = np.cumsum(np.stack([np.cos(steps), np.sin(steps)], axis=1) * 0.06, axis=0)
    points = np.column_stack([line - line.mean(axis=0), np.full(24, 0.005)])
    thing = Thing([tube(points, 0.004, pick(rng, ('black:0', 'white:0')), 5)])
    if rng.random() < 0.5:
        thing.add(
            Thing([box((0.26, 0.05, 0.035), (0, 0, 0.018), 'white:1', 0.006)]).at(
                *points[-1, :2], turn=rng.uniform(0, 360)
            )
        )
    return thing


def shoes(rng: np.random.Generator) -> Thing:
    """A pair of shoes."""
    name, thing = numbered(rng, 'leather', 4), Thing()
    for side in (-0.06, 0.06):
        shoe = Thing([box((0.09, 0.27, 0.02), (0, 0, 0.01), 'black:1', 0.009)])
        shoe.add(ellipsoid((0.09, 0.17, 0.08), (0, 0.05, 0.035), name, 0.7))
        shoe.add(
            lathe([(0.042, 0), (0.036, 0.09), (0.03, 0.09), (0.03, 0.04)], name, (0, -0.08, 0.01))
        )
        thing.add(shoe.at(side, rng.normal(0, 0.03), turn=rng.normal(0, 12)))
    return thing


def bag(rng: np.random.Generator) -> Thing:
    """A rucksack."""
    size = (rng.uniform(0.25, 0.38), rng.uniform(0.18, 0.26), rng.uniform(0.3, 0.48))
    name = pick(rng, ('fabric:3', 'leather:2', 'black:0'))
    thing = Thing([box(size, (0, 0, size[2] / 2), name, 0.09, 3)])
    pocket = (size[0] * 0.75, 0.12, size[2] * 0.4)
    thing.add(box(pocket, (0, size[1] / 2, size[2] * 0.28), name, 0.045, 3))
    for x in (-0.07, 0.07):
        top, back = size[2] - 0.02, -size[1] / 2 - 0.02
        thing.add(tube([(x, 0, top), (x, back, top - 0.08), (x, back, 0.1)], 0.015, 'black:0', 6))
    return thing.tilted(0, rng.uniform(-4, 12))


def bin_(rng: np.random.Generator) -> Thing:
    """A waste-paper basket or a bucket."""
    radius, height = rng.uniform(0.12, 0.16), rng.uniform(0.25, 0.4)
    name = pick(rng, ('black:0', 'metal:0', 'plastic:3', 'white:0'))
    return Thing(
        [
            lathe(
                [
                    (0, 0),
                    (0.8 * radius, 0),
                    (radius, height),
                    (radius - 0.006, height),
                    (0.78 * radius, 0.01),
                    (0, 0.01),
                ],
                name,
            )
        ]
    )


def toy(rng: np.random.Generator) -> Thing:
    """Toy bricks or a ball."""
    thing = Thing()
    for _ in range(int(rng.integers(2, 9))):
        size = rng.uniform(0.03, 0.09, 3)
        brick = Thing([box(size, (0, 0, size[2] / 2), numbered(rng, 'lacquer', 7), 0.003)])
        thing.add(brick.at(*rng.uniform(-0.25, 0.25, 2), turn=rng.uniform(0, 360)))
    return thing


Maker = Callable[[np.random.Generator], Thing]
DESK: tuple[Maker, ...] = (mug, books, sheets, laptop, plant, bottle, frame, package, sheets, clock)
DINING: tuple[Maker, ...] = (mug, bowl, bottle, sheets, package, vase, books, mug, bowl, cloth)
KITCHEN: tuple[Maker, ...] = (bottle, package, bowl, mug, bottle, package, vase, plant, crate)
SHELF: tuple[Maker, ...] = (vase, frame, plant, books, clock, crate, package, mug, bottle)
BENCH: tuple[Maker, ...] = (tool, toolbox, tool, bottle, cardboard, crate, sheets, mug, tool)
BATH: tuple[Maker, ...] = (bottle, bottle, mug, cloth, plant, crate)
FLOOR: tuple[Maker, ...] = (cable, shoes, bag, bin_, toy, cardboard, cloth, crate, books, cardboard)


def scatter(
    rng: np.random.Generator,
    thing: Thing,
    area: Sequence[float],
    count: int,
    makers: Sequence[Maker],
) -> Thing:
    """Put up to `count` small things on `thing` without overlap, and record the top.

    Args:
        area: left, right, back, front and height of the surface.
    """
    left, right, back, front, z = area
    taken: list[tuple[float, float, float]] = []
    for _ in range(count):
        item = makers[int(rng.integers(len(makers)))](rng).at(turn=rng.normal(0, 50))
        low, high = item.bounds()
        reach = 0.5 * float(max(high[0] - low[0], high[1] - low[1]))
        for _ in range(6):
            if right - left < 2 * reach or front - back < 2 * reach:
                break
            x, y = (
                rng.uniform(left + reach, right - reach),
                rng.uniform(back + reach, front - reach),
            )
            if all(math.hypot(x - a, y - b) > 0.85 * (reach + r) for a, b, r in taken):
                thing.add(item.at(x, y, z))
                taken.append((x, y, reach))
                break
    thing.tops.append(((left + right) / 2, (back + front) / 2, z))
    return thing
