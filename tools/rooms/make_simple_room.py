# SPDX-License-Identifier: Apache-2.0
"""Make a room of simple geometry and render RGB-D views of it, in about a second each.

Usage, with the Python of the rooms environment (see README.md; bpy and numpy are enough):

    python make_simple_room.py --kind office --seed 1003 --out frames/scene_office_1003 --views 20

The room is built in memory from its kind and seed. Files as of `render_room.py`; views that are
there already are not rendered again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import develop
import files
import numpy as np
import views
from render_room import Renderer, save_view
from simple import cameras, recipes

if TYPE_CHECKING:
    from simple.scene import Lighting, SimpleRoom
    from stage import Room

SAMPLES = 2
DRAWS = 200  # poses tried before a view is given up
RENDERS = 4  # pictures tried before a view is given up
DARKEST = 0.004  # average light below which the few samples leave blotches


class SimpleRenderer(Renderer):
    """Cycles with one more rendering for the depth, without filter: nothing mixes at edges."""

    def __init__(self, room: Room, threads: int) -> None:
        super().__init__(room, threads)
        cycles = self.scene.cycles
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 4, 3, 2
        cycles.transmission_bounces = cycles.transparent_max_bounces = 0
        cycles.denoising_prefilter, cycles.sample_clamp_indirect = 'FAST', 2.0
        cycles.pixel_filter_type = 'BLACKMAN_HARRIS'
        self.bounces = cycles.max_bounces

    @staticmethod
    @contextlib.contextmanager
    def silence() -> Iterator[None]:
        """Keep the renderer's own progress, a hundred lines a view, out of the log."""
        sys.stdout.flush()
        kept = os.dup(1)
        with open(os.devnull, 'w') as nowhere:
            os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    def render(self, view: views.View, room: Room) -> tuple[np.ndarray, np.ndarray]:
        """Return linear light (H, W, 3) in RGB and z-depth (H, W) in metres."""
        with self.silence():
            self.quality(SAMPLES, self.bounces, 1.5)
            light, _ = super().render(view, room)
            self.quality(1, 0, 0.01)
            _, depth = super().render(view, room)
        return light, depth

    def quality(self, samples: int, bounces: int, filter_width: float) -> None:
        """Choose between a picture and exact depth at the middles of the pixels."""
        cycles = self.scene.cycles
        cycles.samples, cycles.max_bounces = samples, bounces
        cycles.use_denoising = samples > 1
        cycles.filter_width = filter_width


def draw_accepted(room: SimpleRoom, seed: int, index: int, first: int) -> views.View | None:
    """Return the first acceptable view of this index from attempt `first` on."""
    for attempt in range(first, first + DRAWS):
        view = cameras.draw_view(seed, index, attempt, room.plan)
        if view is not None and room.accepts(view):
            return view
    return None


def render_view(
    room: SimpleRoom, renderer: Renderer, lighting: Lighting, seed: int, index: int, out: Path
) -> list[str] | None:
    """Render one view; return its line of cameras.csv, or None where no good view was found."""
    first = 0
    for _ in range(RENDERS):
        view = draw_accepted(room, seed, index, first)
        if view is None:
            return None
        lighting.apply(view.lighting, index)
        light, metres = renderer.render(view, room)
        depth = develop.to_millimetres(metres)
        fault = develop.fault(light, depth)
        if fault is None and develop.average_light(light) > DARKEST:
            save_view(out, view, light, depth)
            return view.row()
        print(f'view {index}: {fault or "dim"}', flush=True)
        first = view.attempt + 1
    return None


def make_room(kind: str, seed: int, out: Path, count: int, threads: int) -> None:
    """Build the room and render the views that are not there yet."""
    from simple.scene import Lighting, SimpleRoom

    rows = files.read_cameras(out)
    missing = [index for index in range(count) if index not in rows]
    if not missing:
        return
    start = time.process_time()
    room = SimpleRoom(recipes.furnish(kind, seed), seed)
    lighting, renderer = Lighting(room, seed), SimpleRenderer(room, threads)
    print(f'room: {time.process_time() - start:.1f} CPU-s', flush=True)
    for index in missing:
        start = time.process_time()
        row = render_view(room, renderer, lighting, seed, index, out)
        if row is not None:
            rows[index] = row
            files.write_cameras(out, views.COLUMNS, rows)
        print(f'view {index}: {time.process_time() - start:.1f} CPU-s', flush=True)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Make and render a room of simple geometry.')
    parser.add_argument('--kind', required=True, choices=recipes.KINDS)
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for the frames')
    parser.add_argument('--views', type=int, default=20)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--cpu-seconds', type=int, help='give up after so much processor time')
    return parser.parse_args(arguments)


def main() -> None:
    """Make the room and seal it with checksums."""
    options = parse_arguments()
    files.limit_cpu(options.cpu_seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    make_room(options.kind, options.seed, options.out, options.views, options.threads)
    files.write_checksums(options.out)


if __name__ == '__main__':
    main()
