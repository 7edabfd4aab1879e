# SPDX-License-Identifier: Apache-2.0
"""Groups of catalogue models: seats with people, laid tables, desks, beds, rows of kitchen units.

Makers as in `furniture.py`; they return None if the catalogue has nothing that fits.
"""

from __future__ import annotations

import math

import numpy as np

from simple.catalogue import Model
from simple.mesh import Thing
from simple.shop import Shop, boxes, level_place, load, seat_of, seat_person, stand
from simple.style import Style

OCCUPIED = 0.12  # share of the seats on which somebody sits


def shop_of(style: Style) -> Shop:
    """Return the shop of a style that has one."""
    assert style.shop is not None
    return style.shop


def sofa(rng: np.random.Generator, style: Style, seats: int | None = None) -> Thing | None:
    """A sofa, or an armchair if it is to have one seat; sometimes somebody sits on it."""
    shop = shop_of(style)
    corner = rng.random() < 0.2
    role = 'armchair' if seats == 1 else 'corner sofa' if corner else 'sofa'
    thing = shop.take(rng, role, (3.0, 2.0, 1.4))
    if thing is None or (corner and seats != 1):
        return thing
    model = thing.models[0].model
    if rng.random() < 2 * OCCUPIED:
        reach = max(model.size[0] / 2 - 0.55, 0.0)
        thing.add(seat_person(rng, shop, thing.models[0], rng.uniform(-reach, reach)))
    thing.tops = [(0.0, 0.05, (seat_of(model) or (0.0, 0.42))[1])]
    return thing


def chairs_around(
    rng: np.random.Generator, shop: Shop, thing: Thing, chair: Model, table: Model
) -> Thing:
    """Stand chairs around a table; one of them may be taken."""
    width, depth = table.size[:2]
    round_ = abs(width - depth) < 0.03
    along = max(1, int(width / max(0.62, chair.size[0] + 0.06)))
    places = [
        ((k + 0.5) / along * width - width / 2, s * depth / 2, 0 if s < 0 else 180)
        for k in range(along)
        for s in (-1, 1)
    ]
    if rng.random() < 0.5 or round_:
        places += [(-width / 2, 0.0, -90), (width / 2, 0.0, 90)]
    someone = int(rng.integers(len(places))) if rng.random() < 2 * OCCUPIED else -1
    for number, (x, y, turn) in enumerate(places):
        if rng.random() < 0.12 and number != someone:
            continue
        ahead = np.array([-math.sin(math.radians(turn)), math.cos(math.radians(turn))])
        out = chair.size[1] / 2 - 0.22 + rng.uniform(0.0, 0.25)
        seat = stand(chair)
        seat.tops.clear()
        if number == someone:
            seat.add(seat_person(rng, shop, seat.models[0]))
            out += 0.1
        place = np.array([x, y]) - ahead * out
        thing.add(seat.at(*place, turn=turn + rng.normal(0, 7)))
    return thing


def dining_set(rng: np.random.Generator, style: Style) -> Thing | None:
    """A laid or littered table with its chairs."""
    shop = shop_of(style)
    table = shop.draw(rng, 'table', (1.8, 1.0, 0.95))
    chair = shop.draw(rng, 'chair')
    if table is None or chair is None:
        return None
    thing = load(rng, shop, stand(table), ('on tables', 'on tables', 'plant'), rng.integers(1, 10))
    return chairs_around(rng, shop, thing, chair, table)


def coffee_table(rng: np.random.Generator, style: Style) -> Thing | None:
    """A low table with things on it."""
    shop = shop_of(style)
    table = shop.take(rng, 'coffee table')
    if table is None:
        return None
    return load(rng, shop, table, ('on tables', 'on desks', 'plant'), rng.integers(1, 7))


def desk_set(rng: np.random.Generator, style: Style) -> Thing | None:
    """A desk with screens and clutter, and a chair on which somebody may sit."""
    shop = shop_of(style)
    desk = shop.draw(rng, 'desk', (2.4, 1.3, 1.9))
    chair = shop.draw(rng, 'office chair' if rng.random() < 0.75 else 'chair')
    if desk is None or chair is None:
        return None
    thing = stand(desk)
    thing.tops = [(0.0, 0.0, min(desk.top or 0.75, 0.8))]
    for _ in range(int(rng.integers(0, 3))):
        screen = shop.draw(rng, 'screen')
        place = None
        if screen is not None:
            item = stand(screen).at(turn=rng.normal(0, 12))
            place = level_place(rng, desk, item, boxes(thing.models[1:]), 20)
        if place is not None and place[2] < 0.85:
            thing.add(item.at(*place))
    cargo = ('on desks', 'on desks', 'on desks', 'desk lamp', 'on tables', 'on shelves')
    load(rng, shop, thing, cargo, int(rng.integers(3, 14)))
    seat = stand(chair)
    seat.tops.clear()
    if rng.random() < 2 * OCCUPIED:
        seat.add(seat_person(rng, shop, seat.models[0]))
    out = desk.size[1] / 2 + chair.size[1] / 2 + rng.uniform(-0.28, 0.3)
    return thing.add(seat.at(rng.normal(0, 0.1), out, turn=180 + rng.normal(0, 25)))


