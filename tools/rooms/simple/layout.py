# SPDX-License-Identifier: Apache-2.0
"""The plan of a room: rectangular zones, their walls with openings, and the furniture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simple.mesh import Thing
from simple.style import Style

TRIES = 16  # positions to try before a piece of furniture is left out
GAP = 0.03  # metres between neighbours
Maker = Callable[[np.random.Generator, Style], Thing]
Box = tuple[np.ndarray, np.ndarray]  # lowest and highest corner (3,)


@dataclass(frozen=True)
class Opening:
    """A hole in a wall, metres along it and above the floor."""

    kind: str  # window, door, passage or open
    left: float
    right: float
    low: float
    high: float

    @property
    def middle(self) -> float:
        """Metres along the wall to its middle."""
        return (self.left + self.right) / 2

    @property
    def width(self) -> float:
        """Its width in metres."""
        return self.right - self.left


@dataclass
class Wall:
    """One side of a zone. x runs along it, and +y points into the zone."""

    corner: tuple[float, float]
    turn: float
    length: float
    thick: float
    extend: tuple[float, float]
    openings: list[Opening] = field(default_factory=list)

    def place(self, thing: Thing, along: float, out: float = 0.0, z: float = 0.0) -> Thing:
        """Return the thing at a position along the wall, `out` metres from it."""
        return thing.at(along, out, z).at(*self.corner, turn=self.turn)

    def free(self, left: float, right: float, margin: float = 0.05) -> bool:
        """Tell whether there is no opening between two positions."""
        return all(right < o.left - margin or left > o.right + margin for o in self.openings)


@dataclass
class Zone:
    """A rectangle of floor with south, east, north and west walls and the names of its surfaces."""

    low: tuple[float, float]
    high: tuple[float, float]
    kind: str
    number: int = 0
    walls: list[Wall] = field(default_factory=list)
    surface: str = 'wall:0'
    ground: str = 'boards:0'

    @property
    def size(self) -> tuple[float, float]:
        """Width (x) and depth (y)."""
        return self.high[0] - self.low[0], self.high[1] - self.low[1]

    def contains(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Tell whether a point is above this floor, at least `margin` from its edges."""
        inside = self.low[0] + margin < x < self.high[0] - margin
        return inside and self.low[1] + margin < y < self.high[1] - margin


@dataclass(frozen=True)
class Lamp:
    """A light source: position, radius in metres, and power in watts at full brightness."""

    place: tuple[float, float, float]
    radius: float
    watts: float
    ceiling: bool


@dataclass
class Plan:
    """A furnished room; `taken` are the occupied boxes."""

    rng: np.random.Generator
    style: Style
    kind: str
    height: float
    zones: list[Zone]
    thing: Thing = field(default_factory=Thing)
    taken: list[Box] = field(default_factory=list)
    windows: list[tuple[tuple[float, float, float], float, float, float]] = field(
        default_factory=list
    )
    lamps: list[Lamp] = field(default_factory=list)

    def free(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Tell whether a box does not intersect any occupied box."""
        return not any(
            bool(np.all(low < top - 1e-6) and np.all(high > bottom + 1e-6))
            for bottom, top in self.taken
        )

    def inside(self, low: np.ndarray, high: np.ndarray, zone: Zone) -> bool:
        """Tell whether a box is between floor, ceiling and walls of a zone."""
        flat = all(zone.low[k] - 0.02 <= low[k] and high[k] <= zone.high[k] + 0.02 for k in (0, 1))
        return flat and float(high[2]) < self.height

    def covered(self, zone: Zone) -> float:
        """Return the share of a zone's floor that is covered by things."""
        areas = [
            float(np.prod((high - low)[:2]))
            for low, high in self.taken
            if low[2] < 0.1 and high[2] < 1.9 and zone.contains(*((low + high) / 2)[:2])
        ]
        return sum(areas) / (zone.size[0] * zone.size[1])

    def put(self, thing: Thing, zone: Zone, gap: float = GAP) -> bool:
        """Add a thing at its position if there is space for it."""
        low, high = thing.bounds()
        margin = np.array([gap, gap, 0.0])
        if not self.inside(low, high, zone) or not self.free(low - margin, high + margin):
            return False
        self.thing.add(thing)
        self.taken.append((low, high))
        return True

    def against(
        self, zone: Zone, maker: Maker, sides: tuple[int, ...] = (0, 1, 2, 3), ends: float = 0.5
    ) -> bool:
        """Stand a thing with its back to a wall; with probability `ends` in a corner."""
        thing = maker(self.rng, self.style)
        low, high = thing.bounds()
        for _ in range(TRIES):
            wall = zone.walls[int(self.rng.choice(sides))]
            room = wall.length - float(high[0] - low[0]) - 0.04
            if room < 0:
                continue
            along = self.rng.uniform(0, room)
            if self.rng.random() < ends:
                along = float(self.rng.choice([0.0, room]))
            out = self.rng.uniform(0.015, 0.05)
            there = wall.place(thing, along + 0.02 - float(low[0]), out - float(low[1]))
            if self.put(there, zone):
                return True
        return False

    def loose(self, zone: Zone, maker: Maker, skew: float = 4.0) -> bool:
        """Stand a thing anywhere on the floor of a zone, nearly parallel to the walls."""
        thing = maker(self.rng, self.style)
        for _ in range(TRIES):
            turn = 90.0 * self.rng.integers(4) + self.rng.normal(0, skew)
            x, y = (self.rng.uniform(zone.low[k] + 0.1, zone.high[k] - 0.1) for k in (0, 1))
            if self.put(thing.at(x, y, 0.0, turn), zone):
                return True
        return False

    def centred(self, zone: Zone, maker: Maker, spread: float = 0.5) -> bool:
        """Stand a thing near the middle of a zone, along its longer side."""
        thing = maker(self.rng, self.style)
        for _ in range(TRIES):
            turn = 0.0 if zone.size[0] > zone.size[1] else 90.0
            place = np.add(zone.low, zone.high) / 2 + self.rng.normal(0, spread, 2)
            there = thing.at(*place, turn=turn + self.rng.normal(0, 3))
            if self.put(there, zone):
                return True
        return False

    def at_wall(self, zone: Zone, maker: Callable[..., Thing | None]) -> bool:
        """Hang a thing, made at its height above the floor with its back at y = 0, on a wall."""
        thing = maker(self.rng, self.style)
        if thing is None:
            return False
        height = float(thing.bounds()[0][2])
        return self.hang(zone, lambda _, __: thing.at(0, 0, -height), height, height)

    def hang(self, zone: Zone, maker: Maker, low: float, high: float) -> bool:
        """Hang a thing on a wall, its origin between two heights."""
        thing = maker(self.rng, self.style)
        left, right = (float(corner[0]) for corner in thing.bounds())
        for _ in range(TRIES):
            wall = zone.walls[int(self.rng.integers(4))]
            if wall.length < right - left + 0.1:
                continue
            along = self.rng.uniform(0.05 - left, wall.length - right - 0.05)
            if not wall.free(along + left, along + right):
                continue
            if self.put(wall.place(thing, along, 0.0, self.rng.uniform(low, high)), zone, 0.02):
                return True
        return False

    def reserve(self, thing: Thing) -> None:
        """Reserve the space of a thing without adding it."""
        self.taken.append(thing.bounds())
