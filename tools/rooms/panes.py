# SPDX-License-Identifier: Apache-2.0
"""Find the pixels of a view that see glass or another surface that lets rays through.

The renderer's depth there is randomly that of the pane or of what is behind it, so it is no ground
truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import bpy
    from mathutils import Vector

CLEAR = 0.3  # transmission above which a surface counts as glass
SEE_THROUGH = ('BSDF_GLASS', 'BSDF_REFRACTION', 'BSDF_TRANSPARENT')


def lets_through(material: bpy.types.Material | None) -> bool:
    """Tell whether camera rays may pass through a surface of this material."""
    if material is None or not material.use_nodes or material.node_tree is None:
        return False
    return any(map(is_clear, nodes_of(material.node_tree)))


def nodes_of(tree: bpy.types.NodeTree) -> list[bpy.types.Node]:
    """Return the nodes of a tree and of its groups with a linked output."""
    found = []
    for node in tree.nodes:
        if any(socket.is_linked for socket in node.outputs):
            found.append(node)
            if node.type == 'GROUP' and node.node_tree is not None:
                found += nodes_of(node.node_tree)
    return found


def is_clear(node: bpy.types.Node) -> bool:
    """Tell whether a node lets rays through."""
    if node.type == 'BSDF_PRINCIPLED':
        transmission, alpha = node.inputs['Transmission Weight'], node.inputs['Alpha']
        return (
            transmission.is_linked
            or transmission.default_value > CLEAR
            or alpha.is_linked
            or alpha.default_value < 1.0 - CLEAR
        )
    return node.type in SEE_THROUGH


class Panes:
    """Find panes by rays; cache the answers for objects and materials."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        self.scene = scene
        self.materials: dict[str, bool] = {}
        self.faces: dict[str, np.ndarray | bool] = {}

    def seen(self, origin: Vector, rays: np.ndarray) -> np.ndarray:
        """Return for rays (H, W, 3) whether the first surface lets them through."""
        import bpy
        from mathutils import Vector

        graph = bpy.context.evaluated_depsgraph_get()
        clear = np.zeros(rays.shape[:2], dtype=bool)
        for place in np.ndindex(clear.shape):
            hit, _, _, face, item, _ = self.scene.ray_cast(graph, origin, Vector(rays[place]))
            clear[place] = hit and self.is_clear(graph, item, face)
        return clear

    def is_clear(self, graph: bpy.types.Depsgraph, item: bpy.types.Object, face: int) -> bool:
        """Tell whether a face of an object lets rays through."""
        if item.name not in self.faces:
            self.faces[item.name] = self.clear_faces(item.evaluated_get(graph))
        faces = self.faces[item.name]
        if isinstance(faces, bool):
            return faces
        return bool(faces[face]) if face < len(faces) else bool(faces.all())

    def clear_faces(self, item: bpy.types.Object) -> np.ndarray | bool:
        """Return the answer for each face of a mesh, or one for all of them."""
        mesh = item.data if item.type == 'MESH' else None
        materials = list(mesh.materials) if mesh is not None else []
        clear = [self.of_material(material) for material in materials]
        if mesh is None or not any(clear) or all(clear):
            return bool(clear) and all(clear)
        indices = np.empty(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get('material_index', indices)
        return np.array(clear)[np.clip(indices, 0, len(clear) - 1)]

    def of_material(self, material: bpy.types.Material | None) -> bool:
        """Return `lets_through` of a material, computed once."""
        name = '' if material is None else material.name
        if name not in self.materials:
            self.materials[name] = lets_through(material)
        return self.materials[name]
