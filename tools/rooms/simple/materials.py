# SPDX-License-Identifier: Apache-2.0
"""Materials by name, `family:number`: seed and name determine the material."""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass

import numpy as np

from simple import textures

Range = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """Common properties of a family of materials.

    Attributes:
        drawings: names in `textures.DRAWN` to choose from, none for a uniform colour.
        hue, saturation, value: ranges of the base colour (HSV, sRGB).
        period: metres covered by one repetition of the texture, 1 for fitted faces.
        roughness: range; 0 is a mirror.
        bump: range of the relief height in metres of light texels.
    """

    drawings: tuple[str, ...] = ()
    hue: Range = (0.0, 1.0)
    saturation: Range = (0.0, 0.1)
    value: Range = (0.5, 0.9)
    period: Range = (1.0, 1.0)
    roughness: Range = (0.4, 0.7)
    metallic: float = 0.0
    bump: Range = (0.0, 0.0)
    emission: float = 0.0


@dataclass(frozen=True)
class Material:
    """A Principled surface: a colour or a texture (size, size, 3), both sRGB from 0 to 1."""

    name: str
    colour: textures.Colour
    texture: np.ndarray | None
    period: float
    roughness: float
    metallic: float
    bump: float
    emission: float


WARM = (0.04, 0.13)
FAMILIES = {
    'wall': Family(('plain',), (0, 1), (0.0, 0.12), (0.62, 0.97), (1.2, 2.0), (0.5, 0.9)),
    'colourwall': Family(('plain',), (0, 1), (0.08, 0.42), (0.3, 0.92), (1.2, 2.0), (0.5, 0.9)),
    'wallpaper': Family(('wallpaper',), (0, 1), (0.05, 0.3), (0.5, 0.9), (0.4, 1.0), (0.6, 0.9)),
    'brickwall': Family(
        ('brick',),
        (0.0, 0.08),
        (0.05, 0.6),
        (0.4, 0.9),
        (0.95, 1.0),
        (0.7, 0.9),
        bump=(0.003, 0.01),
    ),
    'walltiles': Family(
        ('tiles',), (0, 1), (0.0, 0.3), (0.6, 0.97), (0.3, 0.9), (0.05, 0.3), bump=(0.0, 0.002)
    ),
    'ceiling': Family(('plain',), (0, 1), (0.0, 0.03), (0.86, 0.97), (1.5, 2.0), (0.7, 0.9)),
    'paneling': Family(('tiles',), (0, 1), (0.0, 0.02), (0.8, 0.95), (1.2, 1.2), (0.8, 0.9)),
    'boards': Family(
        ('planks',), WARM, (0.1, 0.65), (0.25, 0.85), (1.0, 1.6), (0.15, 0.6), bump=(0, 0.0008)
    ),
    'floortiles': Family(
        ('tiles',), WARM, (0.0, 0.25), (0.3, 0.9), (0.6, 1.4), (0.08, 0.5), bump=(0, 0.001)
    ),
    'screed': Family(('concrete', 'marble'), WARM, (0, 0.2), (0.3, 0.8), (1, 2), (0.15, 0.6)),
    'carpeting': Family(
        ('carpet',), (0, 1), (0, 0.35), (0.15, 0.65), (0.7, 1.2), (0.9, 1.0), bump=(0.002, 0.005)
    ),
    'rug': Family(
        ('carpet', 'fabric'),
        (0, 1),
        (0.1, 0.6),
        (0.2, 0.9),
        (0.5, 1.5),
        (0.9, 1),
        bump=(0.002, 0.005),
    ),
    'plainrug': Family((), (0, 1), (0.0, 0.8), (0.05, 0.95), roughness=(0.8, 1.0)),
    'patternrug': Family(
        ('wallpaper', 'picture', 'tiles', 'planks', 'page'),
        (0, 1),
        (0.1, 0.8),
        (0.1, 0.95),
        (0.4, 1.8),
        (0.9, 1),
    ),
    'wood': Family(('wood',), WARM, (0.15, 0.7), (0.2, 0.85), (0.6, 1.1), (0.2, 0.6)),
    'board': Family(('plain',), (0, 1), (0.0, 0.08), (0.7, 0.97), (1, 1), (0.2, 0.5)),
    'lacquer': Family((), (0, 1), (0.3, 0.9), (0.2, 0.8), roughness=(0.1, 0.4)),
    'plastic': Family((), (0, 1), (0.0, 0.9), (0.1, 0.95), roughness=(0.2, 0.6)),
    'white': Family((), (0, 1), (0.0, 0.05), (0.85, 0.97), roughness=(0.2, 0.5)),
    'ceramic': Family((), (0, 1), (0.0, 0.03), (0.9, 0.97), roughness=(0.05, 0.15)),
    'black': Family((), (0, 1), (0.0, 0.2), (0.03, 0.2), roughness=(0.2, 0.6)),
    'glassy': Family((), (0, 1), (0.0, 0.1), (0.02, 0.08), roughness=(0.05, 0.12)),
    'metal': Family((), (0, 1), (0.0, 0.1), (0.5, 0.85), roughness=(0.15, 0.4), metallic=1.0),
    'steel': Family(('plain',), (0, 1), (0, 0.03), (0.6, 0.8), (0.5, 0.5), (0.25, 0.45), 1.0),
    'mirror': Family((), (0, 1), (0, 0), (0.9, 0.92), roughness=(0.0, 0.01), metallic=1.0),
    'fabric': Family(
        ('fabric',), (0, 1), (0.0, 0.7), (0.1, 0.9), (0.3, 0.6), (0.8, 1), bump=(0.001, 0.002)
    ),
    'linen': Family(
        ('fabric',), (0, 1), (0.0, 0.3), (0.6, 0.97), (0.5, 1), (0.8, 1), bump=(0, 0.001)
    ),
    'leather': Family(
        ('concrete',), (0.0, 0.1), (0.1, 0.7), (0.08, 0.6), (0.3, 0.5), (0.3, 0.5), bump=(0, 0.001)
    ),
    'stone': Family(('marble', 'concrete'), WARM, (0, 0.15), (0.1, 0.9), (0.6, 1.0), (0.05, 0.4)),
    'cardboard': Family(
        ('concrete',), (0.07, 0.1), (0.4, 0.6), (0.55, 0.75), (0.5, 0.5), (0.7, 0.9)
    ),
    'leaf': Family(('foliage',), (0.2, 0.38), (0.4, 0.8), (0.2, 0.55), (0.2, 0.2), (0.3, 0.6)),
    'soil': Family(('carpet',), WARM, (0.3, 0.5), (0.1, 0.25), (0.2, 0.2), (0.9, 1)),
    'clay': Family((), (0.02, 0.08), (0.3, 0.7), (0.4, 0.75), roughness=(0.5, 0.9)),
    'covers': Family(('atlas',), roughness=(0.3, 0.6)),
    'paper': Family(('page',), (0, 1), (0, 0.05), (0.9, 0.97), roughness=(0.5, 0.7)),
    'painting': Family(('picture',), roughness=(0.2, 0.7)),
    'screen': Family(('page', 'picture'), (0.55, 0.65), (0, 0.5), (0.1, 0.95), emission=1.2),
    'glow': Family((), (0.08, 0.14), (0.0, 0.25), (1.0, 1.0), emission=12.0),
    'shade': Family((), WARM, (0.05, 0.4), (0.8, 0.95), roughness=(0.8, 1.0), emission=1.5),
}


def draw_colour(rng: np.random.Generator, family: Family) -> textures.Colour:
    """Draw a colour; if any hue is allowed, beige, brown and blue are the most likely."""
    low, high = family.hue
    hue, choice = rng.uniform(low, high), rng.random()
    if high - low == 1.0 and choice < 0.75:
        hue = rng.normal(0.09, 0.035) if choice < 0.5 else rng.normal(0.58, 0.06)
    least, most = family.saturation
    saturation = least + (most - least) * rng.beta(1.0, 1.8)
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, rng.uniform(*family.value))


def make(seed: int, name: str) -> Material:
    """Return the material `family:number` of a room.

    Raises:
        KeyError: there is no such family.
    """
    family = FAMILIES[name.split(':')[0]]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    colour = draw_colour(rng, family)
    texture = None
    if family.drawings:
        texture = textures.DRAWN[str(rng.choice(family.drawings))](rng, colour)
    return Material(
        name,
        colour,
        texture,
        rng.uniform(*family.period),
        rng.uniform(*family.roughness),
        family.metallic,
        rng.uniform(*family.bump),
        family.emission,
    )
