# SPDX-License-Identifier: Apache-2.0
"""Transform an RGB-D pair consistently: colour, depth and camera change together.

All are pure functions of a `Sample`. Depth is resampled by nearest neighbour only: the mean of
foreground and background would be a surface that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.sample import Sample

Value = TypeVar('Value', bound=np.generic)
Interpolation = Literal['smooth', 'nearest']


def flip(sample: Sample) -> Sample:
    """Mirror left and right; the optical axis moves from column cx to W - 1 - cx."""
    cx = None if sample.cx is None else sample.depth.shape[1] - 1 - sample.cx
    return replace(sample, rgb=cv2.flip(sample.rgb, 1), depth=cv2.flip(sample.depth, 1), cx=cx)


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """Keep rows top:top + height, columns left:left + width.

    Raises:
        ValueError: the crop exceeds the image.
    """
    rows, columns = sample.depth.shape
    if top < 0 or left < 0 or top + height > rows or left + width > columns:
        raise ValueError(
            f'{sample.id}: a crop of {width}x{height} at ({left}, {top}) does not '
            f'fit into {columns}x{rows}'
        )
    window = np.s_[top : top + height, left : left + width]
    return replace(
        sample,
        rgb=np.ascontiguousarray(sample.rgb[window]),
        depth=np.ascontiguousarray(sample.depth[window]),
        cx=None if sample.cx is None else sample.cx - left,
    )


def resize(sample: Sample, height: int, width: int, rgb: Interpolation = 'smooth') -> Sample:
    """Resize the view: depth is unchanged, fx and cx scale with the width."""
    old_height, old_width = sample.depth.shape
    if (height, width) == (old_height, old_width):
        return sample
    ratio = width / old_width
    return replace(
        sample,
        rgb=_resize_rgb(sample.rgb, height, width, rgb),
        depth=nearest(sample.depth, height, width),
        fx=None if sample.fx is None else sample.fx * ratio,
        cx=None if sample.cx is None else (sample.cx + 0.5) * ratio - 0.5,
    )


def fill(sample: Sample, height: int, width: int) -> Sample:
    """Resize the view after cropping the middle of its longer side to the same aspect ratio."""
    rows, columns = sample.depth.shape
    kept_rows = min(rows, max(1, round(columns * height / width)))
    kept_columns = min(columns, max(1, round(rows * width / height)))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return resize(crop(sample, top, left, kept_rows, kept_columns), height, width)


def zoom(sample: Sample, scale: float, rgb: Interpolation = 'smooth') -> Sample:
    """Make the scene `scale` times nearer: enlarge the image, divide depth (paper 003, Laina).

    The camera stays the same: at unchanged fx, a larger image shows the points at Z / scale.
    """
    height, width = (round(side * scale) for side in sample.depth.shape)
    larger = resize(sample, height, width, rgb)
    return replace(larger, depth=larger.depth / np.float32(scale), fx=sample.fx)


def canonical(sample: Sample, focal: float) -> Sample:
    """Set depth to depth x focal / fx, as a camera with that fx sees it; unchanged without fx."""
    if sample.fx is None:
        return sample
    return replace(sample, depth=sample.depth * np.float32(focal / sample.fx), fx=focal)


def rotate(sample: Sample, degrees: float, rgb: Interpolation = 'smooth') -> Sample:
    """Rotate counter-clockwise about the centre; new corners are black with unknown depth."""
    height, width = sample.depth.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    flags = cv2.INTER_LINEAR if rgb == 'smooth' else cv2.INTER_NEAREST
    size = (width, height)
    return replace(
        sample,
        rgb=cv2.warpAffine(sample.rgb, matrix, size, flags=flags),
        depth=cv2.warpAffine(sample.depth, matrix, size, flags=cv2.INTER_NEAREST),
    )


def mask_outside(sample: Sample, top: int, bottom: int, left: int, right: int) -> Sample:
    """Make depth outside rows top:bottom and columns left:right unknown."""
    depth = np.zeros_like(sample.depth)
    depth[top:bottom, left:right] = sample.depth[top:bottom, left:right]
    return replace(sample, depth=depth)


def without_extremes(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Set the smallest and largest values of depth to unknown (0)."""
    known = depth[depth > 0]
    if not known.size:
        return depth
    return np.where((depth == known.min()) | (depth == known.max()), np.float32(0), depth)


def cut_depth(sample: Sample, left: int, width: int, max_depth: float = 10.0) -> Sample:
    """CutDepth (Ishii & Yamashita 2021; paper 001): a stripe of the image shows depth as grey.

    The grey value is depth / max_depth * 255, saturated; unknown depth is black.
    """
    rgb = sample.rgb.copy()
    stripe = np.clip(sample.depth[:, left : left + width] / max_depth * 255, 0, 255)
    rgb[:, left : left + width] = np.round(stripe)[..., None]
    return replace(sample, rgb=rgb)


def gain(sample: Sample, factors: Sequence[float]) -> Sample:
    """Multiply red, green and blue by one factor each, saturated (paper 003)."""
    values = np.arange(256)[:, None] * np.asarray(factors)
    return replace(sample, rgb=_look_up(sample.rgb, values))


def brightness_contrast(sample: Sample, brightness: float, contrast: float) -> Sample:
    """Return (1 + contrast) * x + brightness * 255 (albumentations' RandomBrightnessContrast)."""
    values = np.arange(256) * (1 + contrast) + brightness * 255
    return replace(sample, rgb=_look_up(sample.rgb, values))


def gamma(sample: Sample, exponent: float) -> Sample:
    """Return 255 * (x / 255) ^ exponent."""
    return replace(sample, rgb=_look_up(sample.rgb, 255 * (np.arange(256) / 255) ** exponent))


def hue_saturation(sample: Sample, hue: float, saturation: float, value: float) -> Sample:
    """Shift hue (0..180), saturation and value (0..255) as in albumentations."""
    old = np.arange(256)
    # Round before the modulo: otherwise 179.6 would become 180, which equals hue 0.
    table = np.stack([np.round(old + hue) % 180, old + saturation, old + value], axis=-1)
    hsv = _look_up(cv2.cvtColor(sample.rgb, cv2.COLOR_RGB2HSV), table)
    return replace(sample, rgb=cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def permute_channels(sample: Sample, order: Sequence[int]) -> Sample:
    """Reorder the channels (paper 004)."""
    return replace(sample, rgb=np.ascontiguousarray(sample.rgb[..., list(order)]))


def nearest(image: NDArray[Value], height: int, width: int) -> NDArray[Value]:
    """Resize by taking the pixel nearest to each new pixel's centre."""
    rows = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[rows[:, None], columns]


def _resize_rgb(
    image: NDArray[np.uint8], height: int, width: int, how: Interpolation
) -> NDArray[np.uint8]:
    if how == 'nearest':
        return nearest(image, height, width)
    smaller = width < image.shape[1]
    # INTER_AREA averages when shrinking, but gives blocks when enlarging.
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )


def _look_up(rgb: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Look each value up in a table: (256,), or (256, 3) for one table per channel."""
    table = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return cv2.LUT(
        rgb, np.ascontiguousarray(np.broadcast_to(table.reshape(1, 256, -1), (1, 256, 3)))
    )
