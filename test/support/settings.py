# SPDX-License-Identifier: Apache-2.0
"""Several values of each depth setting, and a scene that each of them changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from depth_perception.depth.settings import DEFAULTS, OPTIONS, DepthSettings

#: Values of each setting besides its default.
VALUES: dict[str, tuple[Any, ...]] = {
    'min_depth': (0, 1.5),
    'max_depth': (2.0, 3),
    'depth_scale': (0.5, 2),
    'focal_correction': (False,),
    'edge_threshold': (0, 0.01, 0.3),
    'min_confidence': (0.3, 0.8),
    'temporal_smoothing': (0.4, 0.95),
    'point_stride': (1, 3, 16),
    'point_color': (False,),
    'scan_min_height': (-5, 0.05),
    'scan_max_height': (-0.1, 5),
    'camera_pitch': (-80, 7.5, 80),
    'camera_height': (0.3, 20),
    'floor_tolerance': (0, 0.2),
    'floor_model': (False,),
}
#: Other settings that a setting needs in order to have an effect.
NEEDED = {
    name: {'camera_height': 0.3, 'camera_pitch': 10.0}
    for name in ('floor_tolerance', 'floor_model')
}

#: The defaults, and settings with each of the values.
CASES: list[tuple[str, DepthSettings]] = [('defaults', DepthSettings())] + [
    (f'{name} {value}', DepthSettings(**NEEDED.get(name, {}), **{name: value}))
    for name, values in VALUES.items()
    for value in values
]


def base_of(settings: DepthSettings) -> DepthSettings:
    """Return the settings that differ from a case in one setting only."""
    changed = {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if value != DEFAULTS[name]
    }
    needed = next((NEEDED[name] for name in changed if name in NEEDED), {})
    return DepthSettings(**needed)


def options_of(settings: DepthSettings) -> list[str]:
    """Return the equivalent command-line options, without defaults."""
    words = []
    for name, value in dataclasses.asdict(settings).items():
        option = name.replace('_', '-')
        if value == DEFAULTS[name]:
            continue
        words += (
            [f'--{"" if value else "no-"}{option}']
            if isinstance(value, bool)
            else [f'--{option}={value}']
        )
    return words


def a_scene(height: int = 96, width: int = 128) -> np.ndarray:
    """Return depth (H, W) in metres: a slope, a box with a step, a lamp, too far, too near."""
    rows, columns = np.indices((height, width), np.float32)
    depth = 8 - 6.5 * rows / height + columns / width
    depth[height // 3 :, width // 4 : width // 2] = 1.2
    depth[height // 3 :, 3 * width // 8 : width // 2] *= 1.15
    depth[height // 4 : height // 3, 5 * width // 8 : 3 * width // 4] = 1.0
    depth[: height // 4, : width // 4] = 12
    depth[-height // 8 :, -width // 8 :] = 0.2
    return depth.astype(np.float32)


def a_confidence(height: int = 96, width: int = 128) -> np.ndarray:
    """Return confidence (H, W) that grows from left to right, from 0 to 1."""
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


assert VALUES.keys() == OPTIONS.keys(), 'give every setting some values'
