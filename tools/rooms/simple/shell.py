# SPDX-License-Identifier: Apache-2.0
"""The building around a room: zones, walls with openings, floor, ceiling, fittings."""

from __future__ import annotations

import numpy as np

from simple import fittings
from simple.layout import Lamp, Opening, Plan, Wall, Zone
from simple.mesh import Part, Thing, box
from simple.storage import switch
from simple.style import draw_style, pick

OUTER, SHARED = 0.26, 0.06  # thickness of an outer wall, and of half an inner wall
EAST, WEST = 1, 3

SIZES = {  # width and depth in metres
    'livingroom': ((3.6, 7.0), (3.2, 5.5)),
    'diningroom': ((3.0, 5.5), (2.8, 4.5)),
    'bedroom': ((2.8, 5.0), (2.8, 4.5)),
    'kitchen': ((2.4, 5.0), (2.2, 4.2)),
    'office': ((3.0, 8.0), (2.8, 6.0)),
    'corridor': ((4.0, 11.0), (1.1, 2.2)),
    'hall': ((6.0, 11.0), (5.0, 9.0)),
    'bathroom': ((1.9, 3.6), (1.8, 3.0)),
    'workshop': ((3.5, 8.0), (3.0, 6.0)),
    'classroom': ((6.0, 9.0), (5.0, 7.0)),
    'storage': ((2.4, 5.5), (2.2, 4.5)),
}
WALLS = {
    'kitchen': ('wall', 'wall', 'colourwall', 'walltiles'),
    'bathroom': ('walltiles', 'walltiles', 'wall'),
    'workshop': ('wall', 'brickwall', 'colourwall', 'wall'),
    'storage': ('wall', 'brickwall', 'wall'),
    'office': ('wall', 'wall', 'colourwall'),
    'classroom': ('wall', 'colourwall'),
}
FLOORS = {
    'kitchen': ('floortiles', 'boards', 'screed'),
    'bathroom': ('floortiles',),
    'workshop': ('screed', 'screed', 'boards'),
    'storage': ('screed', 'floortiles'),
    'office': ('carpeting', 'screed', 'boards', 'carpeting'),
    'classroom': ('screed', 'boards', 'carpeting'),
    'corridor': ('boards', 'floortiles', 'screed', 'carpeting'),
    'hall': ('boards', 'floortiles', 'screed', 'carpeting'),
}
HOME_WALLS = ('wall', 'wall', 'wall', 'colourwall', 'wallpaper', 'brickwall')
HOME_FLOORS = ('boards', 'boards', 'boards', 'carpeting', 'floortiles')
PUBLIC = ('office', 'classroom', 'workshop', 'storage')  # lit by panels, no curtains


def draw_plan(kind: str, seed: int) -> Plan:
    """Draw the shell of a room: one zone, an L-shape, or two rooms with a doorway."""
    rng = np.random.default_rng([seed, 11])
    size = [rng.uniform(*limits) for limits in SIZES[kind]]
    height = rng.uniform(2.25, 2.8) if rng.random() < 0.75 else rng.uniform(2.8, 3.2)
    zones = [make_zone((0.0, 0.0), (size[0], size[1]), kind, 0, rng)]
    choice = rng.random()
    if choice < 0.22 and size[1] > 2.0:
        join(zones, kind, rng, open_=True)
    elif choice < 0.72:
        other = pick(rng, ('corridor', 'livingroom', 'bedroom', 'kitchen', 'office', 'storage'))
        join(zones, other, rng, open_=False)
    plan = Plan(rng, draw_style(rng), kind, height, zones)
    for zone in zones:
        add_openings(plan, zone)
    for zone in zones:
        build(plan, zone)
    return plan


def make_zone(
    low: tuple[float, float],
    high: tuple[float, float],
    kind: str,
    number: int,
    rng: np.random.Generator,
) -> Zone:
    """Return a zone with its four outer walls."""
    zone = Zone(low, high, kind, number)
    zone.surface = f'{pick(rng, WALLS.get(kind, HOME_WALLS))}:{number}'
    zone.ground = f'{pick(rng, FLOORS.get(kind, HOME_FLOORS))}:{number}'
    corners = (low, (high[0], low[1]), high, (low[0], high[1]))
    for side, corner in enumerate(corners):
        length = zone.size[side % 2]
        zone.walls.append(Wall(corner, 90.0 * side, length, OUTER, (OUTER, OUTER)))
    return zone


