# SPDX-License-Identifier: Apache-2.0
"""Models of the catalogue as furniture of a room: chosen by role, with things on top of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

import numpy as np

from simple import models, roles
from simple.catalogue import Catalogue, Model
from simple.mesh import Placed, Thing
from simple.style import Style

SHARE = 0.72  # of the furniture that comes from the catalogue, where it has some
LEVEL = 0.012  # metres of unevenness on which things still stand
SUNK = 0.06  # metres below the catalogue's height for things: lower is the bottom of a sink
SOFT = 0.25  # the same for beds, whose height is that of the pillows
P = ParamSpec('P')


class Shop:
    """Draws models for a room."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.by_role = {
            role: sorted(catalogue.named(roles.stems(role)), key=lambda model: model.key)
            for role in roles.ROLES
        }

    def draw(
        self, rng: np.random.Generator, role: str, most: Sequence[float] = (9.0, 9.0, 2.45)
    ) -> Model | None:
        """Return a model of a role that is no larger than `most`, or None."""
        fitting = [
            model
            for model in self.by_role[role]
            if all(size <= limit for size, limit in zip(model.size, most))
        ]
        return fitting[int(rng.integers(len(fitting)))] if fitting else None

    def take(
        self, rng: np.random.Generator, role: str, most: Sequence[float] = (9.0, 9.0, 2.45)
    ) -> Thing | None:
        """Return a model of a role as a thing, or None."""
        model = self.draw(rng, role, most)
        return None if model is None else stand(model)


def stand(model: Model) -> Thing:
    """Return a model that stands at the origin."""
    thing = Thing(models=[Placed(model, np.eye(3), np.zeros(3))])
    if model.top is not None and 0.3 < model.top < 1.2 and min(model.size[:2]) > 0.35:
        thing.tops.append((0.0, 0.0, model.top))
    return thing


Build = Callable[..., 'Thing | None']
Make = Callable[Concatenate[np.random.Generator, Style, P], Thing]


def from_catalogue(build: Build, share: float = SHARE) -> Callable[[Make[P]], Make[P]]:
    """Make a maker of furniture return what `build` makes of models instead, with a probability.

    Without a catalogue the maker draws the same random numbers as ever.
    """

    def decorate(maker: Make[P]) -> Make[P]:
        @functools.wraps(maker)
        def make(
            rng: np.random.Generator, style: Style, *args: P.args, **options: P.kwargs
        ) -> Thing:
            if style.shop is not None and rng.random() < share:
                thing = build(rng, style, *args, **options)
                if thing is not None:
                    return thing
            return maker(rng, style, *args, **options)

        return make

    return decorate


def one(*kinds: str) -> Build:
    """Return the maker of a single model of one of these roles."""

    def build(rng: np.random.Generator, style: Style) -> Thing | None:
        assert style.shop is not None
        return style.shop.take(rng, kinds[int(rng.integers(len(kinds)))])

    return build


def laden(role: str, cargo: Sequence[str], low: int, high: int) -> Build:
    """Return the maker of a model with `low` to `high` things on it."""

    def build(rng: np.random.Generator, style: Style) -> Thing | None:
        assert style.shop is not None
        model = style.shop.draw(rng, role)
        if model is None:
            return None
        return load(rng, style.shop, stand(model), cargo, int(rng.integers(low, high)))

    return build


def load(
    rng: np.random.Generator, shop: Shop, thing: Thing, cargo: Sequence[str], count: int
) -> Thing:
    """Put up to `count` things of the roles `cargo` where the first model of `thing` is level."""
    below = thing.models[0]
    taken = boxes(thing.models[1:])
    for _ in range(count):
        model = shop.draw(rng, cargo[int(rng.integers(len(cargo)))], (0.65, 0.5, 0.75))
        if model is None:
            continue
        item = stand(model).at(turn=facing(rng, model))
        item.tops.clear()
        place = level_place(rng, below.model, item, taken)
        if place is not None:
            there = item.at(*place)
            low, high = there.bounds()
            taken.append((low, high))
            thing.add(there.at(*below.offset))
    return thing


def boxes(placed: Sequence[Placed]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the lowest and highest corners of models."""
    return [(item.corners().min(axis=0), item.corners().max(axis=0)) for item in placed]


def facing(rng: np.random.Generator, model: Model) -> float:
    """Return how a thing on a table is turned: screens and pictures face the front."""
    spread = 20.0 if model.size[2] > 0.25 else 50.0
    return float(rng.normal(0.0, spread))


def level_place(
    rng: np.random.Generator,
    below: Model,
    item: Thing,
    taken: Sequence[tuple[np.ndarray, np.ndarray]],
    tries: int = 8,
) -> tuple[float, float, float] | None:
    """Return where a thing stands on a model without hanging over its edge, or None."""
    ground = models.shape(below)
    low, high = item.bounds()
    half = (high - low)[:2] / 2
    reach = np.array(below.size[:2]) / 2 - half - 0.01
    if below.top is None or np.any(reach <= 0):
        return None
    lowest = below.top - (SOFT if below.size[1] > 1.5 else SUNK)
    for _ in range(tries):
        x, y = rng.uniform(-reach, reach)
        cells = ground.cells(x - half[0], x + half[0], y - half[1], y + half[1])
        z = float(cells.max(initial=0.0))
        if z < lowest or z - float(cells.min(initial=z)) > LEVEL:
            continue
        corner = np.array([x, y, z])
        there = low + corner + [0, 0, 0.001], high + corner
        if all(np.any(there[0] >= b) or np.any(there[1] <= a) for a, b in taken):
            return x, y, z
    return None


def seat_of(model: Model) -> tuple[float, float] | None:
    """Return the y of the front of a chair's back, and the height of its seat; None without one."""
    ground = models.shape(model)
    rows = np.arange(-model.size[1] / 2 + 0.02, model.size[1] / 2 - 0.02, models.CELL)
    line = np.array([ground.cells(-0.04, 0.04, y, y + models.CELL).max(initial=0.0) for y in rows])
    seat = (line > 0.33) & (line < 0.58)
    for at in range(len(rows) - 12):  # a quarter of a metre of seat
        if seat[at : at + 12].all():
            return float(rows[at]), float(np.median(line[at : at + 12]))
    return None


def buttock(model: Model) -> float:
    """Return the height of the lower side of a sitting person's hips."""
    points = models.shape(model).vertices
    back = points[:, 1] < points[:, 1].min() + 0.3 * model.size[1]
    return float(points[back & (np.abs(points[:, 0]) < 0.2), 2].min(initial=model.size[2]))


def seat_person(rng: np.random.Generator, shop: Shop, chair: Placed, aside: float = 0.0) -> Thing:
    """Return a person who sits on a chair or a sofa; nobody if none of them fits."""
    seat = seat_of(chair.model)
    person = shop.draw(rng, 'sitting person')
    if seat is None or person is None:
        return Thing()
    rise = seat[1] - buttock(person) - 0.02
    if not -0.1 < rise < 0.06:
        return Thing()
    y = seat[0] + 0.02 + person.size[1] / 2
    there = Placed(person, np.eye(3), np.array([aside, y, rise]))
    return Thing(models=[there.moved(chair.matrix, chair.offset)])
