# SPDX-License-Identifier: Apache-2.0
"""The style of a room: a few materials shared by its furniture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simple.mesh import Part, box

if TYPE_CHECKING:
    from simple.shop import Shop


@dataclass(frozen=True)
class Style:
    """Names of materials (`materials.make`)."""

    wood: str
    body: str  # cabinets
    front: str  # their doors
    seat: str  # upholstery
    accent: str  # cushions, curtains
    metal: str
    shop: Shop | None = None  # models of the catalogue, if it is installed


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the style of a room."""
    body = pick(rng, ('wood:0', 'board:0', 'wood:1', 'white:0', 'lacquer:0'))
    return Style(
        wood='wood:0',
        body=body,
        front=body if rng.random() < 0.6 else pick(rng, ('lacquer:1', 'white:1', 'wood:2')),
        seat=pick(rng, ('fabric:0', 'fabric:0', 'leather:0')),
        accent=pick(rng, ('fabric:1', 'linen:1')),
        metal=pick(rng, ('metal:0', 'black:0', 'steel:0', 'white:2')),
    )


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Choose one."""
    return choices[int(rng.integers(len(choices)))]


def numbered(rng: np.random.Generator, family: str, count: int = 3) -> str:
    """Choose one of `count` materials of a family."""
    return f'{family}:{rng.integers(count)}'


def printed(
    rng: np.random.Generator, size: tuple[float, float, float], centre: tuple[float, float, float]
) -> Part:
    """Return a box with one of the covers of `textures.atlas` on each side."""
    part = box(size, centre, 'covers:0', fit=True)
    part.uv = (0.03 + 0.94 * part.uv + rng.integers(0, 8, 2)) / 8
    return part