def join(zones: list[Zone], kind: str, rng: np.random.Generator, open_: bool) -> None:
    """Put a second zone to the east of the first, without a wall or with a doorway between."""
    first = zones[0]
    depth = (
        first.size[1] * rng.uniform(0.45, 0.75)
        if open_
        else min(first.size[1], rng.uniform(1.1, 4))
    )
    start = first.low[1] + (first.size[1] - depth) * float(rng.choice([0.0, 1.0]))
    left = first.high[0] + (0.0 if open_ else 2 * SHARED)
    width = rng.uniform(1.4, 3.0) if open_ else rng.uniform(2.0, 5.0)
    second = make_zone((left, start), (left + width, start + depth), kind, 0 if open_ else 1, rng)
    if open_:
        second.surface, second.ground = first.surface, first.ground
    east, west = first.walls[EAST], second.walls[WEST]
    if open_:
        east.openings.append(Opening('open', start, start + depth, 0.0, 9.0))
        west.openings.append(Opening('open', 0.0, depth, 0.0, 9.0))
    else:
        wide = (
            rng.uniform(0.78, min(0.95, depth - 0.1))
            if rng.random() < 0.7
            else min(1.6, depth - 0.1)
        )
        middle = start + rng.uniform(wide / 2 + 0.05, depth - wide / 2 - 0.05)
        head = rng.uniform(1.98, 2.12)
        east.thick = west.thick = SHARED
        at_west = second.high[1] - middle
        east.openings.append(Opening('passage', middle - wide / 2, middle + wide / 2, 0.0, head))
        west.openings.append(Opening('passage', at_west - wide / 2, at_west + wide / 2, 0.0, head))
    begin = -OUTER if open_ else 0.0  # the end of the first zone's wall is there
    second.walls[0].extend, second.walls[2].extend = (begin, OUTER), (OUTER, begin)
    west.extend = (0.0, 0.0)
    zones.append(second)


def add_openings(plan: Plan, zone: Zone) -> None:
    """Cut windows and doors into the outer walls of a zone."""
    rng = plan.rng
    sides = [
        side
        for side in range(4)
        if zone.walls[side].thick == OUTER and not zone.walls[side].openings
    ]
    if len(sides) > 2 and zone.kind != 'corridor':  # the longest has no opening, for furniture
        sides.remove(max(sides, key=lambda side: zone.walls[side].length + rng.uniform(0, 0.5)))
    if zone.kind not in ('corridor', 'storage') or rng.random() < 0.3:
        for side in rng.permutation(sides)[: int(rng.integers(1, 3))]:
            add_windows(plan, zone, zone.walls[int(side)])
    count = int(rng.integers(2, 5)) if zone.kind == 'corridor' else int(rng.integers(0, 2))
    for _ in range(count):
        wall = zone.walls[int(rng.choice(sides or [0]))]
        width = rng.uniform(0.75, 0.95)
        if wall.length > width + 0.3:
            left = rng.uniform(0.12, wall.length - width - 0.12)
            if wall.thick == OUTER and wall.free(left, left + width, 0.15):
                wall.openings.append(
                    Opening('door', left, left + width, 0.0, rng.uniform(1.98, 2.1))
                )


def add_windows(plan: Plan, zone: Zone, wall: Wall) -> None:
    """Cut one to three equal windows into a wall."""
    rng = plan.rng
    small = zone.kind in ('bathroom', 'storage')
    low = rng.uniform(1.2, 1.5) if small else rng.uniform(0.75, 1.1)
    low = rng.uniform(1.0, 1.2) if zone.kind == 'kitchen' else low
    if zone.kind in ('livingroom', 'bedroom', 'office') and rng.random() < 0.25:
        low = rng.uniform(0.05, 0.4)
    high = min(plan.height - rng.uniform(0.12, 0.35), low + rng.uniform(1.0, 2.1))
    width = rng.uniform(0.5, 0.9) if small else rng.uniform(0.8, 2.2)
    count = max(1, min(3, int(wall.length / (width + 0.7)))) if rng.random() < 0.6 else 1
    pitch = wall.length / count
    for number in range(count):
        middle = pitch * (number + 0.5)
        half = min(width, pitch - 0.5) / 2
        if half > 0.2 and wall.free(middle - half, middle + half):
            wall.openings.append(Opening('window', middle - half, middle + half, low, high))