def bed(rng: np.random.Generator, style: Style) -> Thing | None:
    """A bed, perhaps with bedside tables, perhaps with somebody or something on it."""
    shop = shop_of(style)
    thing = shop.take(rng, 'bed', (2.2, 2.3, 1.8))
    if thing is None:
        return None
    model = thing.models[0].model
    top = min(model.top or 0.5, 0.6)
    if rng.random() < OCCUPIED and (person := shop.take(rng, 'lying person')) is not None:
        thing.add(person.at(rng.normal(0, 0.05), 0.05, top - 0.04, 180))
    elif rng.random() < 0.5:
        cargo = ('on shelves', 'on desks', 'on floors')
        load(rng, shop, thing, cargo, int(rng.integers(1, 4)))
    thing.tops = [(0.0, 0.2, top)]
    stand_by = shop.draw(rng, 'bedside table')
    for side in (-1, 1):
        if stand_by is None or rng.random() < 0.4:
            continue
        beside = stand(stand_by)
        beside.tops.clear()
        cargo = ('table lamp', 'table lamp', 'on shelves', 'on desks')
        load(rng, shop, beside, cargo, int(rng.integers(1, 4)))
        out = model.size[0] / 2 + stand_by.size[0] / 2 + rng.uniform(0.02, 0.1)
        thing.add(beside.at(side * out, -model.size[1] / 2 + stand_by.size[1] / 2 + 0.02))
    return thing


def television(rng: np.random.Generator, style: Style) -> Thing | None:
    """A television on its stand, with what belongs to it."""
    shop = shop_of(style)
    if rng.random() < 0.2:
        return shop.take(rng, 'television unit', (3.4, 1.0, 2.3))
    thing, screen = shop.take(rng, 'television stand'), shop.take(rng, 'television')
    if thing is None or screen is None:
        return None
    screen.tops.clear()
    place = level_place(rng, thing.models[0].model, screen, [], 40)
    if place is not None:
        thing.add(screen.at(*place))
    return load(rng, shop, thing, ('on shelves', 'on shelves', 'plant'), int(rng.integers(1, 6)))


def counter(
    rng: np.random.Generator, style: Style, width: float, above: bool = True
) -> Thing | None:
    """A row of kitchen units up to `width` long with things on them and cupboards above."""
    shop = shop_of(style)
    kind = 'white ' if rng.random() < 0.5 else ''
    row: list[Model] = []
    sink, left = shop.draw(rng, f'{kind}sink cabinet'), width
    while left > 0.45:
        want = sink if rng.random() < 0.35 else shop.draw(rng, f'{kind}lower cabinet')
        if rng.random() < 0.15:
            want = shop.draw(rng, 'stove' if rng.random() < 0.4 else 'washer')
        fits = want if want is not None and want.size[0] <= left else None
        fits = fits or shop.draw(rng, f'{kind}lower cabinet', (left, 9.0, 9.0))
        if fits is None:
            break
        sink = None if fits is sink else sink
        row.append(fits)
        left -= fits.size[0]
    if not row:
        return None
    return furnish_row(rng, shop, row, f'{kind}upper cabinet' if above else None)


def furnish_row(rng: np.random.Generator, shop: Shop, row: list[Model], upper: str | None) -> Thing:
    """Return units side by side, their backs in line, with clutter and, if named, cupboards."""
    thing, x = Thing(), 0.0
    total = sum(model.size[0] for model in row)
    back = -max(model.size[1] for model in row) / 2
    for model in row:
        unit = load(rng, shop, stand(model), ('on counters',) * 3 + ('plant',), rng.integers(0, 5))
        middle = x + model.size[0] / 2 - total / 2
        thing.add(unit.at(middle, back + model.size[1] / 2))
        x += model.size[0]
    x = 0.0
    while upper and rng.random() < 0.85:
        cupboard = shop.draw(rng, upper, (total - x, 9.0, 9.0))
        if cupboard is None:
            break
        middle = x + cupboard.size[0] / 2 - total / 2
        thing.add(
            stand(cupboard).at(middle, back + cupboard.size[1] / 2, max(cupboard.elevation, 1.4))
        )
        x += cupboard.size[0]
    return thing


def on_wall(rng: np.random.Generator, style: Style) -> Thing | None:
    """Something that hangs on a wall, its back to it, at its height above the floor."""
    shop = shop_of(style)
    model = shop.draw(rng, 'on walls')
    if model is None:
        return None
    height = model.elevation or (1.2 if model.size[2] < 0.6 else 0.1)
    return stand(model).at(0.0, model.size[1] / 2, height)


def box_stack(rng: np.random.Generator, style: Style) -> Thing | None:
    """Boxes and cases, up to three on top of each other."""
    shop = shop_of(style)
    thing = shop.take(rng, 'box')
    if thing is None:
        return None
    thing.tops.clear()
    height = thing.models[0].model.size[2]
    for _ in range(int(rng.integers(0, 3))):
        below = thing.models[-1].model
        model = shop.draw(rng, 'box', (below.size[0] + 0.05, below.size[1] + 0.05, 0.5))
        if model is None or below.stem in ('open-cardboard-box', 'box', 'suitcase', 'barrel'):
            break
        item = stand(model).at(turn=rng.normal(0, 6))
        item.tops.clear()
        thing.add(item.at(*rng.normal(0, 0.02, 2), height))
        height += model.size[2]
    return thing


def floor_item(rng: np.random.Generator, style: Style) -> Thing | None:
    """Something that stands or lies on the floor."""
    thing = shop_of(style).take(rng, 'on floors')
    if thing is not None:
        thing.tops.clear()
    return None if thing is None else thing.at(turn=rng.uniform(0, 360))


def person(rng: np.random.Generator, style: Style) -> Thing:
    """Somebody who stands, or sits or lies on the floor; nobody without a catalogue."""
    role = 'standing person' if rng.random() < 0.8 else 'person on the floor'
    thing = None if style.shop is None else style.shop.take(rng, role)
    return Thing() if thing is None else Thing(models=thing.models).at(turn=rng.uniform(0, 360))
