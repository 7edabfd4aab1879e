# SPDX-License-Identifier: Apache-2.0
"""Generate one furnished room with Infinigen Indoors and save it as `scene.blend`.

Usage, with the Python of the rooms environment (see README.md):

    python make_room.py --kind Bedroom --seed 21 --out rooms/Bedroom_21

This script sets the arguments of `infinigen_examples.generate_indoors`, so that kind and seed alone
determine a room. One asset, the pebbles in plant pots, needs a Blender add-on that the `bpy`
package lacks; a simple replacement is used.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import files

CONFIGS = ('fast_solve.gin', 'singleroom.gin')

# Gin overrides of the generator. No terrain: it takes minutes and is only visible through windows.
# No camera search: `render_room.py` places its own cameras. The lamps stay in the file, so that
# rendering can choose between day and night.
SETTINGS = (
    'compose_indoors.terrain_enabled=False',
    'compose_indoors.pose_cameras_enabled=False',
    'compose_indoors.lights_off_chance=0.0',
    'compose_indoors.solve_steps_large=60',
    'compose_indoors.solve_steps_medium=20',
    'compose_indoors.solve_steps_small=4',
)


def generator_arguments(kind: str, seed: int, out: Path) -> list[str]:
    """Return the command line of `generate_indoors` that makes this room in `out`."""
    room = f'restrict_solving.restrict_parent_rooms=["{kind}"]'
    return [
        'generate_indoors',
        '--seed',
        str(seed),
        '--task',
        'coarse',
        '--output_folder',
        str(out),
        '-g',
        *CONFIGS,
        '-p',
        *SETTINGS,
        room,
    ]


def enter_package_folder() -> None:
    """Enter the generator's folder, where it finds its configuration, and make it importable."""
    spec = find_spec('infinigen_examples')
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit('infinigen is not installed in this environment')
    package = Path(next(iter(spec.submodule_search_locations)))
    for name in ('configs_nature', 'configs_indoor'):
        (package / name / '__init__.py').touch()
    os.chdir(package.parent)


def replace_pebbles() -> None:
    """Replace pebbles by jittered, flattened icospheres, which need no add-on."""
    import bpy
    import numpy as np
    from infinigen.assets.objects.rocks import blender_rock
    from infinigen.core.tagging import tag_object

    def create_asset(self: object, **_: object) -> bpy.types.Object:
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=2, radius=1.0)
        pebble = bpy.context.active_object
        scale = np.array([1.0, 1.0, np.random.uniform(0.3, 0.8)])
        for vertex in pebble.data.vertices:
            vertex.co = np.array(vertex.co) * scale * np.random.uniform(0.88, 1.12)
        tag_object(pebble, 'blender_rock')
        return pebble

    blender_rock.BlenderRockFactory.create_asset = create_asset


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Generate one furnished room.')
    parser.add_argument('--kind', required=True, help='Bedroom, Kitchen, LivingRoom, ...')
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='folder for scene.blend')
    parser.add_argument('--cpu-seconds', type=int, help='limit of the processor time')
    return parser.parse_args(arguments)


def main() -> None:
    """Generate the room."""
    options = parse_arguments()
    files.need('infinigen', 'bpy')
    files.limit_cpu(options.cpu_seconds)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    enter_package_folder()
    replace_pebbles()
    sys.argv = generator_arguments(options.kind, options.seed, out)
    runpy.run_module('infinigen_examples.generate_indoors', run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