def build(plan: Plan, zone: Zone) -> None:
    """Build walls, floor, ceiling and fittings of a zone."""
    rng, height = plan.rng, plan.height
    panels = zone.kind in PUBLIC and zone.number == 0 and rng.random() < 0.4
    plan.thing.add(slab(zone, -0.05, zone.ground))
    plan.thing.add(slab(zone, height + 0.05, 'paneling:0' if panels else 'ceiling:0'))
    for wall in zone.walls:
        plan.thing.add(wall.place(masonry(wall, height, zone.surface), 0.0))
        for opening in wall.openings:
            fit(plan, zone, wall, opening)
    if zone.kind == 'bathroom' or rng.random() < 0.85:
        skirt(plan, zone)
    add_lamps(plan, zone)
    for _ in range(int(rng.integers(1, 4))):
        plan.hang(zone, switch, *((0.25, 0.35) if rng.random() < 0.6 else (1.05, 1.2)))
    if zone.kind in (*PUBLIC, 'bathroom') and rng.random() < 0.4:
        wall = zone.walls[int(rng.integers(4))]
        if wall.thick == OUTER and not any(o.high > height - 0.3 for o in wall.openings):
            plan.thing.add(
                wall.place(fittings.pipe(rng, wall.length), wall.length / 2, 0, height - 0.12)
            )


def slab(zone: Zone, z: float, name: str) -> Part:
    """Return a floor or ceiling that ends below the walls, or at the next zone."""
    south, east, north, west = (
        0.0 if is_open(wall) else min(wall.thick, 0.1) for wall in zone.walls
    )
    low = np.array(zone.low) - [west, south]
    high = np.array(zone.high) + [east, north]
    return box((*(high - low), 0.1), (*(low + high) / 2, z), name)


def is_open(wall: Wall) -> bool:
    """Tell whether a zone continues beyond this wall."""
    return any(opening.kind == 'open' for opening in wall.openings)


def masonry(wall: Wall, height: float, name: str) -> Thing:
    """Return the solid pieces of a wall around its openings, in the frame of the wall."""
    thing = Thing()

    def solid(left: float, right: float, low: float, high: float) -> None:
        if right - left > 1e-4 and high - low > 1e-4:
            size = (right - left, wall.thick, high - low)
            middle = ((left + right) / 2, -wall.thick / 2, (low + high) / 2)
            thing.add(box(size, middle, name, upright=True))

    at = -wall.extend[0]
    for opening in sorted(wall.openings, key=lambda o: o.left):
        solid(at, opening.left, 0.0, height)
        solid(opening.left, opening.right, 0.0, opening.low)
        solid(opening.left, opening.right, min(opening.high, height), height)
        at = opening.right
    solid(at, wall.length + wall.extend[1], 0.0, height)
    if not thing.parts:  # a fully open side still has a threshold, below the floor
        thing.add(box((0.1, 0.02, 0.02), (wall.length / 2, 0.0, -0.05), name))
    return thing


def fit(plan: Plan, zone: Zone, wall: Wall, opening: Opening) -> None:
    """Put the window or the door into an opening and keep its surroundings free."""
    rng, middle = plan.rng, opening.middle
    if opening.kind == 'window':
        fit_window(plan, zone, wall, opening)
    elif opening.kind == 'door':
        leaf = fittings.door(rng, opening.width, opening.high, wall.thick, 0.0)
        plan.thing.add(wall.place(leaf, middle))
        plan.reserve(wall.place(space(opening.width, 0.85, 0.0, 2.0), middle))
    elif opening.kind == 'passage':
        name = pick(rng, ('white:0', 'wood:1'))
        if wall.turn == 90.0:
            wide = opening.width < 1.0 and rng.random() < 0.5
            angle = rng.uniform(70, 115)
            plan.thing.add(
                wall.place(
                    fittings.door(rng, opening.width, opening.high, 2 * SHARED, angle), middle
                )
                if wide
                else wall.place(
                    fittings.casing(opening.width, opening.high, 2 * SHARED, name), middle
                )
            )
        plan.reserve(wall.place(space(opening.width + 0.2, 0.95, 0.0, 2.0), middle))


