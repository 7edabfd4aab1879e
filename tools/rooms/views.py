# SPDX-License-Identifier: Apache-2.0
"""Draw camera views of a room and decide which are worth rendering (no Blender).

A view is a function of (room seed, view index, attempt), so an interrupted rendering produces the
same pictures after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 320, 240
FIELD_OF_VIEW = (55.0, 90.0)  # degrees, horizontal
ROBOT_HEIGHT = (0.15, 1.2)  # metres above the floor
HAND_HEIGHT = (1.2, 1.75)
ROBOT_SHARE = 0.55
WALL_MARGIN = 0.2  # metres from the bounding box of the floor

LIGHTINGS = ('lamps', 'daylight', 'night')  # daylight with lamps, without lamps, lamps alone
LIGHTING_RUN = 5  # consecutive views under one lighting: changing it costs a scene update

NEAREST = 0.25  # metres: anything closer would be blurred in a real camera
CLEARANCE = 0.12  # metres of free space around the camera: the body of a robot or a hand
NEAREST_MEDIAN = 0.7  # metres: half of the picture is farther
FARTHEST = 20.0  # metres: a longer or missing hit counts as open sky
COLUMNS = (
    'index',
    'fx',
    'fy',
    'cx',
    'cy',
    'height_m',
    'pitch_deg',
    'roll_deg',
    'yaw_deg',
    'x_m',
    'y_m',
    'hfov_deg',
    'lighting',
    'exposure_ev',
    'warmth',
    'attempt',
)


@dataclass(frozen=True)
class Floor:
    """Axis-aligned bounds of the floor of a room in metres, and the height of its surface."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: float

    def contains(self, place: Sequence[float]) -> bool:
        """Tell whether a place is above or below this floor."""
        return self.x[0] < place[0] < self.x[1] and self.y[0] < place[1] < self.y[1]


@dataclass(frozen=True)
class View:
    """One camera pose with its optics, light and development. Angles in degrees."""

    index: int
    attempt: int
    x: float
    y: float
    height: float
    yaw: float
    pitch: float
    roll: float
    field_of_view: float
    lighting: str
    exposure: float  # stops above or below a mid-grey average
    warmth: float  # stops from blue to red

    @property
    def focal(self) -> float:
        """Focal length in pixels at `WIDTH`."""
        return WIDTH / 2 / math.tan(math.radians(self.field_of_view) / 2)

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector of the optical axis, z up."""
        yaw, pitch = math.radians(self.yaw), math.radians(self.pitch)
        flat = math.cos(pitch)
        return math.cos(yaw) * flat, math.sin(yaw) * flat, math.sin(pitch)

    def row(self) -> list[str]:
        """Return the line of `cameras.csv`, in the order of `COLUMNS`."""
        numbers = (
            self.focal,
            self.focal,
            WIDTH / 2,
            HEIGHT / 2,
            self.height,
            self.pitch,
            self.roll,
            self.yaw,
            self.x,
            self.y,
            self.field_of_view,
        )
        return [
            str(self.index),
            *(f'{number:.4f}' for number in numbers),
            self.lighting,
            f'{self.exposure:.3f}',
            f'{self.warmth:.3f}',
            str(self.attempt),
        ]


def lighting_of(index: int) -> str:
    """Return the lighting of a view: it changes every `LIGHTING_RUN` views."""
    return LIGHTINGS[index // LIGHTING_RUN % len(LIGHTINGS)]


def draw_view(seed: int, index: int, attempt: int, floor: Floor) -> View:
    """Draw the view of (seed, index, attempt) above `floor`."""
    rng = np.random.default_rng([seed, index, attempt])
    robot = rng.random() < ROBOT_SHARE
    height = rng.uniform(*(ROBOT_HEIGHT if robot else HAND_HEIGHT))
    return View(
        index=index,
        attempt=attempt,
        x=rng.uniform(floor.x[0] + WALL_MARGIN, floor.x[1] - WALL_MARGIN),
        y=rng.uniform(floor.y[0] + WALL_MARGIN, floor.y[1] - WALL_MARGIN),
        height=height,
        yaw=rng.uniform(0.0, 360.0),
        pitch=draw_pitch(rng, height),
        roll=rng.normal(0.0, 1.0 if robot else 4.0),
        field_of_view=rng.uniform(*FIELD_OF_VIEW),
        lighting=lighting_of(index),
        exposure=float(np.clip(rng.normal(0.0, 0.6), -1.8, 1.5)),
        warmth=float(np.clip(rng.normal(0.0, 0.25), -0.7, 0.7)),
    )


def draw_pitch(rng: np.random.Generator, height: float) -> float:
    """Draw the tilt: level at low heights, downwards at large ones (to look at tables)."""
    mean, spread = (1.0, 7.0) if height < 0.6 else (-8.0, 9.0) if height < 1.2 else (-17.0, 14.0)
    return float(np.clip(rng.normal(mean, spread), -60.0, 25.0))


def rejection(
    distances: ArrayLike,
    backs: ArrayLike,
    nearest_median: float = NEAREST_MEDIAN,
    nearest: float = NEAREST,
) -> str | None:
    """Return why a view is not worth rendering, or None for a good one.

    Args:
        distances: length in metres of rays spread over the picture, infinite without a hit.
        backs: for every ray, whether it hit a surface from behind.
        nearest_median: smallest allowed median distance in metres.
        nearest: smallest allowed distance in metres.
    """
    lengths = np.minimum(np.asarray(distances, dtype=float), FARTHEST + 1.0)
    if lengths.min() < nearest:
        return 'too close'
    if np.mean(lengths > FARTHEST) > 0.1:
        return 'open sky'
    if np.mean(np.asarray(backs, dtype=float)) > 0.3:
        return 'inside an object'
    if not nearest_median < np.median(lengths) < 8.0:
        return 'distance'
    if lengths.std() / lengths.mean() < 0.18:
        return 'flat'
    return None


def ray_grid(field_of_view: float, columns: int = 9, rows: int = 7) -> np.ndarray:
    """Return unit rays (rows * columns, 3) over a picture, camera axes x right, y up, -z ahead."""
    half = math.tan(math.radians(field_of_view) / 2)
    right, up = np.meshgrid(
        np.linspace(-0.96, 0.96, columns) * half,
        np.linspace(-0.96, 0.96, rows) * half * HEIGHT / WIDTH,
    )
    rays = np.stack([right.ravel(), up.ravel(), -np.ones(right.size)], axis=1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def pixel_rays(field_of_view: float) -> np.ndarray:
    """Return rays (HEIGHT, WIDTH, 3) through the pixel centres, with the axes of `ray_grid`."""
    half = math.tan(math.radians(field_of_view) / 2)
    right = (2 * np.arange(WIDTH) + 1 - WIDTH) / WIDTH * half
    up = (HEIGHT - 1 - 2 * np.arange(HEIGHT)) / WIDTH * half
    rays = np.stack(
        [*np.broadcast_arrays(right[None], up[:, None]), -np.ones((HEIGHT, WIDTH))], axis=-1
    )
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def sphere_rays() -> np.ndarray:
    """Return the 26 directions to the neighbours of a cube, as unit vectors."""
    steps = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    steps = steps[np.any(steps != 0.0, axis=1)]
    return steps / np.linalg.norm(steps, axis=1, keepdims=True)
