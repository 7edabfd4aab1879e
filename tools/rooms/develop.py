# SPDX-License-Identifier: Apache-2.0
"""Convert the light that Blender computes to the picture and depth image of a cheap camera."""

from __future__ import annotations

import numpy as np

GREY = 0.18  # average linear value of the picture at an exposure of 0 stops
METER = 0.7  # weight of the geometric mean, which bright windows hardly affect, against the mean
DARKEST = 2e-4  # average light below which a room counts as unlit
WHITE_BALANCE = 0.6  # share of the colour cast that the camera removes
MAX_DEPTH = 60.0  # metres


def develop(light: np.ndarray, exposure: float, warmth: float) -> np.ndarray:
    """Develop linear light (H, W, 3) in RGB to a uint8 picture, as automatic cameras do.

    Args:
        light: linear radiance from the renderer.
        exposure: error of the automatic exposure in stops.
        warmth: error of the automatic white balance in stops; positive is red.
    """
    light = np.nan_to_num(np.maximum(light, 0.0))
    light = light * white_balance(light, warmth)
    light = light * (GREY * 2.0**exposure / average_light(light))
    return np.round(255.0 * srgb(shoulder(light))).astype(np.uint8)


def average_light(light: np.ndarray) -> float:
    """Return the light as a meter measures it: between the geometric mean and the mean."""
    grey = light.mean(axis=-1)
    geometric = np.exp(np.mean(np.log(grey + 1e-4)))
    return float(max(geometric**METER * grey.mean() ** (1.0 - METER), 1e-6))


def white_balance(light: np.ndarray, warmth: float) -> np.ndarray:
    """Return the gains (3,): most of the cast of the scene removed, `warmth` added."""
    cast = np.minimum(light, np.quantile(light, 0.98)).mean(axis=(0, 1)) + 1e-6
    gains = (cast.mean() / cast) ** WHITE_BALANCE
    return gains * 2.0 ** np.array([warmth / 2, 0.0, -warmth / 2])


def shoulder(light: np.ndarray) -> np.ndarray:
    """Compress highlights (the ACES curve fitted by Krzysztof Narkowicz), range 0 to 1."""
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return np.clip(curve, 0.0, 1.0)


def srgb(light: np.ndarray) -> np.ndarray:
    """Apply the sRGB transfer curve to values from 0 to 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """Return z-depth in metres as uint16 millimetres, 0 where nothing was hit."""
    hit = np.isfinite(depth) & (depth > 0.05) & (depth < MAX_DEPTH)
    return np.where(hit, np.round(np.where(hit, depth, 0.0) * 1000.0), 0.0).astype(np.uint16)


def mask_panes(depth: np.ndarray, panes: np.ndarray) -> np.ndarray:
    """Remove depth in panes and one pixel around them, where samples mix at the edge.

    Args:
        depth: z-depth (H, W) in metres.
        panes: boolean (H, W), whether the pixel's centre sees a pane.
    """
    height, width = panes.shape
    padded = np.pad(panes, 1)
    grown = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.where(np.any(grown, axis=0), np.inf, depth)


def clear_panes(depth: np.ndarray, radius: int = 2) -> np.ndarray:
    """Remove the isolated points that half-transparent things leave in front of the sky.

    Panes themselves are masked before, see `mask_panes`.

    Args:
        depth: millimetres (H, W), 0 where nothing was hit.
        radius: of the square in pixels; if nothing is hit in most of it, its centre is cleared.
    """
    padded = np.pad(depth == 0, radius, mode='edge')
    size = 2 * radius + 1
    squares = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return np.where(squares.mean(axis=(2, 3)) > 0.5, 0, depth).astype(np.uint16)


def fault(light: np.ndarray, depth: np.ndarray) -> str | None:
    """Say why a rendered view is useless, or return None.

    Args:
        light: linear radiance (H, W, 3).
        depth: millimetres (H, W), 0 where nothing was hit.
    """
    if average_light(light) < DARKEST:
        return 'dark'
    if np.mean(depth == 0) > 0.2:
        return 'holes'
    return None