def fit_window(plan: Plan, zone: Zone, wall: Wall, opening: Opening) -> None:
    """Put a window with its curtains and, below it, a radiator."""
    rng, middle = plan.rng, opening.middle
    tall = opening.high - opening.low
    plan.thing.add(
        wall.place(fittings.window(rng, opening.width, tall, wall.thick), middle, 0.0, opening.low)
    )
    centre = wall.place(Thing(tops=[(0, -wall.thick - 0.05, opening.low + tall / 2)]), middle).tops[
        0
    ]
    plan.windows.append((centre, wall.turn, opening.width, tall))
    plan.reserve(wall.place(space(opening.width, 0.14, opening.low, opening.high), middle))
    if zone.kind not in PUBLIC[2:] and rng.random() < 0.6:
        veil = fittings.curtains(
            rng, plan.style, opening.width, opening.low, min(opening.high, plan.height - 0.13)
        )
        low, high = veil.bounds()
        if middle + low[0] > 0 and middle + high[0] < wall.length:
            plan.thing.add(wall.place(veil, middle))
            plan.reserve(wall.place(veil, middle))
    if opening.low > 0.7 and rng.random() < 0.6:
        plan.put(
            wall.place(fittings.radiator(rng, rng.uniform(0.6, 1.0) * opening.width), middle), zone
        )


def space(width: float, depth: float, low: float, high: float) -> Thing:
    """Return a block of space in front of a wall."""
    return Thing([box((width, depth, high - low), (0, depth / 2, (low + high) / 2), '')])


def skirt(plan: Plan, zone: Zone) -> None:
    """Add skirting boards between the doors."""
    name = pick(plan.rng, ('white:0', 'wood:1', zone.surface, 'black:0'))
    high, thick = plan.rng.uniform(0.05, 0.12), plan.rng.uniform(0.01, 0.018)
    for wall in zone.walls:
        at = 0.0
        doors = sorted((o for o in wall.openings if o.low == 0.0), key=lambda o: o.left)
        edge = [0.0 if o.kind == 'open' else 0.07 for o in doors]
        for end, resume in [
            *((o.left - e, o.right + e) for o, e in zip(doors, edge)),
            (wall.length, 0.0),
        ]:
            if end - at > 0.03:
                board = Thing(
                    [
                        box(
                            (end - at, thick, high),
                            ((at + end) / 2, thick / 2, high / 2),
                            name,
                            0.003,
                        )
                    ]
                )
                plan.thing.add(wall.place(board, 0.0))
            at = resume


def add_lamps(plan: Plan, zone: Zone) -> None:
    """Hang ceiling lamps in a regular pattern."""
    rng = plan.rng
    public = zone.kind in PUBLIC
    kind = 'panel' if public and rng.random() < 0.7 else pick(rng, ('dish', 'dish', 'pendant'))
    pitch = 2.4 if public or zone.kind == 'corridor' else 4.5
    counts = [max(1, round(length / pitch)) for length in zone.size]
    model = fittings.ceiling_lamp(rng, kind)
    drop = -float(model.bounds()[0][2])
    if plan.height - drop < 1.9:
        model, drop, kind = fittings.ceiling_lamp(rng, 'dish'), 0.12, 'dish'
    watts = zone.size[0] * zone.size[1] * rng.uniform(4.0, 8.0) / (counts[0] * counts[1])
    for i in range(counts[0]):
        for j in range(counts[1]):
            x = zone.low[0] + zone.size[0] * (i + 0.5) / counts[0]
            y = zone.low[1] + zone.size[1] * (j + 0.5) / counts[1]
            plan.thing.add(model.at(x, y, plan.height))
            plan.lamps.append(
                Lamp(
                    (x, y, plan.height - drop - 0.03), 0.3 if kind == 'panel' else 0.12, watts, True
                )
            )
