# SPDX-License-Identifier: Apache-2.0
"""Make a room of simple geometry and render RGB-D views of it, in about a second each.

Usage, with the Python of the rooms environment (see README.md; bpy and numpy are enough):

    python make_simple_room.py --kind office --seed 1003 --out frames/scene_office_1003 --views 20

The room is built in memory from its kind and seed. Files as in `render_room.py`; existing views are
not rendered again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import develop
import files
import numpy as np
import views
from render_room import Renderer, render_missing
from simple import catalogue, recipes
from simple.shop import Shop

if TYPE_CHECKING:
    import bpy
    from simple.scene import Lighting, SimpleRoom
    from stage import Room

SAMPLES = 2
DARKEST = 0.004  # average light below which the small number of samples leaves blotches


class SimpleRenderer(Renderer):
    """Cycles with a second, unfiltered rendering for depth, so that edges do not mix."""

    def __init__(self, room: Room, threads: int) -> None:
        super().__init__(room, threads)
        self.panes = None  # glass is found by its pass index instead
        self.has_glass = room.lets_light_through()  # longer paths cost time
        if self.has_glass:
            add_index_output(self.scene, self.folder)
        cycles = self.scene.cycles
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 4, 3, 2
        cycles.transmission_bounces = 3 if self.has_glass else 0
        cycles.transparent_max_bounces = 8 if self.has_glass else 0
        cycles.denoising_prefilter, cycles.sample_clamp_indirect = 'FAST', 2.0
        cycles.pixel_filter_type = 'BLACKMAN_HARRIS'
        self.bounces = cycles.max_bounces

    @staticmethod
    @contextlib.contextmanager
    def silence() -> Iterator[None]:
        """Keep the renderer's own progress, a hundred lines per view, out of the log."""
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
            if self.has_glass:
                self.read('material')  # of the picture
            self.quality(1, 0, 0.01)
            _, depth = super().render(view, room)
        if self.has_glass:
            depth = np.where(self.read('material')[..., 0] > 0.5, np.inf, depth)
        return light, depth

    def depth_image(self, metres: np.ndarray) -> np.ndarray:
        """Return millimetres, 0 in glass, which is masked exactly."""
        return develop.to_millimetres(metres)

    def fault(self, light: np.ndarray, depth: np.ndarray) -> str | None:
        """Return why a picture cannot be used, or None; a dim one has blotches."""
        dim = develop.average_light(light) <= DARKEST
        return super().fault(light, depth) or ('dim' if dim else None)

    def quality(self, samples: int, bounces: int, filter_width: float) -> None:
        """Choose between a picture and exact depth at the pixel centres."""
        cycles = self.scene.cycles
        cycles.samples, cycles.max_bounces = samples, bounces
        cycles.use_denoising = samples > 1
        cycles.filter_width = filter_width


def add_index_output(scene: bpy.types.Scene, folder: Path) -> None:
    """Make every rendering write the pass index of the material at each pixel."""
    scene.view_layers[0].use_pass_material_index = True
    tree = scene.node_tree
    layers = next(node for node in tree.nodes if node.type == 'R_LAYERS')
    output = tree.nodes.new('CompositorNodeOutputFile')
    output.base_path, output.file_slots[0].path = str(folder), 'material'
    output.format.file_format, output.format.color_depth = 'OPEN_EXR', '32'
    tree.links.new(layers.outputs['IndexMA'], output.inputs[0])


def open_room(
    kind: str, seed: int, threads: int, out: Path | None = None
) -> tuple[SimpleRoom, Renderer, Lighting]:
    """Build a room, ready to render; list the models in it in the folder `out`."""
    from simple.scene import Lighting, SimpleRoom

    models = catalogue.installed()
    shop = None if models is None else Shop(models)
    plan = recipes.furnish(kind, seed, shop)
    if out is not None and plan.thing.models:
        listed = catalogue.attribution(item.model for item in plan.thing.models)
        files.write_whole(out / files.MODELS, (json.dumps(listed, indent=1) + '\n').encode())
    room = SimpleRoom(plan, seed)
    lighting = Lighting(room, seed)
    return room, SimpleRenderer(room, threads), lighting


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Make and render a room of simple geometry.')
    parser.add_argument('--kind', required=True, choices=recipes.KINDS)
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for the frames')
    parser.add_argument('--views', type=files.positive, default=20)
    parser.add_argument('--threads', type=files.positive, default=1)
    parser.add_argument('--cpu-seconds', type=int, help='limit of the processor time')
    return parser.parse_args(arguments)


def main() -> None:
    """Make the room and seal it with checksums."""
    options = parse_arguments()
    files.need('bpy')
    files.limit_cpu(options.cpu_seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    room = functools.partial(open_room, options.kind, options.seed, options.threads, options.out)
    render_missing(room, options.seed, options.out, options.views)
    files.write_checksums(options.out)


if __name__ == '__main__':
    main()
