# SPDX-License-Identifier: Apache-2.0
"""Models of a furniture catalogue in rooms: sizes, fronts, materials, licences, places."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.support.rooms_tool import load
from test.tools.test_simple_rooms import render

catalogue, models, shop = load('simple.catalogue'), load('simple.models'), load('simple.shop')
sets, style, recipes = load('simple.sets'), load('simple.style'), load('simple.recipes')
make_dataset, files = load('make_dataset'), load('files')

# A chair of two boxes, in other units than the catalogue's, its back away from the viewer (z = 0).
CHAIR = """
mtllib {stem}.mtl
v 0 0 0\nv 4 0 0\nv 4 5 0\nv 0 5 0
v 0 0 4\nv 4 0 4\nv 4 5 4\nv 0 5 4
v 0 10 0\nv 4 10 0\nv 4 10 1\nv 0 10 1\nv 0 5 1\nv 4 5 1
vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1
usemtl oak
f 1/1 2/2 3/3 4/4\nf 5/1 6/2 7/3 8/4\nf 8/1 7/2 3/3 4/4\nf 1/1 2/2 6/3 5/4
usemtl clear glass
f 9 10 11 12\nf 4 3 10 9\nf -2 -1 11 12
"""
MATERIALS = """
newmtl oak
Kd 0.5 0.4 0.0
Ks 0.1 0.1 0.1
Ns 30
map_Kd wood.png
newmtl clear glass
Kd 1 1 1
d 0.3
"""
HEADER = 'name=Test\nlicense=Creative Commons Attribution 3.0 license\n'
ENTRY = """
id#{n}=Test#{stem}
name#{n}={name}
category#{n}=Living room
model#{n}=/test/{stem}/{stem}.obj
width#{n}={width}
depth#{n}={depth}
height#{n}={height}
{more}
movable#{n}=true
doorOrWindow#{n}=false
creator#{n}=Ada \\u00c9
"""


def write_archive(path: Path, header: str = HEADER) -> Path:
    """Write an archive with a chair, a table and a lamp, all of the same mesh."""
    lamp = 'lightSourceX#3=5\nlightSourceY#3=2.5\nlightSourceZ#3=40'
    top = 'dropOnTopElevation#2=38'
    entries = [
        ENTRY.format(n=1, stem='chair', name='Chair', width=50, depth=40, height=90, more=''),
        ENTRY.format(n=2, stem='table', name='Table', width=140, depth=80, height=75, more=top),
        ENTRY.format(n=3, stem='lamp', name='Lamp', width=20, depth=10, height=50, more=lamp),
    ]
    texture = cv2.imencode('.png', np.full((600, 40, 3), (0, 128, 255), np.uint8))[1].tobytes()
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(catalogue.PROPERTIES, header + ''.join(entries))
        for stem in ('chair', 'table', 'lamp'):
            archive.writestr(f'test/{stem}/{stem}.obj', CHAIR.format(stem=stem))
            archive.writestr(f'test/{stem}/{stem}.mtl', MATERIALS)
            archive.writestr(f'test/{stem}/wood.png', texture)
    return path


@pytest.fixture
def chairs(tmp_path, monkeypatch):
    monkeypatch.setenv('ROOMS_CACHE', str(tmp_path / 'cache'))
    return catalogue.load([write_archive(tmp_path / 'Test.sh3f')])


def test_an_entry_has_name_size_creator_and_licence(chairs):
    chair = chairs.models['Test#chair']
    assert (chair.name, chair.category, chair.stem) == ('Chair', 'Living room', 'chair')
    assert (chair.creator, chair.licence) == ('Ada É', 'CC-BY-3.0')
    assert np.allclose(chair.size, (0.5, 0.4, 0.9))
    assert chair.movable and not chair.opening and not chair.staircase
    assert len(chairs.checksums()['Test.sh3f']) == 64


def test_a_light_is_where_the_catalogue_says(chairs):
    (place,) = chairs.models['Test#lamp'].light_places()
    assert np.allclose(place, (0.05, -0.025, 0.4))  # to the right of who looks at its front


@pytest.mark.parametrize(
    ('header', 'reason'),
    [('name=Test\nlicense=All rights reserved\n', 'unknown licence'), ('', 'unknown licence')],
)
def test_models_of_an_unknown_licence_are_refused(tmp_path, header, reason):
    with pytest.raises(catalogue.CatalogueError, match=reason):
        catalogue.load([write_archive(tmp_path / 'Test.sh3f', header)])


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / 'broken.sh3f').write_bytes(b'PK no archive')
    with pytest.raises(catalogue.CatalogueError, match='broken'):
        catalogue.load([tmp_path / 'broken.sh3f'])


def test_without_the_package_a_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    catalogue.installed.cache_clear()
    monkeypatch.setenv(catalogue.VARIABLE, str(tmp_path))
    assert catalogue.installed() is None
    assert 'sudo apt-get install sweethome3d-furniture' in capsys.readouterr().err
    catalogue.installed.cache_clear()
    monkeypatch.setenv(catalogue.VARIABLE, '')
    assert catalogue.installed() is None and capsys.readouterr().err == ''
    catalogue.installed.cache_clear()


def test_a_model_has_its_true_size_and_faces_the_front(chairs):
    chair = models.shape(chairs.models['Test#chair'])
    low, high = chair.vertices.min(axis=0), chair.vertices.max(axis=0)
    assert np.allclose(low, (-0.25, -0.2, 0.0), atol=1e-6)
    assert np.allclose(high, (0.25, 0.2, 0.9), atol=1e-6)
    back = chair.vertices[chair.vertices[:, 2] > 0.8]
    assert (back[:, 1] < 0).all()
    a, b, c = (chair.vertices[chair.faces[:, k]] for k in range(3))
    upwards = np.cross(b - a, c - a)[:, 2] > 1e-6  # the mesh is turned, not mirrored
    assert upwards.any()


def test_materials_are_read_with_textures_and_glass(chairs):
    wood, glass = models.shape(chairs.models['Test#chair']).surfaces
    assert wood.name == 'oak' and not wood.glass and glass.glass
    assert cv2.imread(wood.texture).shape == (512, 34, 3)
    assert min(wood.colour) >= 0.15 and 0.2 < wood.roughness < 0.3


def test_the_cache_gives_the_same_shape(chairs, tmp_path):
    first = models.shape(chairs.models['Test#chair'])
    models.shape.cache_clear()
    (tmp_path / 'Test.sh3f').touch()
    again = models.shape(chairs.models['Test#chair'])
    assert np.array_equal(first.vertices, again.vertices) and first.surfaces == again.surfaces


def test_a_concave_polygon_is_cut_without_overlap():
    corners = [[0, 0, 0], [2, 0, 0], [2, 2, 0], [1, 0.5, 0], [0, 2, 0]]
    for order in (corners, corners[::-1]):
        triangles = models.triangulate(np.array(order, float))
        points = np.array(order, float)
        a, b, c = (points[[t[k] for t in triangles]] for k in range(3))
        areas = np.abs(np.cross(b - a, c - a)[:, 2]) / 2
        assert len(triangles) == 3 and np.isclose(areas.sum(), 2.5)


def test_of_two_faces_in_one_place_the_first_is_kept():
    text = 'v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 0\nusemtl a\nf 1 2 3 4\nusemtl b\nf 4 3 2 5\n'
    content = models.read_obj(text)
    assert content.slots.tolist() == [0, 0] and content.names == ['a', 'b']


def test_seat_and_back_of_a_chair_are_found(chairs):
    front, height = shop.seat_of(chairs.models['Test#chair'])
    assert -0.12 < front < -0.07 and np.isclose(height, 0.45, atol=0.01)


def test_things_stand_on_level_ground_and_apart(chairs):
    table, lamp = chairs.models['Test#table'], chairs.models['Test#lamp']
    assert table.top == 0.38
    store = shop.Shop(chairs)
    store.by_role['on tables'] = [lamp]
    thing = shop.load(np.random.default_rng(3), store, shop.stand(table), ('on tables',), 12)
    placed = shop.boxes(thing.models[1:])
    assert len(placed) > 3
    for number, (low, high) in enumerate(placed):
        assert np.isclose(low[2], 0.375) or np.isclose(low[2], 0.75)  # the seat or the back
        assert (np.abs([low[:2], high[:2]]) <= np.array([0.7, 0.4])).all()
        for other_low, other_high in placed[:number]:
            assert np.any(low >= other_high) or np.any(high <= other_low)


def test_nothing_stands_at_the_bottom_of_a_sink(chairs):
    sink = dataclasses.replace(chairs.models['Test#table'], top=0.5)
    lamp = shop.stand(chairs.models['Test#lamp'])
    places = [shop.level_place(np.random.default_rng(k), sink, lamp, []) for k in range(20)]
    assert {round(place[2], 2) for place in places if place is not None} == {0.75}


def test_a_maker_uses_the_catalogue_and_without_one_is_as_before(chairs):
    plain = style.draw_style(np.random.default_rng(0))
    stocked = style.Style(*list(vars(plain).values())[:6], shop.Shop(chairs))
    makers = load('simple.furniture')
    drawn = [makers.chair(np.random.default_rng(seed), stocked) for seed in range(40)]
    share = np.mean([bool(thing.models) for thing in drawn])
    assert 0.5 < share < 0.95
    first, again = (makers.chair(np.random.default_rng(1), plain) for _ in range(2))
    assert not first.models and np.array_equal(first.bounds(), again.bounds())


def test_rooms_with_models_are_determined_and_inside_the_walls(chairs):
    store = shop.Shop(chairs)
    plan, again = (recipes.furnish('office', 12, store) for _ in range(2))
    assert plan.thing.models and len(plan.thing.models) == len(again.thing.models)
    for one, two in zip(plan.thing.models, again.thing.models):
        assert one.model == two.model and np.array_equal(one.offset, two.offset)
    low, high = (
        np.array(plan.zones[0].low) - 0.5,
        np.max([z.high for z in plan.zones], axis=0) + 0.5,
    )
    for item in plan.thing.models:
        assert (item.corners()[:, :2] > low).all() and (item.corners()[:, :2] < high).all()


def test_the_manifest_names_every_creator_once(chairs, tmp_path):
    listed = catalogue.attribution([*chairs.models.values(), chairs.models['Test#chair']])
    assert [entry['model'] for entry in listed] == ['Test#chair', 'Test#lamp', 'Test#table']
    workshop = make_dataset.Workshop(tmp_path, Path('python'), prefix='simple')
    for folder in ('a', 'b'):
        (tmp_path / 'frames' / folder).mkdir(parents=True)
        (tmp_path / 'frames' / folder / files.MODELS).write_text(json.dumps(listed[:2]))
    entries = [{'folder': 'a'}, {'folder': 'b'}, {'folder': 'without'}]
    assert make_dataset.attribution(workshop, entries) == listed[:2]


def test_every_role_is_a_list_of_names():
    roles = load('simple.roles')
    for role, names in roles.ROLES.items():
        assert names.split(), role
    assert set(roles.NATURAL) | set(roles.SOFT) <= set(roles.ROLES)


SCENE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np, views
from simple import catalogue, layout, mesh, recipes, scene, shop
import make_simple_room
plan = recipes.draw_plan('office', 3)
plan.windows, plan.lamps = [], [layout.Lamp((0.0, 0.0, 2.0), 0.1, 100.0, True)]
found = catalogue.load([Path(sys.argv[2]).parent / 'Test.sh3f'])
wall = mesh.box((0.1, 40.0, 40.0), (4.05, 0.0, 0.0), 'wall:0')
chair = shop.stand(found.models['Test#chair']).at(2.0, 0.0, 0.0, turn=90)
plan.thing = mesh.Thing([wall], models=chair.models)
room = scene.SimpleRoom(plan, 3)
lighting = scene.Lighting(room, 3)
lighting.apply('lamps', 0)
view = views.View(0, 0, 0.0, 0.0, 0.45, 0.0, 0.0, 0.0, 90.0, 'lamps', 0.0, 0.0)
light, depth = make_simple_room.SimpleRenderer(room, 1).render(view, room)
np.savez(sys.argv[2], light=light, depth=depth)
"""


def test_a_model_has_exact_depth_and_its_glass_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv('ROOMS_CACHE', str(tmp_path / 'cache'))
    write_archive(tmp_path / 'Test.sh3f')
    render(SCENE, tmp_path / 'view.npz', 120)
    depth = np.load(tmp_path / 'view.npz')['depth']
    assert np.allclose(depth[150, 150:170], 1.8, atol=1e-3) or np.allclose(
        depth[150, 150:170], 2.2, atol=1e-3
    )
    assert not np.isfinite(depth[95:105, 150:170]).any()  # the back, of glass
    assert np.allclose(depth[:, :20], 4.0, atol=1e-3)
