# SPDX-License-Identifier: Apache-2.0
"""The furniture of each kind of room."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from simple import fixtures, furniture, sets, shop, storage
from simple.layout import Lamp, Maker, Plan, Zone
from simple.mesh import Thing
from simple.shell import draw_plan
from simple.style import Style

DECORATION: tuple[tuple[Maker, float, float], ...] = (
    (storage.painting, 1.35, 1.75),
    (storage.painting, 1.35, 1.75),
    (storage.wall_shelf, 1.2, 1.7),
)


FULL = 0.3  # share of the floor to cover with furniture
HOME_FILLERS: tuple[Maker, ...] = (storage.cabinet, storage.bookcase, storage.box_stack)
WORK_FILLERS: tuple[Maker, ...] = (storage.rack, storage.box_stack, storage.barrel, storage.cabinet)
FILLERS: dict[str, tuple[Maker, ...]] = {
    'workshop': WORK_FILLERS,
    'storage': WORK_FILLERS,
    'bathroom': (storage.cabinet, fixtures.washer),
    'kitchen': (storage.cabinet, storage.bookcase, furniture.stool, fixtures.washer),
    'office': (storage.cabinet, storage.bookcase, furniture.desk_set, furniture.desk_set),
}


def furnish(kind: str, seed: int, models: shop.Shop | None = None) -> Plan:
    """Return a furnished room, determined by kind and seed, and by the models there are."""
    plan = draw_plan(kind, seed)
    plan.style = dataclasses.replace(plan.style, shop=models)
    for zone in plan.zones:
        RECIPES[zone.kind](plan, zone)
        if models is not None:
            add_large_things(plan, zone)
        fill(plan, zone)
        add_thin_things(plan, zone)
    if models is not None:
        people_room(plan)
    for zone in plan.zones:
        for _ in range(int(plan.rng.integers(0, 4 + int(zone.size[0] * zone.size[1] / 5)))):
            plan.loose(zone, storage.floor_item, 40.0)
    plan.lamps += model_lamps(plan)
    return plan


def add_thin_things(plan: Plan, zone: Zone) -> None:
    """Stand poles, slats and bare legs somewhere: thin things are easily overlooked."""
    makers = (storage.poles, storage.slats, furniture.stool, storage.poles)
    for _ in some(plan, 0, 3):
        plan.against(zone, one_of(plan, *makers))


def add_large_things(plan: Plan, zone: Zone) -> None:
    """Add models that no maker here has: a piano, a bicycle, things on the walls."""
    role = 'workshop thing' if zone.kind in ('workshop', 'storage') else 'large thing'
    for _ in some(plan, 0, 4 if role == 'workshop thing' else 2):
        model = shop_model(plan, role, (0.75 * zone.size[0], 0.6 * zone.size[1], 2.2))
        if model is not None:
            place = plan.against if chance(plan, 0.75) else plan.loose
            place(zone, model)
    for _ in some(plan, 0, 4):
        plan.at_wall(zone, sets.on_wall)


def shop_model(plan: Plan, role: str, most: tuple[float, float, float]) -> Maker | None:
    """Return the maker of one model of a role, None if there is none so small."""
    assert plan.style.shop is not None
    model = plan.style.shop.draw(plan.rng, role, most)
    return None if model is None else lambda _, __: shop.stand(model)


def people_room(plan: Plan) -> None:
    """Put nobody, one, two or three people into two rooms of five."""
    if chance(plan, 0.6):
        return
    for _ in some(plan, 1, 4):
        zone = plan.zones[int(plan.rng.integers(len(plan.zones)))]
        plan.loose(zone, sets.person, 180.0)


def model_lamps(plan: Plan) -> list[Lamp]:
    """Return the lights in the lamps of the catalogue."""
    return [
        Lamp(tuple((item.matrix @ place + item.offset).tolist()), 0.04, 7.0, False)
        for item in plan.thing.models
        for place in item.model.light_places()
    ]


def fill(plan: Plan, zone: Zone) -> None:
    """Add furniture at the walls of a zone that is still rather empty."""
    makers = (furniture.big_plant, furniture.chair, *FILLERS.get(zone.kind, HOME_FILLERS))
    for _ in range(8):
        if plan.covered(zone) > FULL:
            return
        plan.against(zone, one_of(plan, *makers))


def some(plan: Plan, low: int, high: int) -> range:
    """Return a range of random length, `high` excluded."""
    return range(int(plan.rng.integers(low, high)))


def surely(plan: Plan, zone: Zone, maker: Maker, ends: float = 0.5) -> bool:
    """Place furniture that a room must have at a wall; try different sizes of it."""
    return any(plan.against(zone, maker, ends=ends) for _ in range(6))


def chance(plan: Plan, probability: float) -> bool:
    """Return True with a probability."""
    return bool(plan.rng.random() < probability)


def one_of(plan: Plan, *makers: Maker) -> Maker:
    """Choose a maker."""
    return makers[int(plan.rng.integers(len(makers)))]


def decorate(plan: Plan, zone: Zone, low: int = 0, high: int = 4) -> None:
    """Hang pictures and shelves."""
    for _ in some(plan, low, high):
        plan.hang(zone, *DECORATION[int(plan.rng.integers(len(DECORATION)))])


def lay_rug(plan: Plan, zone: Zone) -> None:
    """Lay a rug, under the furniture."""
    width, depth = (length * plan.rng.uniform(0.3, 0.65) for length in zone.size)
    place = np.add(zone.low, zone.high) / 2 + plan.rng.normal(0, 0.15, 2)
    there = furniture.rug(plan.rng, width, depth).at(*place, turn=plan.rng.normal(0, 3))
    if plan.inside(*there.bounds(), zone):
        plan.thing.add(there)


def stand_lamp(plan: Plan, zone: Zone) -> None:
    """Place a lit floor lamp at a wall."""
    if plan.against(zone, furniture.floor_lamp):
        low, high = plan.taken[-1]
        x, y = (low + high)[:2] / 2
        plan.lamps.append(Lamp((float(x), float(y), float(high[2]) - 0.1), 0.07, 14.0, False))


def sitting(rng: np.random.Generator, style: Style) -> Thing:
    """A sofa with a coffee table in front of it."""
    thing = furniture.sofa(rng, style)
    low = furniture.coffee_table(rng, style)
    front = float(thing.bounds()[1][1] - low.bounds()[0][1])
    return thing.add(
        low.at(rng.normal(0, 0.15), front + rng.uniform(0.3, 0.5), turn=rng.normal(0, 4))
    )


def armchair(rng: np.random.Generator, style: Style) -> Thing:
    """A seat for one."""
    return furniture.sofa(rng, style, seats=1)


def living_room(plan: Plan, zone: Zone) -> None:
    """A sofa, a television, shelves, perhaps a dining table."""
    if chance(plan, 0.7):
        lay_rug(plan, zone)
    surely(plan, zone, one_of(plan, sitting, sitting, furniture.sofa), ends=0.2)
    if chance(plan, 0.75):
        plan.against(zone, storage.tv_unit, ends=0.2)
    for _ in some(plan, 2, 5):
        plan.against(zone, one_of(plan, storage.bookcase, storage.cabinet, storage.bookcase))
    if zone.size[0] * zone.size[1] > 16 and chance(plan, 0.6):
        plan.loose(zone, furniture.dining_set)
    for _ in some(plan, 1, 4):
        plan.against(zone, one_of(plan, armchair, furniture.big_plant, furniture.chair))
    if chance(plan, 0.5):
        stand_lamp(plan, zone)
    decorate(plan, zone, 1, 6)


def dining_room(plan: Plan, zone: Zone) -> None:
    """A table with chairs, sideboards."""
    if chance(plan, 0.35):
        lay_rug(plan, zone)
    plan.centred(zone, furniture.dining_set, 0.25)
    for _ in some(plan, 1, 4):
        plan.against(zone, one_of(plan, storage.cabinet, storage.bookcase, furniture.big_plant))
    if chance(plan, 0.4):
        stand_lamp(plan, zone)
    decorate(plan, zone, 1, 5)


def bedroom(plan: Plan, zone: Zone) -> None:
    """A bed, a wardrobe, perhaps a desk."""
    if chance(plan, 0.5):
        lay_rug(plan, zone)
    surely(plan, zone, furniture.bed, ends=0.3)
    surely(plan, zone, storage.wardrobe)
    for _ in some(plan, 2, 6):
        makers = (
            storage.cabinet,
            storage.bookcase,
            furniture.desk_set,
            furniture.chair,
            furniture.big_plant,
        )
        plan.against(zone, one_of(plan, *makers))
    if chance(plan, 0.3):
        stand_lamp(plan, zone)
    decorate(plan, zone, 0, 5)


def kitchen(plan: Plan, zone: Zone) -> None:
    """One or two rows of units, a refrigerator, a table if there is space."""
    if chance(plan, 0.25):
        lay_rug(plan, zone)
    rows = 0
    for share in (0.9, 0.75, 0.6, 0.5, 0.4):
        for side in plan.rng.permutation(4):
            width = min(share * zone.walls[side].length, 4.2)
            above = not any(opening.kind == 'window' for opening in zone.walls[side].openings)
            counter = functools.partial(fixtures.counter, width=width, above=above)
            if width > 0.9 and rows < 2:
                rows += plan.against(zone, counter, (int(side),), ends=0.8)
        if rows and chance(plan, 0.6):
            break
    surely(plan, zone, fixtures.fridge, ends=0.8)
    if chance(plan, 0.2):
        plan.against(zone, fixtures.washer)
    plan.loose(zone, one_of(plan, furniture.dining_set, furniture.dining_set, furniture.stool))
    for _ in some(plan, 0, 3):
        plan.against(
            zone,
            one_of(plan, storage.bookcase, storage.cabinet, furniture.stool, storage.box_stack),
        )
    decorate(plan, zone, 0, 4)


def office(plan: Plan, zone: Zone) -> None:
    """Desks with screens, cabinets, a whiteboard."""
    if chance(plan, 0.25):
        lay_rug(plan, zone)
    surely(plan, zone, furniture.desk_set)
    for _ in some(plan, 1, 3 + int(zone.size[0] * zone.size[1] / 5)):
        place = plan.against if chance(plan, 0.7) else plan.loose
        place(zone, furniture.desk_set)
    for _ in some(plan, 2, 7):
        makers = (
            storage.bookcase,
            storage.cabinet,
            storage.wardrobe,
            furniture.big_plant,
            storage.box_stack,
        )
        plan.against(zone, one_of(plan, *makers))
    if chance(plan, 0.6):
        plan.hang(zone, storage.board, 1.4, 1.6)
    if chance(plan, 0.4):
        plan.loose(zone, furniture.office_chair, 60.0)
    decorate(plan, zone, 0, 3)


def hall(plan: Plan, zone: Zone) -> None:
    """A large hall: tables, seats and shelves far from each other."""
    if chance(plan, 0.5):
        lay_rug(plan, zone)
    makers = (furniture.dining_set, sitting, furniture.desk_set, storage.rack, storage.slats)
    for _ in some(plan, 2, 7):
        plan.loose(zone, one_of(plan, *makers))
    walls = (storage.cabinet, storage.bookcase, furniture.sofa, furniture.big_plant, storage.rack)
    for _ in some(plan, 3, 9):
        plan.against(zone, one_of(plan, *walls, furniture.chair, storage.box_stack))
    decorate(plan, zone, 2, 7)


def corridor(plan: Plan, zone: Zone) -> None:
    """Coats, shoes, narrow furniture; doors are part of the shell."""
    if chance(plan, 0.4):
        lay_rug(plan, zone)
    for _ in some(plan, 1, 5):
        makers = (
            storage.coat_rack,
            storage.cabinet,
            furniture.big_plant,
            furniture.chair,
            storage.box_stack,
            storage.bookcase,
        )
        plan.against(zone, one_of(plan, *makers))
    decorate(plan, zone, 1, 6)


def bathroom(plan: Plan, zone: Zone) -> None:
    """Bath or shower, basin, toilet."""
    plan.against(zone, one_of(plan, fixtures.bathtub, fixtures.shower), ends=1.0)
    surely(plan, zone, fixtures.wash_stand, ends=0.4)
    surely(plan, zone, fixtures.toilet, ends=0.3)
    if chance(plan, 0.5):
        plan.against(zone, fixtures.washer, ends=0.8)
    if chance(plan, 0.4):
        plan.against(zone, storage.cabinet, ends=0.8)
    for _ in some(plan, 1, 3):
        plan.hang(zone, fixtures.towel, 1.0, 1.5)
    if chance(plan, 0.6):
        plan.loose(zone, lambda rng, _: furniture.rug(rng, 0.8, 0.5))


def workshop(plan: Plan, zone: Zone) -> None:
    """Benches, racks, boxes."""
    surely(plan, zone, storage.workbench, ends=0.3)
    for _ in some(plan, 0, 4):
        plan.against(zone, storage.workbench, ends=0.3)
    for _ in some(plan, 1, 5):
        plan.against(
            zone, one_of(plan, storage.rack, storage.rack, storage.cabinet, storage.wardrobe)
        )
    for _ in some(plan, 4, 10):
        makers = (storage.box_stack, storage.barrel, storage.ladder, furniture.stool)
        plan.against(zone, one_of(plan, *makers))
    if zone.size[0] * zone.size[1] > 18:
        plan.centred(zone, storage.workbench)


def store(plan: Plan, zone: Zone) -> None:
    """Racks and stacked boxes."""
    for _ in some(plan, 2, 6):
        plan.against(zone, storage.rack)
    for _ in some(plan, 2, 9):
        place = plan.against if chance(plan, 0.6) else plan.loose
        place(
            zone,
            one_of(plan, storage.box_stack, storage.box_stack, storage.barrel, furniture.chair),
        )


def classroom(plan: Plan, zone: Zone) -> None:
    """Rows of desks in front of a board, a teacher's desk."""
    plan.hang(zone, storage.board, 1.4, 1.6)
    pupils = int(plan.rng.integers(1, 3))
    for y in np.arange(zone.low[1] + 1.3, zone.high[1] - 1.6, plan.rng.uniform(1.25, 1.6)):
        for x in np.arange(
            zone.low[0] + 1.0, zone.high[0] - 0.8, 0.65 * pupils + plan.rng.uniform(0.3, 0.7)
        ):
            desk = furniture.school_desk(plan.rng, plan.style, pupils)
            plan.put(desk.at(x + plan.rng.normal(0, 0.03), y, turn=plan.rng.normal(0, 2)), zone)
    surely(plan, zone, furniture.desk_set)
    for _ in some(plan, 1, 5):
        plan.against(zone, one_of(plan, storage.cabinet, storage.bookcase, storage.wardrobe))
    decorate(plan, zone, 2, 6)


RECIPES: dict[str, Callable[[Plan, Zone], None]] = {
    'livingroom': living_room,
    'diningroom': dining_room,
    'bedroom': bedroom,
    'kitchen': kitchen,
    'office': office,
    'corridor': corridor,
    'hall': hall,
    'bathroom': bathroom,
    'workshop': workshop,
    'classroom': classroom,
    'storage': store,
}
KINDS = tuple(RECIPES)
