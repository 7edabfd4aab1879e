# SPDX-License-Identifier: Apache-2.0
"""Rooms of simple geometry: meshes, textures, plans and cameras; exact depth where Blender is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from test.support.rooms_tool import TOOLS, load

mesh, textures, materials = load('simple.mesh'), load('simple.textures'), load('simple.materials')
furniture, storage, fixtures = (
    load(f'simple.{name}') for name in ('furniture', 'storage', 'fixtures')
)
style, layout, shell = load('simple.style'), load('simple.layout'), load('simple.shell')
recipes, cameras, views = load('simple.recipes'), load('simple.cameras'), load('views')
make_dataset, make_simple_room = load('make_dataset'), load('make_simple_room')
make_drive = load('make_drive')


def volume(*parts) -> float:
    """Return the volume that faces seen from outside enclose."""
    total = 0.0
    for part in parts:
        a, b, c, d = (part.vertices[part.faces[:, k]] for k in range(4))
        for p, q, r in ((a, b, c), (a, c, d)):
            total += np.einsum('ij,ij->i', p, np.cross(q, r)).sum() / 6
    return total


@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('degrees', [90.0, 33.0, -120.0])
def test_a_rotation_keeps_lengths_and_turns_the_right_way(axis, degrees):
    matrix = mesh.rotation(axis, degrees)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    first, second = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
    radians = np.radians(degrees)
    assert np.allclose(matrix @ first, np.cos(radians) * first + np.sin(radians) * second)


def test_boxes_and_turned_shapes_enclose_their_volume_and_face_outwards():
    assert np.isclose(volume(mesh.box((2, 3, 4), (5, 6, 7), 'a')), 24)
    soft = volume(mesh.box((2, 3, 4), (5, 6, 7), 'a', bevel=0.2, segments=3))
    assert 23 < soft < 23.9
    assert np.isclose(
        volume(*mesh.cylinder(0.5, 2, (0, 0, 1), 'a', 64).parts), np.pi / 2, rtol=0.01
    )
    assert np.isclose(volume(mesh.ellipsoid((2, 2, 2), (0, 0, 0), 'a')), 4 / 3 * np.pi, rtol=0.1)
    assert volume(mesh.tube([(0, 0, 0), (0, 0, 1), (0.2, 0, 2)], 0.1, 'a')) > 0


def test_a_bevelled_box_keeps_its_size():
    part = mesh.box((1, 2, 0.5), (0, 0, 1), 'a', bevel=0.05, segments=2)
    assert np.allclose(np.ptp(part.vertices, axis=0), (1, 2, 0.5))


def test_texture_coordinates_are_metres_or_fit_a_face():
    part = mesh.box((1.5, 0.2, 0.7), (0, 0, 0), 'a')
    assert np.isclose(np.ptp(part.uv[..., 0], axis=1).max(), 1.5)
    fitted = mesh.box((1.5, 0.2, 0.7), (0, 0, 0), 'a', fit=True).uv
    assert fitted.min() == 0 and fitted.max() == 1


@pytest.mark.parametrize('name', sorted(textures.DRAWN))
def test_a_texture_is_a_picture_without_seams_that_the_seed_decides(name):
    base = (0.6, 0.5, 0.4)
    draw = textures.DRAWN[name]
    image = draw(np.random.default_rng(3), base)
    assert image.shape == (textures.SIZE, textures.SIZE, 3)
    assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
    assert np.array_equal(image, draw(np.random.default_rng(3), base))


def test_noise_continues_over_its_edges():
    field = textures.noise(np.random.default_rng(0), 1.8)
    inside = np.abs(np.diff(field, axis=1)).mean()
    assert np.abs(field[:, 0] - field[:, -1]).mean() < 2 * inside


def test_a_material_depends_on_room_and_name_alone():
    one, again = materials.make(4, 'boards:0'), materials.make(4, 'boards:0')
    assert np.array_equal(one.texture, again.texture)
    assert (
        one.colour != materials.make(4, 'boards:1').colour != materials.make(5, 'boards:1').colour
    )


SIZES = {  # lowest and highest height, then the longest side, in metres
    'chair': (furniture.chair, 0.75, 1.1, 0.8),
    'shell_chair': (furniture.shell_chair, 0.7, 1.0, 0.8),
    'office_chair': (furniture.office_chair, 0.9, 1.45, 0.9),
    'sofa': (furniture.sofa, 0.7, 1.2, 2.8),
    'bed': (furniture.bed, 0.75, 1.3, 3.6),
    'desk': (furniture.desk_set, 0.9, 1.5, 2.3),
    'coffee table': (furniture.coffee_table, 0.36, 0.95, 1.3),
    'wardrobe': (storage.wardrobe, 1.8, 2.7, 2.3),
    'bookcase': (storage.bookcase, 0.74, 2.5, 1.6),
    'toilet': (fixtures.toilet, 0.7, 0.9, 0.9),
    'fridge': (fixtures.fridge, 0.85, 2.05, 0.85),
    'bathtub': (fixtures.bathtub, 0.5, 0.95, 1.8),
}


@pytest.mark.parametrize('name', sorted(SIZES))
def test_furniture_has_its_true_size_and_stands_on_the_floor(name):
    maker, lowest, highest, longest = SIZES[name]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        low, high = maker(rng, style.draw_style(rng)).bounds()
        assert lowest <= high[2] <= highest
        assert max(high[:2] - low[:2]) <= longest
        assert -0.03 < low[2] < 0.03


@pytest.fixture(scope='module')
def plans():
    return [recipes.furnish(kind, 50 + n) for n, kind in enumerate(recipes.KINDS)]


def test_the_driver_knows_the_kinds():
    assert set(make_dataset.KINDS['simple']) == set(recipes.KINDS)
    rooms = make_dataset.plan_rooms(list(recipes.KINDS), 1000, 1099)
    held_out = [room for room in rooms if room.split == 'validation']
    assert {room.kind for room in held_out} == set(recipes.KINDS)


def test_kind_and_seed_decide_the_room(plans):
    again = recipes.furnish(plans[2].kind, 52)
    assert len(again.thing.parts) == len(plans[2].thing.parts)
    assert all(
        np.array_equal(a.vertices, b.vertices) and a.material == b.material
        for a, b in zip(again.thing.parts, plans[2].thing.parts)
    )


def test_every_surface_is_sound_and_has_a_material(plans):
    for plan in plans:
        for part in plan.thing.parts:
            assert part.material.split(':')[0] in materials.FAMILIES
            assert np.isfinite(part.vertices).all() and np.isfinite(part.uv).all()
            assert part.faces.max() < len(part.vertices)
            assert part.uv.shape == (len(part.faces), 4, 2)


def test_nothing_leaves_the_building(plans):
    for plan in plans:
        low, high = plan.thing.bounds()
        lowest = np.min([zone.low for zone in plan.zones], axis=0) - 0.4
        highest = np.max([zone.high for zone in plan.zones], axis=0) + 0.4
        assert (low[:2] > lowest).all() and (high[:2] < highest).all()
        assert 2.2 < high[2] < 3.4


def test_furniture_keeps_apart_and_inside(plans):
    plan = plans[0]
    zone = plan.zones[0]
    chest = mesh.Thing([mesh.box((0.4, 0.4, 0.4), (0, 0, 0.2), 'wood:0')])
    plan.taken.clear()
    assert plan.put(chest.at(1.0, 1.0), zone)
    assert not plan.put(chest.at(1.3, 1.2), zone)
    assert plan.put(chest.at(1.0, 1.0, 0.41), zone)
    assert not plan.put(chest.at(zone.low[0] + 0.1, 2.0), zone)


def test_a_wall_is_solid_but_for_its_openings():
    holes = [layout.Opening('door', 1, 2, 0, 2), layout.Opening('window', 3, 4, 1, 2)]
    wall = layout.Wall((0, 0), 0, 5, 0.2, (0, 0), holes)
    assert np.isclose(volume(*shell.masonry(wall, 2.5, 'wall:0').parts), 0.2 * (5 * 2.5 - 2 - 1))


def test_views_stand_on_the_floor_at_all_heights(plans):
    plan = plans[0]
    drawn = [cameras.draw_view(5, index, 0, plan) for index in range(300)]
    drawn = [view for view in drawn if view is not None]
    assert len(drawn) > 150
    for view in drawn:
        assert any(zone.contains(view.x, view.y, 0.19) for zone in plan.zones)
        assert 0.08 <= view.height < plan.height - 0.2
        assert 55 <= view.field_of_view <= 90
    low = [view for view in drawn if view.height < 1.2]
    assert 0.25 < len(low) / len(drawn) < 0.85
    tilted = [view.pitch < -10 for view in low if view.height < 0.6]
    assert 0.2 < np.mean(tilted) < 0.6, 'robots look at the floor before them, too'
    assert cameras.draw_view(5, 7, 3, plan) == cameras.draw_view(5, 7, 3, plan)


def test_two_fifths_of_the_robots_are_lower_than_a_foot():
    heights = [cameras.robot_height(np.random.default_rng(seed)) for seed in range(300)]
    assert min(heights) >= 0.08 and max(heights) <= 1.2
    assert 0.32 < np.mean([height < 0.3 for height in heights]) < 0.58


def test_some_views_look_at_tables_and_some_stand_near():
    aims = [cameras.aim_of(5, index) for index in range(300)]
    assert 0.12 < np.mean([aim == 'table' for aim in aims]) < 0.32
    assert 0.15 < np.mean([aim == 'near' for aim in aims]) < 0.35


def test_near_views_face_what_they_are_near_to(plans):
    for plan in plans:
        plan.taken.append(
            (np.array([1.0, 1.0, 2.1]), np.array([1.5, 1.2, 2.3]))
        )  # under the ceiling
        seen = 0
        for seed in range(60):
            x, y, height, yaw, pitch, _ = cameras.in_front_of_something(
                np.random.default_rng(seed), plan
            )
            assert 0.08 <= height <= 1.6 and -60 <= pitch <= 25
            ahead = np.array([np.cos(np.radians(yaw)), np.sin(np.radians(yaw))])
            ends = np.array([x, y]) + np.linspace(0, 2, 40)[:, None] * ahead
            seen += any(
                np.any(np.all((ends > low[:2]) & (ends < high[:2]), axis=1))
                for low, high in plan.taken
            )
        plan.taken.pop()
        assert seen > 35


def test_every_aim_has_its_distances_and_a_view_of_one_surface_has_none():
    backs = np.zeros(8, bool)
    spread = np.array([0.5, 0.5, 0.6, 0.6, 0.7, 0.9, 1.5, 2.0])
    assert cameras.rejection(spread, backs, 'table') is None
    assert cameras.rejection(spread, backs, 'near') is None
    assert cameras.rejection(spread, backs, 'room') == 'distance'
    assert cameras.rejection(3 * spread, backs, 'near') == 'distance'
    assert cameras.rejection(3 * spread, backs, 'room') is None
    assert cameras.rejection(np.linspace(2.0, 2.9, 8), backs, 'room') == 'one surface'


def test_the_tool_can_be_asked_without_blender(tmp_path):
    options = make_simple_room.parse_arguments(
        ['--kind', 'office', '--seed', '3', '--out', str(tmp_path)]
    )
    assert options.views == 20


SCENE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, views
from simple import layout, mesh, recipes, scene
import make_simple_room
plan = recipes.draw_plan('office', 3)
plan.windows, plan.lamps = [], [layout.Lamp((0.0, 0.0, 2.0), 0.1, 100.0, True)]
box = mesh.box((1.0, 1.0, 1.0), (2.5, 0.0, 1.0), 'white:0')
plan.thing = mesh.Thing([box, mesh.box((0.1, 40.0, 40.0), (4.05, 0.0, 0.0), 'wall:0')])
room = scene.SimpleRoom(plan, 3)
lighting = scene.Lighting(room, 3)
lighting.apply('lamps', 0)
view = views.View(0, 0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 90.0, 'lamps', 0.0, 0.0)
light, depth = make_simple_room.SimpleRenderer(room, 1).render(view, room)
np.savez(sys.argv[2], light=light, depth=depth)
"""


