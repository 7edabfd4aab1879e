# SPDX-License-Identifier: Apache-2.0
"""Catalogue models in the Blender scene: one mesh for each model, one object for each placement."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import bpy
import cv2
import numpy as np
from mathutils import Matrix

from simple import materials, models, roles
from simple.catalogue import Model
from simple.mesh import Placed

GLASS = 1  # pass index of materials that light passes, where depth is unknown
SMOOTH = 35.0  # degrees between faces up to which a surface is shaded as round
SHADE = 'shade:0'  # family of materials that glow with the lamps
WORDS = {
    'wood': ('wood', 'madera', 'fusta', 'oak', 'pine', 'holz', 'bois', 'walnut'),
    'leather': ('leather', 'cuir', 'cuero', 'skai'),
    'fabric': ('fabric', 'cloth', 'tela', 'cushion', 'seat', 'pillow', 'coixi', 'sofa', 'mattress'),
}
RECOLOURED, RETOUCHED = 0.55, 0.5  # shares of plain and of textured surfaces
Shader = Callable[[materials.Material], bpy.types.Material]


def add_models(
    placed: list[Placed], seed: int, shader: Shader, add_image: Callable[..., bpy.types.Image]
) -> dict[str, bpy.types.Material]:
    """Add all models to the scene; return the materials that glow with the lamps, by name."""
    made: dict[str, bpy.types.Mesh] = {}
    glowing: dict[str, bpy.types.Material] = {}
    for item in placed:
        key = item.model.key
        if key not in made:
            paint = Paint(item.model, seed, shader, add_image)
            made[key] = add_shape(models.shape(item.model), paint, key)
            glowing |= paint.glowing
        thing = bpy.data.objects.new(key, made[key])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = item.matrix, item.offset
        thing.matrix_world = Matrix(matrix.tolist())
        bpy.context.scene.collection.objects.link(thing)
    return glowing


def add_shape(shape: models.Shape, paint: Paint, name: str) -> bpy.types.Mesh:
    """Return the Blender mesh of a shape, smooth but for its sharp edges."""
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(shape.vertices))
    mesh.vertices.foreach_set('co', shape.vertices.astype(np.float32).ravel())
    mesh.loops.add(shape.faces.size)
    mesh.loops.foreach_set('vertex_index', shape.faces.astype(np.int32).ravel())
    mesh.polygons.add(len(shape.faces))
    mesh.polygons.foreach_set('loop_start', np.arange(0, shape.faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set('material_index', shape.slots.astype(np.int32))
    mesh.polygons.foreach_set('use_smooth', np.ones(len(shape.faces), bool))
    mesh.uv_layers.new().data.foreach_set('uv', shape.uv.astype(np.float32).ravel())
    for number, surface in enumerate(shape.surfaces):
        chosen = shape.faces[shape.slots == number]
        mesh.materials.append(paint(surface, shape.vertices[np.unique(chosen)]))
    mesh.validate()
    mesh.update(calc_edges=True)
    mesh.set_sharp_from_angle(angle=np.radians(SMOOTH))
    return mesh


class Paint:
    """Makes the materials of a model, some of them in other colours: those of this room."""

    def __init__(
        self,
        model: Model,
        seed: int,
        shader: Shader,
        add_image: Callable[..., bpy.types.Image],
    ) -> None:
        self.model, self.seed = model, seed
        self.shader, self.add_image = shader, add_image
        self.rng = np.random.default_rng([seed, zlib.crc32(model.key.encode())])
        self.glowing: dict[str, bpy.types.Material] = {}
        self.loaded: dict[str, tuple[bpy.types.Image, bpy.types.Image | None]] = {}
        found = {role for role in roles.ROLES if model.stem in role_stems(role)}
        self.natural = bool(found.intersection(roles.NATURAL))
        self.soft = bool(found.intersection(roles.SOFT))

    def __call__(self, surface: models.Surface, points: np.ndarray) -> bpy.types.Material:
        """Return the Blender material of a surface with these vertices."""
        if self.shades_light(points):
            made = self.lamp_shade(surface)
        elif surface.glass:
            made = glass(surface)
        elif surface.texture:
            made = self.textured(surface)
        else:
            made = self.plain(surface)
        made.cycles.emission_sampling = 'NONE'
        return made

    def shades_light(self, points: np.ndarray) -> bool:
        """Tell whether a surface surrounds one of the lamp's light sources."""
        if not len(points):
            return False
        low, high = points.min(axis=0) - 0.01, points.max(axis=0) + 0.01
        wide = float((high - low)[:2].max()) > 0.07
        return wide and any(np.all((low < p) & (p < high)) for p in self.model.light_places())

    def lamp_shade(self, surface: models.Surface) -> bpy.types.Material:
        """Return a material that glows with the lamps."""
        colour = tuple(float(value) for value in np.clip(surface.colour, 0.35, 0.95))
        name = f'{SHADE}:{self.model.key}:{surface.name}'
        made = self.shader(materials.Material(name, colour, None, 1.0, 0.9, 0.0, 0.0, emission=1.5))
        self.glowing[name] = made
        return made

    def plain(self, surface: models.Surface) -> bpy.types.Material:
        """Return a uniform surface, sometimes with the wood or cloth of this room."""
        family = self.family(surface)
        dark_or_metal = surface.metallic > 0.5 or max(surface.colour) < 0.12
        if self.natural or dark_or_metal or self.rng.random() > RECOLOURED:
            return principled(surface, self.shader)
        if family is None:
            colour = materials.draw_colour(self.rng, materials.FAMILIES['lacquer'])
            mixed = surface.colour if self.rng.random() < 0.5 else colour
            return principled(surface, self.shader, tuple(map(float, mixed)))
        drawn = materials.make(self.seed, f'{family}:{self.rng.integers(3)}')
        return boxed(self.shader(drawn), drawn.period)

    def family(self, surface: models.Surface) -> str | None:
        """Return the family of materials that the name of a surface tells, or None."""
        for family, words in WORDS.items():
            if any(word in surface.name.lower() for word in words):
                return family
        return str(self.rng.choice(['fabric', 'fabric', 'leather'])) if self.soft else None

    def textured(self, surface: models.Surface) -> bpy.types.Material:
        """Return a surface with its texture, sometimes lighter, darker or of another hue."""
        made = principled(surface, self.shader)
        tree = made.node_tree
        target = tree.nodes['Principled BSDF']
        colours, holes = self.images(str(surface.texture))
        texture = tree.nodes.new('ShaderNodeTexImage')
        texture.image = colours
        tree.links.new(texture.outputs['Color'], target.inputs['Base Color'])
        if holes is not None:
            mask = tree.nodes.new('ShaderNodeTexImage')
            mask.image, mask.interpolation = holes, 'Closest'
            tree.links.new(mask.outputs['Color'], target.inputs['Alpha'])
        return made

    def images(self, texture: str) -> tuple[bpy.types.Image, bpy.types.Image | None]:
        """Return the colours of a texture file and, if it has any, its holes (0) and rest (1)."""
        if texture not in self.loaded:
            image = cv2.imread(texture, cv2.IMREAD_UNCHANGED)
            if image.ndim == 2:
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            pixels = image[::-1, :, 2::-1].astype(np.float32) / 255.0
            if not self.natural and self.rng.random() < RETOUCHED:
                pixels = retouched(self.rng, pixels)
            holes = None
            if image.shape[2] == 4:
                solid = (image[::-1, :, 3:] > 127).astype(np.float32)
                holes = self.add_image('holes', np.repeat(solid, 3, axis=2))
            self.loaded[texture] = (self.add_image('texture', pixels), holes)
        return self.loaded[texture]


