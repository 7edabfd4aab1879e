# SPDX-License-Identifier: Apache-2.0
"""Textures drawn with numpy from a random generator: arrays (size, size, 3), sRGB from 0 to 1.

All of them are tileable. Rows are v (up), columns u (along the grain).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIZE = 384
Colour = tuple[float, float, float]


def noise(
    rng: np.random.Generator, power: float = 1.5, stretch: float = 1.0, size: int = SIZE
) -> np.ndarray:
    """Return noise (size, size) of mean 0 and deviation 1; `stretch` draws it out along u."""
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency[None, : size // 2 + 1] * stretch)
    radius[0, 0] = np.inf
    phase = np.exp(2j * np.pi * rng.random(radius.shape))
    field = np.fft.irfft2(phase / radius**power, s=(size, size))
    return field / field.std()


def blend(low: np.ndarray | Colour, high: np.ndarray | Colour, share: np.ndarray) -> np.ndarray:
    """Mix two colours by a field from 0 to 1."""
    share = np.clip(share, 0.0, 1.0)[..., None]
    return np.asarray(low) * (1 - share) + np.asarray(high) * share


def coordinates() -> tuple[np.ndarray, np.ndarray]:
    """Return u and v from 0 to 1 at every pixel."""
    line = (np.arange(SIZE) + 0.5) / SIZE
    return np.meshgrid(line, line)


def plain(rng: np.random.Generator, base: Colour, contrast: float = 0.015) -> np.ndarray:
    """Paint: nearly uniform, with faint clouds and grain."""
    field = 0.7 * noise(rng, 1.6) + 0.4 * noise(rng, 0.3)
    return np.clip(np.asarray(base) * (1 + contrast * field[..., None]), 0, 1)


def wood(rng: np.random.Generator, base: Colour, contrast: float = 0.25) -> np.ndarray:
    """Wood with its grain along u."""
    _, v = coordinates()
    warp = noise(rng, 2.2, 6.0)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.integers(4, 10) * v + 0.35 * warp))
    fibre = 0.5 + 0.25 * noise(rng, 0.7, 24.0)
    dark = np.asarray(base) * (1 - contrast) ** 1.6
    return np.clip(blend(dark, np.asarray(base) * 1.06, 0.45 * rings + 0.55 * fibre), 0, 1)


def planks(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Floor boards, each with its own tint, and dark joints."""
    rows, columns = int(rng.integers(5, 10)), int(rng.integers(1, 4))
    grain = wood(rng, base, rng.uniform(0.15, 0.35))
    u, v = coordinates()
    row = (v * rows).astype(int)
    shifted = u * columns + (rng.random(rows)[row] if columns > 1 else 0.5 * (row % 2))
    column = np.floor(shifted).astype(int) % columns
    tint = 1 + rng.uniform(0.04, 0.14) * rng.standard_normal((rows, columns))[row, column]
    gap = (np.abs(v * rows % 1 - 0.5) > 0.485) | (np.abs(shifted % 1 - 0.5) > 0.497)
    moved = np.roll(grain, int(rng.integers(SIZE)), axis=1)
    picture = np.where((column % 2 == 0)[..., None], grain, moved) * tint[..., None]
    return np.clip(np.where(gap[..., None], picture * 0.45, picture), 0, 1)


