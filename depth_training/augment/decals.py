# SPDX-License-Identifier: Apache-2.0
"""A random step that lays flat things on surfaces in an image: mats, sheets, patches of paint.

The image changes and the depth does not, so a network learns that an edge of colour need not be an
edge of depth. The true depth determines where a patch is drawn: on one plane, in correct
perspective, and hidden by objects in front of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.geometry import back_project
from depth_training.data.sample import Sample

#: Pixels to each side over which a plane is measured.
_REACH = 8
#: A surface is planar if its points are nearer to the plane than this share of their distance.
_FLAT = 0.008
#: Size of the filter that keeps the shading of a surface and removes its texture, pixels.
_SHADING = (13, 13)


@dataclass(frozen=True)
class Decals:
    """Draw up to `most` rectangles or ellipses on random planes, painted or tinted.

    A sample with unknown focal length is returned unchanged.

    Attributes:
        most: largest number of patches per image; the number is drawn from 1 to this.
        low, high: limits of half a side in metres, drawn uniformly in the logarithm.
    """

    most: int = 3
    low: float = 0.12
    high: float = 1.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour the picture under the patches."""
        if sample.camera is None:
            return sample
        points = back_project(sample.depth, sample.camera)
        rgb = sample.rgb.copy()
        for _ in range(int(rng.integers(1, self.most + 1))):
            cover = self._cover(points, rng)
            if cover is not None:
                _lay(rgb, cover, rng)
        return replace(sample, rgb=rgb)

    def _cover(
        self, points: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.bool_] | None:
        """Choose a patch; return the mask of its pixels (H, W), or None if no plane was found."""
        rows, columns = points.shape[:2]
        # The maximum of two random numbers prefers low rows, which show most floors and tables.
        row = min(int(rng.random(2).max() * rows), rows - 1)
        column = int(rng.integers(columns))
        half = np.exp(rng.uniform(math.log(self.low), math.log(self.high), 2))
        turn, round_one = rng.uniform(0, math.pi), rng.random() < 0.25
        normal = _normal(points, row, column)
        if normal is None:
            return None
        here = points[row, column]
        across = np.cross(normal, [math.cos(turn), math.sin(turn), 0.35])
        across /= np.linalg.norm(across)
        axes = np.stack([across / half[0], np.cross(normal, across) / half[1], normal])
        place = np.abs(cv2.transform(points, np.column_stack([axes, -axes @ here])))
        u, v, above = np.moveaxis(place, 2, 0)
        inside = u * u + v * v < 1 if round_one else np.maximum(u, v) < 1
        return inside & (above < _FLAT * np.maximum(points[..., 2], here[2]))


def _normal(points: NDArray[np.float32], row: int, column: int) -> NDArray[np.float64] | None:
    """Return the unit normal at a pixel, or None if depth is unknown or not flat around it."""
    around = points[
        max(row - _REACH, 0) : row + _REACH + 1 : 2,
        max(column - _REACH, 0) : column + _REACH + 1 : 2,
    ].reshape(-1, 3)
    away = around.astype(np.float64) - points[row, column]
    if around[:, 2].min() <= 0:
        return None
    normal = np.linalg.svd(away, full_matrices=False)[2][2]
    bent = np.abs(away @ normal).max()
    return None if bent > _FLAT * points[row, column, 2] else normal


def _lay(rgb: NDArray[np.uint8], cover: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Recolour the covered pixels in place: a new colour in the same light, or a tint."""
    left, top, width, height = cv2.boundingRect(cover.astype(np.uint8))
    window = np.s_[top : top + height, left : left + width]
    before, share = rgb[window].astype(np.float32), cover[window].astype(np.float32)
    colour = np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
    if rng.random() < 0.4:
        after = before * (colour * np.float32(np.exp(rng.uniform(-0.9, 0.6))))
    else:
        after = _shaded(before, share, rng)[..., None] * colour
    soft = cv2.GaussianBlur(share, (3, 3), 0.6)[..., None]
    rgb[window] = np.clip(before + soft * (after - before), 0, 255)


def _shaded(
    rgb: NDArray[np.float32], share: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a slightly grainy grey in the light of the covered pixels, (H, W)."""
    grey = rgb.mean(axis=2)
    # Blur within the patch only: the surroundings have other colours.
    light, weight = (
        cv2.blur(cv2.blur(image, _SHADING), _SHADING) for image in (grey * share, share)
    )
    light /= np.maximum(weight, np.float32(1e-3))
    mean = max(float((light * share).sum() / share.sum()), 1.0)
    target = rng.uniform(0.12, 0.95) * max(float(np.percentile(grey[::4, ::4], 95)), 30.0)
    grain = np.float32(abs(rng.normal(0, 0.05))) * rng.standard_normal(grey.shape, np.float32)
    return light * (1 + grain) * np.float32(target / mean)