def role_stems(role: str) -> set[str]:
    """Return the file names of a role without their archives."""
    return {stem.split('/')[-1] for stem in roles.stems(role)}


def retouched(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Return a texture (H, W, 3) of another hue, saturation and lightness."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.normal(0.0, 12.0)) % 360.0
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.3), 0.0, 1.0)
    hsv[..., 2] = np.clip(hsv[..., 2] ** rng.uniform(0.65, 1.5), 0.0, 1.0)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def principled(
    surface: models.Surface, shader: Shader, colour: tuple[float, ...] | None = None
) -> bpy.types.Material:
    """Return a Principled material of one colour."""
    colour = colour or surface.colour
    drawn = materials.Material(
        surface.name, colour, None, 1.0, surface.roughness, surface.metallic, 0.0, 0.0
    )
    made = shader(drawn)
    target = made.node_tree.nodes['Principled BSDF']
    target.inputs['Specular IOR Level'].default_value = surface.specular
    return made


def boxed(made: bpy.types.Material, period: float) -> bpy.types.Material:
    """Project the texture of a material from six sides, for meshes without coordinates."""
    tree = made.node_tree
    place = tree.nodes.new('ShaderNodeTexCoord')
    scale = tree.nodes.new('ShaderNodeMapping')
    scale.inputs['Scale'].default_value = (1.0 / period,) * 3
    tree.links.new(place.outputs['Object'], scale.inputs['Vector'])
    for node in tree.nodes:
        if node.type == 'TEX_IMAGE':
            node.projection, node.projection_blend = 'BOX', 0.2
            tree.links.new(scale.outputs['Vector'], node.inputs['Vector'])
    return made


def glass(surface: models.Surface) -> bpy.types.Material:
    """Return glass, marked so that its pixels get no depth."""
    made = bpy.data.materials.new(surface.name)
    made.use_nodes = True
    made.pass_index = GLASS
    target = made.node_tree.nodes['Principled BSDF']
    tint = tuple(0.75 + 0.25 * value for value in surface.colour)
    target.inputs['Base Color'].default_value = (*tint, 1.0)
    target.inputs['Transmission Weight'].default_value = 1.0
    target.inputs['Roughness'].default_value = 0.03
    target.inputs['IOR'].default_value = 1.15  # thin walls bend little
    let_light_through(made.node_tree)
    return made


def let_light_through(tree: bpy.types.NodeTree) -> None:
    """Make a material cast no shadow: caustics would be noise."""
    path, clear = tree.nodes.new('ShaderNodeLightPath'), tree.nodes.new('ShaderNodeBsdfTransparent')
    mix = tree.nodes.new('ShaderNodeMixShader')
    tree.links.new(path.outputs['Is Shadow Ray'], mix.inputs['Fac'])
    tree.links.new(tree.nodes['Principled BSDF'].outputs['BSDF'], mix.inputs[1])
    tree.links.new(clear.outputs['BSDF'], mix.inputs[2])
    tree.links.new(mix.outputs['Shader'], tree.nodes['Material Output'].inputs['Surface'])