def tiles(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Tiles with joints, in rows, in a running bond or as a chequerboard."""
    rows, columns = int(rng.choice([2, 4, 6])), int(rng.choice([2, 4]))
    u, v = coordinates()
    row = (v * rows).astype(int)
    shifted = u * columns + (0.5 * (row % 2) if rng.random() < 0.3 else 0.0)
    column = np.floor(shifted).astype(int) % columns
    tint = 1 + rng.uniform(0.0, 0.06) * rng.standard_normal((rows, columns))[row, column]
    if rng.random() < 0.2:
        tint = tint * np.where((row + column) % 2, 1.0, rng.uniform(0.25, 0.7))
    inside = marble(rng, base) if rng.random() < 0.4 else plain(rng, base, 0.03)
    width = rng.uniform(0.008, 0.025) * rows / 2
    gap = (np.abs(v * rows % 1 - 0.5) > 0.5 - width) | (
        np.abs(shifted % 1 - 0.5) > 0.5 - width * columns / rows
    )
    joint = np.full(3, rng.uniform(0.25, 0.85))
    return np.clip(np.where(gap[..., None], joint, inside * tint[..., None]), 0, 1)


def brick(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """A brick wall."""
    u, v = coordinates()
    row = (v * 12).astype(int)
    shifted = u * 4 + 0.5 * (row % 2)
    column = np.floor(shifted).astype(int) % 4
    tint = 1 + 0.13 * rng.standard_normal((12, 4))[row, column] + 0.08 * noise(rng, 0.8)
    gap = (np.abs(v * 12 % 1 - 0.5) > 0.42) | (np.abs(shifted % 1 - 0.5) > 0.475)
    joint = np.full(3, rng.uniform(0.5, 0.75)) * (1 + 0.05 * noise(rng, 0.6))[..., None]
    return np.clip(np.where(gap[..., None], joint, np.asarray(base) * tint[..., None]), 0, 1)


def marble(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Stone with veins, or speckled stone."""
    if rng.random() < 0.4:
        grains = noise(rng, 0.35) + 0.5 * noise(rng, 1.0)
        return np.clip(np.asarray(base) * (1 + 0.13 * grains[..., None]), 0, 1)
    vein = np.exp(-np.abs(noise(rng, 1.9)) * rng.uniform(6, 14))
    other = np.asarray(base) * rng.uniform(0.35, 0.8) + rng.uniform(0, 0.1)
    return np.clip(blend(base, other, 0.8 * vein + 0.1 * noise(rng, 1.7)), 0, 1)


def concrete(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Concrete, screed or linoleum."""
    field = 0.07 * noise(rng, 1.8) + 0.04 * noise(rng, 0.4)
    return np.clip(np.asarray(base) * (1 + field[..., None]), 0, 1)


def fabric(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Woven cloth, sometimes with stripes or checks of a second colour."""
    u, v = coordinates()
    weave = np.sin(2 * np.pi * 64 * u) * np.sin(2 * np.pi * 64 * v)
    field = 1 + 0.06 * weave + 0.05 * noise(rng, 0.5) + 0.04 * noise(rng, 1.7)
    picture = np.asarray(base) * field[..., None]
    other = muted(rng, ()) * field[..., None]
    choice, number = rng.random(), int(rng.integers(2, 9))
    if choice < 0.2:
        picture = np.where((np.sin(2 * np.pi * number * v) > 0.4)[..., None], other, picture)
    elif choice < 0.32:
        checks = (np.sin(2 * np.pi * number * v) > 0.5).astype(float)
        checks += np.sin(2 * np.pi * number * u) > 0.5
        picture = blend(picture, other, checks / 2.5)
    elif choice < 0.45:
        picture = np.where((motif(rng) > 0.9)[..., None], other, picture)
    return np.clip(picture, 0, 1)


def carpet(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Pile: strong fine grain, often streaked along u."""
    grain = 0.16 * noise(rng, 0.1) + 0.07 * noise(rng, 1.4)
    if rng.random() < 0.4:
        grain += rng.uniform(0.1, 0.3) * noise(rng, 0.5, 30.0)
    picture = np.asarray(base) * (1 + grain[..., None])
    if rng.random() < 0.3:
        other = muted(rng, ()) * (1 + grain[..., None])
        picture = np.where((motif(rng) > 0.7)[..., None], other, picture)
    return np.clip(picture, 0, 1)


def motif(rng: np.random.Generator) -> np.ndarray:
    """Return an ornament: few waves with mirror symmetry, deviation 1."""
    u, v = coordinates()
    field = np.zeros((SIZE, SIZE))
    for _ in range(5):
        a, b = rng.integers(0, 9, 2)
        field += rng.normal() * np.cos(2 * np.pi * a * u) * np.cos(2 * np.pi * b * v)
    return field / (field.std() + 1e-9)


def wallpaper(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Stripes or ornaments, tone on tone."""
    u, _ = coordinates()
    if rng.random() < 0.5:
        share = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.integers(3, 12) * u))
    else:
        share = 0.5 + 0.5 * np.tanh(3 * motif(rng))
    other = np.asarray(base) * rng.uniform(0.7, 1.1) + rng.uniform(-0.06, 0.06, 3)
    return np.clip(blend(base, other, share) * (1 + 0.02 * noise(rng, 0.4))[..., None], 0, 1)


def muted(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return colours (*shape, 3) of all lightnesses, only a few of them saturated."""
    colours = rng.uniform(0.05, 0.95, (*shape, 3))
    grey = colours.mean(axis=-1, keepdims=True)
    return grey + (colours - grey) * rng.uniform(0.2, 1.0, (*shape, 1))


def picture(rng: np.random.Generator, _: Colour = (0, 0, 0)) -> np.ndarray:
    """A painting, a photograph or a poster with large shapes."""
    colours = muted(rng, (4,))
    u, v = coordinates()
    if rng.random() < 0.5:  # a landscape
        canvas = blend(colours[0], colours[1], v + 0.05 * noise(rng, 1.8))
        for number in (2, 3):
            edge = rng.uniform(0.2, 0.6) + 0.08 * noise(rng, 2.0)[0]
            canvas = np.where((v < edge)[..., None], colours[number], canvas)
    else:
        canvas = blend(colours[0], colours[1], 0.5 + 0.4 * noise(rng, 2.0))
        for number in (2, 3):
            centre, reach = rng.random(2), rng.uniform(0.1, 0.3)
            disc = np.hypot(u - centre[0], v - centre[1]) < reach
            canvas = np.where(disc[..., None], colours[number], canvas)
    canvas = canvas * (1 + 0.1 * noise(rng, 1.0))[..., None]
    if rng.random() < 0.4:
        border = (np.abs(u - 0.5) > 0.4) | (np.abs(v - 0.5) > 0.4)
        canvas = np.where(border[..., None], 0.9, canvas)
    return np.clip(canvas, 0, 1)


def page(rng: np.random.Generator, paper: Colour) -> np.ndarray:
    """Paper or a screen with lines of text and a picture."""
    u, v = coordinates()
    canvas = np.ones((SIZE, SIZE, 3)) * paper
    ink = 0.1 if np.mean(paper) > 0.5 else 0.85
    lines = int(rng.integers(14, 34))
    row = (v * lines).astype(int)
    ends = rng.uniform(0.35, 0.93, lines)[row]
    words = noise(rng, 0.6, 6.0)[row * SIZE // lines, (u * SIZE).astype(int)] > -0.6
    text = (u > 0.08) & (u < ends) & (v * lines % 1 > 0.45) & words & (v > 0.06) & (v < 0.94)
    canvas[text] = ink
    left, low = rng.uniform(0.1, 0.5, 2)
    block = (u > left) & (u < left + 0.4) & (v > low) & (v < low + 0.3)
    canvas[block] = picture(rng)[block]
    return canvas


def atlas(rng: np.random.Generator, _: Colour = (0, 0, 0)) -> np.ndarray:
    """Eight times eight covers of books and packages, each with a title and a shape."""
    cells = muted(rng, (8, 8)) ** rng.uniform(0.7, 1.6)
    other = muted(rng, (8, 8))
    u, v = coordinates()
    i, j = (v * 8).astype(int), (u * 8).astype(int)
    x, y = u * 8 % 1, v * 8 % 1
    canvas = cells[i, j]
    low, high = rng.uniform(0.1, 0.5, (8, 8))[i, j], rng.uniform(0.55, 0.9, (8, 8))[i, j]
    band = (y > low) & (y < high) & (rng.random((8, 8)) < 0.6)[i, j]
    canvas = np.where(band[..., None], other[i, j], canvas)
    middle = rng.uniform(0.3, 0.7, (8, 8, 2))[i, j]
    disc = np.hypot(x - middle[..., 0], y - middle[..., 1]) < rng.uniform(0, 0.35, (8, 8))[i, j]
    canvas = np.where(disc[..., None], np.roll(other, 1, axis=0)[i, j], canvas)
    title = (np.abs(y - 0.75) < 0.07) & (np.abs(x - 0.5) < 0.35) & (noise(rng, 0.7, 5.0) > -0.3)
    return np.clip(np.where(title[..., None], 0.95, canvas), 0, 1)


def foliage(rng: np.random.Generator, base: Colour) -> np.ndarray:
    """Leaves: green with lighter veins along u."""
    _, v = coordinates()
    vein = np.exp(-((np.abs(v - 0.5) * 30) ** 2)) + 0.3 * (np.sin(40 * np.pi * v) > 0.8)
    light = np.asarray(base) * 1.4 + 0.05
    return np.clip(blend(base, light, 0.5 * vein + 0.1 * noise(rng, 1.0)), 0, 1)


def outside(rng: np.random.Generator, _: Colour = (0, 0, 0)) -> np.ndarray:
    """The world beyond the windows, (size, 2 size, 3), linear light: sky, trees, houses."""
    height, width = SIZE, 2 * SIZE
    v = np.linspace(-1, 1, height)[:, None] * np.ones(width)
    sky = blend((1.0, 0.98, 0.95), rng.choice([[0.3, 0.5, 0.9], [0.8, 0.85, 0.9]]), v * 1.5)
    clouds = np.tile(noise(rng, 1.8, 2.0), (1, 2))
    sky = sky * (1 + 0.15 * clouds)[..., None]
    skyline = 0.04 + 0.07 * np.tile(noise(rng, 1.3)[0], 2) + 0.04 * rng.standard_normal()
    blocks = np.repeat(rng.uniform(-0.1, 0.35, width // 32), 32)
    skyline = np.where(rng.random() < 0.5, skyline, blocks)
    green = rng.uniform(0.1, 0.5) * rng.uniform([0.6, 0.9, 0.4], [1.0, 1.1, 0.8])
    ground = green * (1 + 0.25 * np.tile(noise(rng, 0.7), (1, 2)))[..., None]
    return np.clip(np.where((v < skyline)[..., None], ground, sky), 0.0, 2.0)


DRAWN: dict[str, Callable[[np.random.Generator, Colour], np.ndarray]] = {
    'plain': plain,
    'wood': wood,
    'planks': planks,
    'tiles': tiles,
    'brick': brick,
    'marble': marble,
    'concrete': concrete,
    'fabric': fabric,
    'carpet': carpet,
    'wallpaper': wallpaper,
    'picture': picture,
    'page': page,
    'atlas': atlas,
    'foliage': foliage,
}