def render(script: str, result: Path, seconds: float) -> None:
    """Run a script of Blender's Python that writes the result; skips the test without one."""
    python = os.environ.get('ROOMS_PYTHON')
    if not python:
        pytest.skip('ROOMS_PYTHON does not name a Python with bpy (tools/rooms/README.md)')
    subprocess.run([python, '-c', script, str(TOOLS), str(result)], check=True, timeout=seconds)


def test_depth_is_that_of_the_geometry_along_the_optical_axis(tmp_path):
    result = tmp_path / 'view.npz'
    render(SCENE, result, 120)
    stored = np.load(result)
    depth, light = stored['depth'], stored['light']
    near = np.zeros((240, 320), bool)
    near[80:160, 120:200] = True  # one metre wide at 2 m: 80 pixels with a focal length of 160
    assert np.allclose(depth[near], 2.0, atol=1e-4)
    assert np.allclose(depth[~near], 4.0, atol=1e-4)
    assert light.shape == (240, 320, 3) and light.mean() > 0.01


PANE = """
import sys
sys.path.insert(0, sys.argv[1])
import bpy, numpy as np, render_room, stage, views
from mathutils import Vector
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.world = bpy.data.worlds.new('world')
def add(name, x, size, shader):
    bpy.ops.mesh.primitive_plane_add(size=size, location=(x, 0, 1), rotation=(0, np.pi / 2, 0))
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    if shader:
        node = tree.nodes.new(shader)
        tree.links.new(node.outputs[0], tree.nodes['Material Output'].inputs['Surface'])
    bpy.context.object.data.materials.append(material)
add('wall', 4.0, 40.0, None)
add('pane', 2.0, 1.0, 'ShaderNodeBsdfTransparent')
room = stage.Room.__new__(stage.Room)
room.scene, room.floor = scene, views.Floor((0, 4), (0, 4), 0.0)
renderer = render_room.Renderer(room, 1)
view = views.View(0, 0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 90.0, 'lamps', 0.0, 0.0)
_, depth = renderer.render(view, room)
np.save(sys.argv[2], depth)
"""


def test_a_pane_has_no_depth_and_the_wall_around_it_has(tmp_path):
    result = tmp_path / 'depth.npy'
    render(PANE, result, 300)
    depth = np.load(result)
    pane = np.zeros((240, 320), bool)
    pane[79:161, 119:201] = True  # one metre wide at 2 m, and a pixel around it
    assert not np.isfinite(depth[pane]).any()
    assert np.allclose(depth[~pane], 4.0, atol=1e-3)


def test_a_drive_keeps_height_and_pitch_and_moves_ahead():
    options = make_drive.parse_arguments(
        ['--kind', 'office', '--seed', '7', '--out', 'drive', '--height', '0.4', '--down', '8']
    )
    first, last = (make_drive.frame_view(k, (1.0, 2.0, 90.0), options, 'night') for k in (0, 5))
    assert (first.height, first.pitch, first.lighting) == (0.4, -8.0, 'night')
    assert (last.exposure, last.warmth, last.yaw) == (first.exposure, first.warmth, 90.0)
    assert np.allclose((last.x - first.x, last.y - first.y), (0, 5 * make_drive.STEP), atol=1e-9)
