# SPDX-License-Identifier: Apache-2.0
"""A loaded Blender scene: the furnished room, ray casting in it, and its light."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import views

if TYPE_CHECKING:
    import bpy
    from mathutils import Matrix, Vector

LAMP_WATTS = 60.0  # of the ceiling lamp added to every room, since generated rooms may have none


class Room:
    """The furnished room of a loaded scene: position of its floor, and ray casting."""

    draws = 300  # poses to try before a view is skipped

    def __init__(self, kind: str) -> None:
        import bpy

        self.scene = bpy.context.scene
        self.floor_mesh = self.floor_object(kind)
        self.floor = floor_bounds(self.floor_mesh)

    @staticmethod
    def floor_object(kind: str) -> bpy.types.Object:
        """Return the floor of the furnished room of this kind: the one with most objects on it."""
        import bpy

        word = kind.lower().replace('room', '-room') if kind.endswith('Room') else kind.lower()
        meshes = [item for item in bpy.data.objects if item.type == 'MESH' and not item.hide_render]
        floors = [item for item in meshes if item.name.lower().endswith('.floor')]
        named = [item for item in floors if word in item.name.lower()]
        if not named:
            raise SystemExit(f'no {word} among {[item.name for item in floors]}')
        places = [item.matrix_world.translation for item in meshes]
        return max(named, key=lambda item: sum(map(floor_bounds(item).contains, places)))

    def above_floor(self, view: views.View) -> bool:
        """Tell whether the camera is above the floor of this room, not of another one."""
        from mathutils import Vector

        item = self.floor_mesh
        inverse = item.matrix_world.inverted()
        down = (inverse.to_3x3() @ Vector((0.0, 0.0, -1.0))).normalized()
        return item.ray_cast(inverse @ self.position(view), down)[0]

    def position(self, view: views.View) -> Vector:
        """Return the position of the camera as a vector."""
        from mathutils import Vector

        return Vector((view.x, view.y, self.floor.z + view.height))

    def cast(self, origin: Vector, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for rays (N, 3) the distance, infinite without a hit, and hits from behind."""
        import bpy
        from mathutils import Vector

        graph = bpy.context.evaluated_depsgraph_get()  # rendering invalidates older ones
        lengths, backs = np.full(len(rays), np.inf), np.zeros(len(rays), dtype=bool)
        for number, ray in enumerate(rays):
            hit, place, normal, *_ = self.scene.ray_cast(graph, origin, Vector(ray))
            if hit:
                lengths[number] = (place - origin).length
                backs[number] = normal.dot(Vector(ray)) > 0.0
        return lengths, backs

    def draw(self, seed: int, index: int, attempt: int) -> views.View | None:
        """Return a random view, or None if this attempt gives none."""
        return views.draw_view(seed, index, attempt, self.floor)

    def draw_accepted(self, seed: int, index: int, first: int) -> views.View | None:
        """Return the first acceptable view of this index from attempt `first` on."""
        for attempt in range(first, first + self.draws):
            view = self.draw(seed, index, attempt)
            if view is not None and self.accepts(view):
                return view
        return None

    def accepts(self, view: views.View) -> bool:
        """Tell whether the view is inside the room, with free space and enough to see."""
        if not self.above_floor(view):
            return False
        origin = self.position(view)
        around, _ = self.cast(origin, views.sphere_rays())
        if around.min() < views.CLEARANCE:
            return False
        rays = views.ray_grid(view.field_of_view) @ np.array(orientation(view)).T
        return views.rejection(*self.cast(origin, rays)) is None


def floor_bounds(mesh: bpy.types.Object) -> views.Floor:
    """Return the bounding box of a floor in the world."""
    from mathutils import Vector

    corners = np.array([mesh.matrix_world @ Vector(corner) for corner in mesh.bound_box])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return views.Floor((low[0], high[0]), (low[1], high[1]), float(high[2]))


def orientation(view: views.View) -> Matrix:
    """Return the rotation from camera to world."""
    from mathutils import Matrix, Vector

    aim = Vector(view.direction).to_track_quat('-Z', 'Y').to_matrix()
    return aim @ Matrix.Rotation(math.radians(view.roll), 3, 'Z')


class Lighting:
    """Sun, sky and lamps of a scene, switched between day and night."""

    def __init__(self, room: Room, seed: int) -> None:
        import bpy

        self.seed = seed
        self.lamps = [
            item
            for item in bpy.data.objects
            if item.type == 'LIGHT' and not item.data.cycles.is_portal
        ]
        self.lamps.append(self.ceiling_lamp(room))
        nodes = room.scene.world.node_tree.nodes
        world = next(node for node in nodes if node.type == 'OUTPUT_WORLD')
        self.sky = world.inputs['Surface'].links[0].from_node
        self.suns = [node for node in nodes if node.type == 'TEX_SKY']
        self.daylight = self.sky.inputs['Strength'].default_value
        self.state: tuple[str, int] | None = None

    @staticmethod
    def ceiling_lamp(room: Room) -> bpy.types.Object:
        """Hang a lamp at the centre of the ceiling, since generated rooms may have none."""
        import bpy

        floor = room.floor
        data = bpy.data.lights.new('ceiling', 'POINT')
        data.energy, data.shadow_soft_size = LAMP_WATTS, 0.1
        data.color = (1.0, 0.86, 0.7)
        lamp = bpy.data.objects.new('ceiling', data)
        lamp.location = (sum(floor.x) / 2, sum(floor.y) / 2, floor.z + 2.2)
        room.scene.collection.objects.link(lamp)
        return lamp

    def apply(self, lighting: str, index: int) -> None:
        """Set the light of a view; do nothing if it is unchanged."""
        state = (lighting, index // views.LIGHTING_RUN)
        if state == self.state:
            return
        self.state = state
        rng = np.random.default_rng([self.seed, state[1], 7])
        for lamp in self.lamps:
            lamp.hide_render = lighting == 'daylight'
        self.sky.inputs['Strength'].default_value = self.daylight * (
            0.002 if lighting == 'night' else 2.0 ** rng.uniform(-1.5, 1.5)
        )
        for sun in self.suns:
            sun.sun_elevation = math.radians(rng.uniform(5.0, 60.0))
            sun.sun_rotation = rng.uniform(0.0, 2 * math.pi)
