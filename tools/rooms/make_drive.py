# SPDX-License-Identifier: Apache-2.0
"""Render a short drive of a robot through a room of simple geometry, with exact depth.

Usage, with the Python of the rooms environment (see README.md):

    python make_drive.py --kind office --seed 7014 --out drives/office_7014 --frames 12

Files as in `render_room.py`, with one view per frame: the camera keeps its height and pitch and
moves straight ahead towards an object, by `STEP` per frame. Kind, seed and arguments determine
everything.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import files
import numpy as np
import views
from make_simple_room import open_room
from render_room import Renderer, save_view
from simple import recipes

if TYPE_CHECKING:
    from simple.scene import Lighting, SimpleRoom

STEP = 0.11  # metres between two frames
HALF_WIDTH = 0.25  # metres of free floor to each side of the path
HEIGHTS = (0.06, 0.15, 0.35, 0.7, 1.2)  # heights at which the path must be free, metres
ABOVE = 1.5  # metres of free space above the floor, so that no robot starts under a bed
STOP = (0.45, 1.1)  # distance from the last frame to the object ahead, metres
TRIES = 3000


def draw_start(rng: np.random.Generator, room: SimpleRoom) -> tuple[float, float, float]:
    """Draw x, y and yaw (degrees) of a first frame."""
    zone = room.plan.zones[int(rng.integers(len(room.plan.zones)))]
    x, y = (rng.uniform(zone.low[k] + 0.3, zone.high[k] - 0.3) for k in (0, 1))
    return x, y, rng.uniform(0.0, 360.0)


def free_ahead(room: SimpleRoom, x: float, y: float, yaw: float) -> float:
    """Return the metres of free floor ahead of a robot, 0 if its position is occupied."""
    from mathutils import Vector

    ahead = np.array([math.cos(math.radians(yaw)), math.sin(math.radians(yaw)), 0.0])
    aside = np.array([-ahead[1], ahead[0], 0.0])
    overhead, _ = room.cast(Vector((x, y, 0.05)), np.array([[0.0, 0.0, 1.0]]))
    nearest = np.inf if overhead[0] > ABOVE else 0.0
    for height in HEIGHTS:
        middle = np.array([x, y, height])
        around, _ = room.cast(Vector(middle), np.stack([aside, -aside, -ahead]))
        if around.min() < HALF_WIDTH:
            return 0.0
        for side in np.linspace(-HALF_WIDTH, HALF_WIDTH, 7):
            lengths, _ = room.cast(Vector(middle + side * aside), ahead[None])
            nearest = min(nearest, float(lengths[0]))
    return nearest


def find_path(room: SimpleRoom, seed: int, length: float) -> tuple[float, float, float]:
    """Return x, y and yaw of the first frame of a path that ends in front of an object.

    Raises:
        SystemExit: there is no such path.
    """
    rng = np.random.default_rng([seed, 31])
    for _ in range(TRIES):
        x, y, yaw = draw_start(rng, room)
        if STOP[0] <= free_ahead(room, x, y, yaw) - length <= STOP[1]:
            return x, y, yaw
    raise SystemExit(f'no path of {length:.1f} m in this room')


def frame_view(
    index: int, start: tuple[float, float, float], options: argparse.Namespace, lighting: str
) -> views.View:
    """Return the view of one frame."""
    x, y, yaw = start
    away = STEP * index
    rng = np.random.default_rng([options.seed, 32])
    return views.View(
        index=index,
        attempt=0,
        x=x + away * math.cos(math.radians(yaw)),
        y=y + away * math.sin(math.radians(yaw)),
        height=options.height,
        yaw=yaw % 360.0,
        pitch=-options.down,
        roll=0.0,
        field_of_view=options.field_of_view,
        lighting=lighting,
        exposure=float(rng.normal(0.0, 0.3)),
        warmth=float(rng.normal(0.0, 0.15)),
    )


def choose_lighting(
    room: SimpleRoom,
    renderer: Renderer,
    lighting: Lighting,
    start: tuple[float, float, float],
    options: argparse.Namespace,
) -> str:
    """Return the first lighting with which the first frame is a usable picture.

    Raises:
        SystemExit: there is none.
    """
    for name in views.LIGHTINGS:
        lighting.apply(name, 0)
        fault = renderer.fault(*renderer.render(frame_view(0, start, options, name), room))
        if fault is None:
            return name
    raise SystemExit(f'no usable picture at the start: {fault}')


def render_drive(
    room: SimpleRoom, renderer: Renderer, lighting: Lighting, options: argparse.Namespace
) -> None:
    """Render the missing frames."""
    rows = files.read_cameras(options.out)
    start = find_path(room, options.seed, STEP * (options.frames - 1))
    name = choose_lighting(room, renderer, lighting, start, options)
    for index in range(options.frames):
        if index in rows:
            continue
        view = frame_view(index, start, options, name)
        light, metres = renderer.render(view, room)
        save_view(options.out, view, light, renderer.depth_image(metres))
        rows[index] = view.row()
        files.write_cameras(options.out, views.COLUMNS, rows)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Render a drive through a simple room.')
    parser.add_argument('--kind', required=True, choices=recipes.KINDS)
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for the frames')
    parser.add_argument('--frames', type=files.positive, default=12)
    parser.add_argument('--height', type=float, default=0.3, help='height of the camera, metres')
    parser.add_argument('--down', type=float, default=5.0, help='downward pitch in degrees')
    parser.add_argument('--field-of-view', type=float, default=70.0, help='horizontal, degrees')
    parser.add_argument('--threads', type=files.positive, default=1)
    return parser.parse_args(arguments)


def main() -> None:
    """Make the room, render the drive and seal it with checksums."""
    options = parse_arguments()
    files.need('bpy')
    options.out.mkdir(parents=True, exist_ok=True)
    room, renderer, lighting = open_room(options.kind, options.seed, options.threads)
    render_drive(room, renderer, lighting, options)
    files.write_checksums(options.out)


if __name__ == '__main__':
    main()
