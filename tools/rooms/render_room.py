# SPDX-License-Identifier: Apache-2.0
"""Render RGB-D views of a generated room with Blender Cycles on the CPU.

Usage, with the Python of the rooms environment (see README.md):

    python render_room.py --scene rooms/Bedroom_21/scene.blend --kind Bedroom --seed 21 \
        --out frames/scene_bedroom_21 --views 60

Writes rgb_00000.jpg, depth_00000.png (uint16 z-depth in millimetres, 0 where nothing was hit) and
cameras.csv. Existing views are not rendered again.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import develop
import files
import numpy as np
import panes
import views
from stage import Lighting, Room, orientation

if TYPE_CHECKING:
    import bpy

SAMPLES = 2
JPEG_QUALITY = 92
RENDERS = 4  # pictures to try before a view is skipped


class Renderer:
    """Cycles with one camera; returns linear light and z-depth as arrays."""

    def __init__(self, room: Room, threads: int) -> None:
        import bpy

        self.scene = room.scene
        self.holder = tempfile.TemporaryDirectory(prefix='rooms_')  # removed with the renderer
        self.folder = Path(self.holder.name)
        configure_cycles(self.scene, threads)
        configure_outputs(self.scene, self.folder)
        data = bpy.data.cameras.new('probe')
        data.sensor_fit, data.sensor_width, data.clip_start = 'HORIZONTAL', 36.0, 0.05
        self.camera = bpy.data.objects.new('probe', data)
        self.scene.collection.objects.link(self.camera)
        self.scene.camera = self.camera
        self.panes = (
            panes.Panes(self.scene) if any(map(panes.lets_through, bpy.data.materials)) else None
        )

    def render(self, view: views.View, room: Room) -> tuple[np.ndarray, np.ndarray]:
        """Return linear light (H, W, 3) in RGB and z-depth (H, W) in metres, infinite in panes."""
        import bpy

        self.camera.location = room.position(view)
        self.camera.rotation_euler = orientation(view).to_euler()
        self.camera.data.lens = 36.0 * view.focal / views.WIDTH
        self.scene.cycles.seed = view.index
        bpy.ops.render.render()
        light, depth = self.read('light')[..., :3], self.read('depth')[..., 0]
        if self.panes is not None:
            rays = views.pixel_rays(view.field_of_view) @ np.array(orientation(view)).T
            depth = develop.mask_panes(depth, self.panes.seen(room.position(view), rays))
        return light, depth

    def depth_image(self, metres: np.ndarray) -> np.ndarray:
        """Return millimetres, 0 where a pane is seen."""
        return develop.clear_panes(develop.to_millimetres(metres))

    def fault(self, light: np.ndarray, depth: np.ndarray) -> str | None:
        """Return why a picture cannot be used, or None."""
        return develop.fault(light, depth)

    def read(self, name: str) -> np.ndarray:
        """Return the pixels (H, W, channels) of an output file and remove it."""
        import bpy

        path = next(self.folder.glob(f'{name}*.exr'))
        image = bpy.data.images.load(str(path))
        pixels = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(pixels)
        pixels = pixels.reshape(image.size[1], image.size[0], image.channels)[::-1].copy()
        bpy.data.images.remove(image)
        path.unlink()
        return pixels


def configure_cycles(scene: bpy.types.Scene, threads: int) -> None:
    """Choose few samples, a denoiser and short light paths."""
    scene.render.engine = 'CYCLES'
    scene.render.threads_mode, scene.render.threads = 'FIXED', threads
    scene.render.resolution_x, scene.render.resolution_y = views.WIDTH, views.HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.use_persistent_data = True
    scene.render.use_motion_blur = False
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_adaptive_sampling = 'CPU', SAMPLES, False
    cycles.use_denoising, cycles.denoiser = True, 'OPENIMAGEDENOISE'
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 6, 4, 2
    cycles.transmission_bounces, cycles.volume_bounces = 3, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0


def configure_outputs(scene: bpy.types.Scene, folder: Path) -> None:
    """Make every rendering write light and depth as float files in `folder`."""
    scene.view_layers[0].use_pass_z = True
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers = tree.nodes.new('CompositorNodeRLayers')
    for socket, name in (('Image', 'light'), ('Depth', 'depth')):
        output = tree.nodes.new('CompositorNodeOutputFile')
        output.base_path, output.file_slots[0].path = str(folder), name
        output.format.file_format, output.format.color_depth = 'OPEN_EXR', '32'
        tree.links.new(layers.outputs[socket], output.inputs[0])


def save_view(out: Path, view: views.View, light: np.ndarray, depth: np.ndarray) -> None:
    """Develop the picture and write it with its depth image (millimetres)."""
    import cv2

    picture = develop.develop(light, view.exposure, view.warmth)[..., ::-1]
    jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    files.write_whole(out / files.depth_name(view.index), cv2.imencode('.png', depth)[1].tobytes())
    files.write_whole(out / files.rgb_name(view.index), jpeg.tobytes())


def render_view(
    room: Room, renderer: Renderer, lighting: Lighting, seed: int, index: int, out: Path
) -> list[str] | None:
    """Render one view; return its line of cameras.csv, or None if no good view was found."""
    first = 0
    for _ in range(RENDERS):
        view = room.draw_accepted(seed, index, first)
        if view is None:
            return None
        lighting.apply(view.lighting, index)
        light, metres = renderer.render(view, room)
        depth = renderer.depth_image(metres)
        fault = renderer.fault(light, depth)
        if fault is None:
            save_view(out, view, light, depth)
            return view.row()
        print(f'view {index}: {fault}', flush=True)
        first = view.attempt + 1
    return None


def render_missing(
    open_room: Callable[[], tuple[Room, Renderer, Lighting]], seed: int, out: Path, count: int
) -> None:
    """Render the missing views of a room; open the room only if there are any."""
    rows = files.read_cameras(out)
    missing = [index for index in range(count) if index not in rows]
    if not missing:
        return
    start = time.process_time()
    room, renderer, lighting = open_room()
    print(f'room: {time.process_time() - start:.1f} CPU-s', flush=True)
    for index in missing:
        start = time.process_time()
        row = render_view(room, renderer, lighting, seed, index, out)
        if row is not None:
            rows[index] = row
            files.write_cameras(out, views.COLUMNS, rows)
        print(f'view {index}: {time.process_time() - start:.1f} CPU-s', flush=True)


def open_room(scene: Path, kind: str, seed: int, threads: int) -> tuple[Room, Renderer, Lighting]:
    """Load a generated scene, ready to render."""
    import bpy

    bpy.ops.wm.open_mainfile(filepath=str(scene))
    room = Room(kind)
    lighting = Lighting(room, seed)
    return room, Renderer(room, threads), lighting


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Render RGB-D views of a generated room.')
    parser.add_argument('--scene', type=Path, required=True, help='scene.blend of make_room.py')
    parser.add_argument('--kind', required=True, help='kind of the furnished room')
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for the frames')
    parser.add_argument('--views', type=files.positive, default=60)
    parser.add_argument('--threads', type=files.positive, default=os.cpu_count() or 1)
    parser.add_argument('--cpu-seconds', type=int, help='limit of the processor time')
    return parser.parse_args(arguments)


def main() -> None:
    """Render the room and seal it with checksums."""
    options = parse_arguments()
    files.need('bpy')
    files.limit_cpu(options.cpu_seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    scene = functools.partial(open_room, options.scene, options.kind, options.seed, options.threads)
    render_missing(scene, options.seed, options.out, options.views)
    files.write_checksums(options.out)


if __name__ == '__main__':
    main()
