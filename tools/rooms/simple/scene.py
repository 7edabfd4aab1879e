# SPDX-License-Identifier: Apache-2.0
"""A planned room as a Blender scene: one mesh, its materials, daylight and lamps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import bpy
import numpy as np
import views
from stage import Room, orientation

from simple import cameras, materials, models, placing, textures
from simple.layout import Lamp, Plan
from simple.mesh import Part

if TYPE_CHECKING:
    from mathutils import Vector

WINDOW = 6.0  # radiance of a bright window; a room lit by its lamps reflects about 0.5
SUN = 25.0  # irradiance of direct sun
MIXED = 0.3  # share of lightings with lamps of different colours
DARK_ZONE = 0.25  # share of lightings in which the lamps of the back room are off
WARM, COLD = (1.0, 0.72, 0.42), (0.92, 0.97, 1.0)


class SimpleRoom(Room):
    """A planned room in an empty Blender scene in which rays can be cast."""

    draws = 400

    def __init__(self, plan: Plan, seed: int) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self.plan, self.seed = plan, seed
        self.materials = add_mesh(plan.thing.parts, seed)
        self.materials |= placing.add_models(plan.thing.models, seed, shader, add_image)

    def position(self, view: views.View) -> Vector:
        """Return the position of the camera; the floor is at 0."""
        from mathutils import Vector

        return Vector((view.x, view.y, view.height))

    def lets_light_through(self) -> bool:
        """Tell whether there is glass, or a texture with holes."""
        kinds = {item.model for item in self.plan.thing.models}
        return any(
            surface.glass or surface.cutout
            for model in kinds
            for surface in models.shape(model).surfaces
        )

    def draw(self, seed: int, index: int, attempt: int) -> views.View | None:
        """Return a random view, or None if this attempt gives none."""
        return cameras.draw_view(seed, index, attempt, self.plan)

    def accepts(self, view: views.View) -> bool:
        """Tell whether the view has free space around it and enough to see."""
        origin = self.position(view)
        around, _ = self.cast(origin, views.sphere_rays())
        if around.min() < views.CLEARANCE:
            return False
        rays = views.ray_grid(view.field_of_view) @ np.array(orientation(view)).T
        aim = cameras.aim_of(self.seed, view.index)
        return cameras.rejection(*self.cast(origin, rays), aim) is None


def add_mesh(parts: list[Part], seed: int) -> dict[str, bpy.types.Material]:
    """Add all parts as one mesh; return its materials by name."""
    names = sorted({part.material for part in parts})
    made = {name: materials.make(seed, name) for name in names}
    counts = [len(part.faces) for part in parts]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts)])
    mesh = bpy.data.meshes.new('room')
    mesh.vertices.add(int(starts[-1]))
    vertices = np.concatenate([part.vertices for part in parts])
    mesh.vertices.foreach_set('co', vertices.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set('vertex_index', faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set('loop_start', np.arange(0, faces.size, 4, dtype=np.int32))
    slots = np.repeat([names.index(part.material) for part in parts], counts)
    mesh.polygons.foreach_set('material_index', slots.astype(np.int32))
    mesh.polygons.foreach_set('use_smooth', np.repeat([part.smooth for part in parts], counts))
    uv = np.concatenate([part.uv / made[part.material].period for part in parts])
    mesh.uv_layers.new().data.foreach_set('uv', uv.astype(np.float32).ravel())
    shaders = {name: shader(made[name]) for name in names}
    for name in names:
        mesh.materials.append(shaders[name])
    mesh.update(calc_edges=True)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new('room', mesh))
    return shaders


def shader(material: materials.Material) -> bpy.types.Material:
    """Return the Blender material: one Principled shader, with an image if there is one."""
    made = bpy.data.materials.new(material.name)
    made.use_nodes = True
    tree = made.node_tree
    surface = tree.nodes['Principled BSDF']
    surface.inputs['Roughness'].default_value = material.roughness
    surface.inputs['Metallic'].default_value = material.metallic
    colour = (*linear(np.array(material.colour)), 1.0)
    surface.inputs['Base Color'].default_value = colour
    surface.inputs['Emission Color'].default_value = colour
    surface.inputs['Emission Strength'].default_value = material.emission
    made.cycles.emission_sampling = 'NONE'  # separate lamps light the room
    if material.texture is not None:
        image = tree.nodes.new('ShaderNodeTexImage')
        image.image = add_image(material.name, material.texture)
        tree.links.new(image.outputs['Color'], surface.inputs['Base Color'])
        tree.links.new(image.outputs['Color'], surface.inputs['Emission Color'])
        if material.bump > 1e-4:
            bump = tree.nodes.new('ShaderNodeBump')
            bump.inputs['Distance'].default_value = material.bump
            tree.links.new(image.outputs['Color'], bump.inputs['Height'])
            tree.links.new(bump.outputs['Normal'], surface.inputs['Normal'])
    return made


def linear(colour: np.ndarray) -> np.ndarray:
    """Return linear light for sRGB values from 0 to 1."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def add_image(name: str, pixels: np.ndarray, light: bool = False) -> bpy.types.Image:
    """Return a Blender image of (H, W, 3) values: sRGB from 0 to 1, or linear light."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=light)
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels
    image.pixels.foreach_set(rgba.ravel())
    return image


class Lighting:
    """Windows, sun and lamps of a planned room, changed from run to run of views."""

    def __init__(self, room: SimpleRoom, seed: int) -> None:
        self.seed, self.room = seed, room
        plan = room.plan
        rng = np.random.default_rng([seed, 5])
        self.windows = [window_light(*window) for window in plan.windows]
        self.sun = add_light('SUN', (0.0, 0.0, 9.0))
        self.lamps = [(lamp, lamp_light(lamp)) for lamp in plan.lamps]
        self.sky = add_world(rng)
        self.public = plan.kind in ('office', 'classroom', 'workshop', 'storage')
        self.state: tuple[str, int] | None = None

    def apply(self, lighting: str, index: int) -> None:
        """Set the light of a view; do nothing if it is unchanged."""
        state = (lighting, index // views.LIGHTING_RUN)
        if state == self.state:
            return
        self.state = state
        rng = np.random.default_rng([self.seed, state[1], 7])
        day = 0.0 if lighting == 'night' else 2.0 ** rng.uniform(-1.5, 1.0)
        self.sky.default_value = max(0.02, WINDOW * day)
        tint = np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.12, 0.12) * np.array([-1.0, 0.0, 1.0])
        for light, (_, _, width, height) in zip(self.windows, self.room.plan.windows):
            light.data.energy = WINDOW * day * math.pi * 1.3 * width * height
            light.data.color = tint
        self.shine_sun(rng, day)
        lit = lighting != 'daylight' or not self.windows
        self.switch_lamps(rng, lit, alone=lighting == 'night')

    def shine_sun(self, rng: np.random.Generator, day: float) -> None:
        """Make the sun shine through one of the windows, or hide it."""
        shines = bool(self.windows) and rng.random() < 0.5
        self.sun.data.energy = SUN * day * rng.uniform(0.3, 1.5) if shines else 0.0
        self.sun.data.angle = math.radians(rng.uniform(0.5, 4.0))
        self.sun.data.color = (1.0, rng.uniform(0.75, 0.98), rng.uniform(0.5, 0.9))
        if shines:
            turn = self.room.plan.windows[int(rng.integers(len(self.windows)))][1]
            aside = turn + rng.uniform(-55.0, 55.0)
            height = math.radians(rng.uniform(10.0, 55.0))
            self.sun.rotation_euler = (math.pi / 2 - height, 0.0, math.radians(aside))

    def switch_lamps(self, rng: np.random.Generator, lit: bool, alone: bool) -> None:
        """Switch lamps on or off; at night sometimes only one of them is on."""
        single = alone and len(self.lamps) > 1 and rng.random() < 0.4
        chosen = int(rng.integers(len(self.lamps)))
        mix = rng.uniform(0.5, 1.0) if self.public else rng.uniform(0.0, 0.8)
        mixed = rng.random() < MIXED
        dark_zone = rng.random() < DARK_ZONE and len(self.room.plan.zones) > 1
        for number, (lamp, light) in enumerate(self.lamps):
            on = lit and (number == chosen or not single)
            on = on and not (dark_zone and not self.room.plan.zones[0].contains(*lamp.place[:2]))
            light.data.energy = lamp.watts * rng.uniform(0.6, 1.4) * (3.0 if single else 1.0) * on
            own = rng.uniform(0.0, 1.0) if mixed else mix
            light.data.color = np.array(WARM) * (1 - own) + np.array(COLD) * own
        for name, made in self.room.materials.items():
            family = name.split(':')[0]
            if family in ('glow', 'shade'):
                strength = materials.FAMILIES[family].emission if lit else 0.0
                surface = made.node_tree.nodes['Principled BSDF']
                surface.inputs['Emission Strength'].default_value = strength


def add_light(kind: str, place: tuple[float, float, float]) -> bpy.types.Object:
    """Add a light that is invisible to the camera."""
    light = bpy.data.objects.new(kind, bpy.data.lights.new(kind, kind))
    light.location = place
    light.visible_camera = light.visible_glossy = False
    bpy.context.scene.collection.objects.link(light)
    return light


def window_light(
    centre: tuple[float, float, float], turn: float, width: float, height: float
) -> bpy.types.Object:
    """Add the daylight of a window, outside it and shining in."""
    light = add_light('AREA', centre)
    light.data.shape, light.data.size, light.data.size_y = 'RECTANGLE', 1.3 * width, height
    light.rotation_euler = (math.pi / 2, 0.0, math.radians(turn))
    return light


def lamp_light(lamp: Lamp) -> bpy.types.Object:
    """Add the light of a lamp: a disc that shines down, or a small ball."""
    if lamp.ceiling and lamp.radius > 0.2:
        light = add_light('AREA', lamp.place)
        light.data.shape, light.data.size = 'SQUARE', 2 * lamp.radius
        return light
    light = add_light('POINT', lamp.place)
    light.data.shadow_soft_size = lamp.radius
    return light


def add_world(rng: np.random.Generator) -> bpy.types.NodeSocket:
    """Add the view outside the windows; return the socket of its strength."""
    world = bpy.data.worlds.new('outside')
    bpy.context.scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    image = tree.nodes.new('ShaderNodeTexEnvironment')
    image.image = add_image('outside', textures.outside(rng), light=True)
    background = tree.nodes['Background']
    tree.links.new(image.outputs['Color'], background.inputs['Color'])
    world.cycles_visibility.diffuse = False  # the window lights do this with less noise
    return background.inputs['Strength']
