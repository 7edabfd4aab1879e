# SPDX-License-Identifier: Apache-2.0
"""The `rooms` layout: rendered views with exact depth and per-view intrinsics.

`scene_N/rgb_00000.jpg`, `depth_00000.png` (uint16 millimetres, 0 = nothing hit) and
`cameras.csv` (index, fx, fy, cx, cy in pixels, ...).
"""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RoomView:
    """One view: `rgb` uint8 (H, W, 3), `depth` float32 (H, W) metres (0 = unknown), fx pixels."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    fx: float


def read_room(scene: Path) -> list[RoomView]:
    """All views of one scene folder.

    Raises:
        FileNotFoundError: the folder has no `cameras.csv`, or a file that it names is missing.
    """
    with (scene / 'cameras.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    return [_read_view(scene, int(row['index']), float(row['fx'])) for row in rows]


def _read_view(scene: Path, index: int, fx: float) -> RoomView:
    rgb = _read_image(scene / f'rgb_{index:05d}.jpg', cv2.IMREAD_COLOR)
    depth = _read_image(scene / f'depth_{index:05d}.png', cv2.IMREAD_UNCHANGED)
    return RoomView(np.ascontiguousarray(rgb[..., ::-1]), depth.astype(np.float32) / 1000, fx)


def _read_image(path: Path, flags: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise FileNotFoundError(f'{path} is missing or not an image')
    return image
