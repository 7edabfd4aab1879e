# SPDX-License-Identifier: Apache-2.0
"""The parts of the rendered-rooms tool that need no Blender: plan, views, pictures, resuming."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.support.rooms_tool import TOOLS, load

files, views, develop = load('files'), load('views'), load('develop')
make_dataset, make_room, render_room = load('make_dataset'), load('make_room'), load('render_room')
FLOOR = views.Floor((0.0, 4.0), (-1.0, 3.0), 0.1)


@pytest.fixture
def shop(tmp_path):
    (tmp_path / 'scenes').mkdir()
    return make_dataset.Workshop(tmp_path, Path(sys.executable))


def fill(folder: Path, count: int) -> None:
    """Write `count` finished views, their lines and the seal."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for index in range(count):
        rows[index] = views.draw_view(3, index, 0, FLOOR).row()
        files.write_whole(folder / files.rgb_name(index), b'rgb')
        files.write_whole(folder / files.depth_name(index), b'depth')
    files.write_cameras(folder, views.COLUMNS, rows)


def test_every_view_keeps_the_limits():
    for index in range(300):
        view = views.draw_view(5, index, 0, FLOOR)
        assert 55.0 <= view.field_of_view <= 90.0
        assert 0.15 <= view.height <= 1.75
        assert FLOOR.contains((view.x, view.y))
        assert -60.0 <= view.pitch <= 25.0
        assert np.isclose(np.linalg.norm(view.direction), 1.0)


def test_robot_and_hand_held_heights_and_all_lightings_are_drawn():
    drawn = [views.draw_view(5, index, 0, FLOOR) for index in range(60)]
    low = np.mean([view.height < 1.2 for view in drawn])
    assert 0.35 < low < 0.75
    assert {view.lighting for view in drawn} == set(views.LIGHTINGS)


def test_a_view_depends_on_seed_index_and_attempt_alone():
    assert views.draw_view(1, 2, 3, FLOOR) == views.draw_view(1, 2, 3, FLOOR)
    others = [views.draw_view(*key, FLOOR) for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4))]
    assert len({view.x for view in others}) == 3


def test_row_has_a_value_for_every_column_and_the_focal_length_of_its_field_of_view():
    view = views.draw_view(1, 2, 3, FLOOR)
    row = dict(zip(views.COLUMNS, view.row(), strict=True))
    half = np.degrees(np.arctan(views.WIDTH / 2 / float(row['fx'])))
    assert np.isclose(2 * half, float(row['hfov_deg']), atol=0.01)


@pytest.mark.parametrize(
    ('distances', 'backs', 'reason'),
    [
        ([0.1, 2.0, 3.0, 4.0], [False] * 4, 'too close'),
        ([1.0, 2.0, 3.0, np.inf], [False] * 4, 'open sky'),
        ([1.0, 2.0, 3.0, 4.0], [True, True, False, False], 'inside an object'),
        ([0.3, 0.4, 0.5, 4.0], [False] * 4, 'distance'),
        ([2.0, 2.1, 2.0, 2.1], [False] * 4, 'flat'),
        ([1.0, 2.0, 3.0, 4.0], [False] * 4, None),
    ],
)
def test_useless_views_are_rejected(distances, backs, reason):
    assert views.rejection(distances, backs) == reason


def test_ray_grid_spans_the_field_of_view():
    rays = views.ray_grid(90.0)
    angle = np.degrees(np.arctan2(rays[:, 0], -rays[:, 2]))
    assert np.isclose(angle.max(), np.degrees(np.arctan(0.96)))
    assert np.allclose(np.linalg.norm(rays, axis=1), 1.0)


def test_depth_is_millimetres_and_zero_where_nothing_was_hit():
    metres = np.array([[1.2345, 1e10, np.inf, np.nan, 0.01]])
    assert develop.to_millimetres(metres).tolist() == [[1234, 0, 0, 0, 0]]


def test_panes_are_masked_wholly_whatever_the_renderer_saw_in_them():
    rng = np.random.default_rng(0)
    depth, panes = np.full((20, 30), 2.0), np.zeros((20, 30), bool)
    panes[5:12, 8:20] = True
    depth[panes] = rng.choice([1.5, 2.0, 7.0, np.inf], panes.sum())
    masked = develop.to_millimetres(develop.mask_panes(depth, panes))
    assert not masked[4:13, 7:21].any()
    masked[4:13, 7:21] = 2000
    assert (masked == 2000).all()


def test_pixel_rays_go_through_the_middles_of_the_pixels():
    rays = views.pixel_rays(90.0)
    assert rays.shape == (240, 320, 3)
    x, y, z = rays[100, 300]
    focal = 160.0
    np.testing.assert_allclose((x / -z * focal, y / -z * focal), (300.5 - 160, 120 - 100.5))
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)


def test_panes_are_cleared_and_walls_are_kept():
    depth = np.full((20, 20), 2000, np.uint16)
    depth[:, 10:] = 0
    depth[10, 15] = 1500
    cleared = develop.clear_panes(depth)
    assert (cleared[:, 11:] == 0).all()
    assert (cleared[:, :9] == 2000).all()


@pytest.mark.parametrize('scale', [0.01, 1.0, 100.0])
def test_automatic_exposure_gives_the_same_picture_in_any_light(scale):
    light = np.random.default_rng(0).uniform(0.1, 1.0, (12, 16, 3))
    reference, picture = develop.develop(light, 0.0, 0.0), develop.develop(light * scale, 0.0, 0.0)
    assert np.abs(reference.astype(int) - picture).max() <= 3
    assert 100 < picture.mean() < 180


def test_warmth_and_exposure_move_the_picture_the_right_way():
    light = np.random.default_rng(0).uniform(0.1, 1.0, (12, 16, 3))
    neutral, warm = develop.develop(light, 0.0, 0.0), develop.develop(light, 0.0, 0.5)
    assert warm[..., 0].mean() > neutral[..., 0].mean()
    assert warm[..., 2].mean() < neutral[..., 2].mean()
    assert develop.develop(light, 1.0, 0.0).mean() > neutral.mean()


def test_dark_and_empty_pictures_are_faults():
    light, depth = np.ones((4, 4, 3)), np.ones((4, 4), np.uint16)
    assert develop.fault(light, depth) is None
    assert develop.fault(light * 1e-6, depth) == 'dark'
    assert develop.fault(light, depth * 0) == 'holes'


def test_only_views_with_both_images_count_as_finished(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / files.depth_name(2)).unlink()
    assert sorted(files.read_cameras(tmp_path)) == [0, 1, 3]


def test_a_broken_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    files.write_whole(path, b'old')

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(path, b'new')
    assert path.read_bytes() == b'old'


def test_checksums_are_readable_by_sha256sum(tmp_path):
    fill(tmp_path, 3)
    files.write_checksums(tmp_path)
    check = ['sha256sum', '--check', '--quiet', files.CHECKSUMS]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0


def test_plan_alternates_kinds_and_leaves_out_the_house_of_the_clip():
    rooms = make_dataset.plan_rooms(list(make_dataset.KINDS['infinigen']), 0, 49)
    assert len(rooms) == 49
    assert all(room.seed != make_dataset.CLIP_SEED for room in rooms)
    assert {room.kind for room in rooms} == set(make_dataset.KINDS['infinigen'])
    held_out = [room for room in rooms if room.split == 'validation']
    assert {room.kind for room in held_out} == set(make_dataset.KINDS['infinigen'])


def test_failed_and_sealed_rooms_are_not_made_again(shop):
    failed, sealed, partial = make_dataset.plan_rooms(['Bedroom'], 2, 4)
    with pytest.raises(RuntimeError):
        make_dataset.fail(shop, failed, 'too slow')
    fill(shop.frames(sealed), 2)
    files.write_checksums(shop.frames(sealed))
    fill(shop.frames(partial), 2)
    done = [make_dataset.is_done(shop, room) for room in (failed, sealed, partial)]
    assert done == [True, True, False]


def test_a_stopped_script_is_no_failure_of_the_room(shop):
    room = make_dataset.RoomPlan('Kitchen', 9)
    with pytest.raises(RuntimeError):
        make_dataset.check(shop, room, -15, 'generator')
    assert not make_dataset.is_done(shop, room)
    with pytest.raises(RuntimeError):
        make_dataset.check(shop, room, -24, 'generator')
    assert make_dataset.is_done(shop, room)


def test_manifest_lists_sealed_rooms_and_failures(shop):
    rooms = make_dataset.plan_rooms(['Bedroom', 'Kitchen'], 6, 8)
    fill(shop.frames(rooms[1]), 3)
    files.write_checksums(shop.frames(rooms[1]))
    with pytest.raises(RuntimeError):
        make_dataset.fail(shop, rooms[0], 'too slow')
    content = make_dataset.manifest(shop, rooms, make_dataset.Settings(), {'bpy': '4.2.0'})
    assert content['failed'] == {'bedroom_6': 'too slow'}
    assert [room['folder'] for room in content['rooms']] == ['scene_kitchen_7']
    assert content['views'] == 3
    assert content['rooms'][0]['split'] == 'validation'
    make_dataset.write_manifest(shop, content)
    others = make_dataset.plan_rooms(['Bedroom'], 20, 20)
    fill(shop.frames(others[0]), 2)
    files.write_checksums(shop.frames(others[0]))
    content = make_dataset.manifest(shop, others, make_dataset.Settings(), {'bpy': '4.2.0'})
    assert [room['folder'] for room in content['rooms']] == ['scene_kitchen_7', 'scene_bedroom_20']
    assert content['views'] == 5


STAND_IN = """#!{python}
import sys
from pathlib import Path
if sys.argv[1] == '-c':
    print('{{"bpy": "4.2.0"}}')
    sys.exit()
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out = Path(options['--out'])
out.mkdir(parents=True, exist_ok=True)
if sys.argv[1].endswith('make_room.py'):
    if options['--kind'] == 'Kitchen':
        sys.exit(1)
    (out / 'scene.blend').write_text('scene')
else:
    assert Path(options['--scene']).read_text() == 'scene'
    sys.path[:0] = {test!r}
    import test_rooms
    test_rooms.fill(out, int(options['--views']))
    test_rooms.files.write_checksums(out)
"""


@pytest.mark.parametrize('keep_scenes', [True, False])
def test_driver_makes_renders_and_lists_rooms_and_then_has_nothing_to_do(tmp_path, keep_scenes):
    stand_in = tmp_path / 'python'
    here = [str(Path(__file__).parent), str(TOOLS.parents[1])]  # for test.support
    stand_in.write_text(STAND_IN.format(python=sys.executable, test=here))
    stand_in.chmod(0o755)
    (tmp_path / 'scenes').mkdir()
    (tmp_path / 'scenes' / 'bedroom_2.part').mkdir()  # left by a kill
    shop = make_dataset.Workshop(tmp_path, stand_in, keep_scenes)
    rooms = make_dataset.plan_rooms(['Bedroom', 'Kitchen'], 2, 4)
    settings = make_dataset.Settings(views=2)
    make_dataset.make_all(shop, rooms, settings, jobs=2)
    content = json.loads((tmp_path / 'manifest.json').read_text())
    assert {room['folder'] for room in content['rooms']} == {'scene_bedroom_2', 'scene_bedroom_4'}
    assert content['failed'] == {'kitchen_3': 'generator: exit status 1'}
    assert content['views'] == 4
    scenes = {folder.name for folder in (tmp_path / 'scenes').iterdir() if folder.is_dir()}
    assert scenes == ({'bedroom_2', 'bedroom_4'} if keep_scenes else set())
    assert all(make_dataset.is_done(shop, room) for room in rooms)


def test_a_python_that_cannot_make_rooms_is_one_sentence(tmp_path):
    for python, said in (
        (tmp_path / 'none', 'No such file or directory'),
        (Path(sys.executable), 'No package metadata was found for infinigen'),
    ):
        shop = make_dataset.Workshop(tmp_path, python)
        with pytest.raises(SystemExit, match=f'--python {python}.*{said}.*README.md'):
            make_dataset.make_all(shop, [], make_dataset.Settings(), 1)
    with pytest.raises(SystemExit, match=f'{sys.executable} has no bpy_of_nobody: '):
        files.need('json', 'bpy_of_nobody')


@pytest.mark.parametrize(
    'words, said',
    [
        (('--seeds', '5', '3'), '--seeds 5 3: the first is above the last'),
        (('--seeds', '3', '5', '--views', '0'), '--views: 0 is not 1 or more'),
        (('--seeds', '3', '5', '--jobs', '-1'), '--jobs: -1 is not 1 or more'),
    ],
)
def test_requests_for_nothing_are_refused(words, said, tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'):
        make_dataset.parse_arguments(['--out', str(tmp_path), *words])
    assert said in capsys.readouterr().err


def test_the_reason_of_a_failure_is_what_the_script_said_last(shop):
    room = make_dataset.RoomPlan('Kitchen', 9)
    shop.record(room).write_text('view 1\nMemoryError: no room\n\n')
    with pytest.raises(RuntimeError, match=r'renderer: exit status 1 \(MemoryError: no room\)'):
        make_dataset.check(shop, room, 1, 'renderer')


def test_one_driver_at_a_time(tmp_path):
    held = make_dataset.lock(tmp_path)
    with pytest.raises(SystemExit):
        make_dataset.lock(tmp_path)
    held.close()


def test_generator_is_asked_for_the_room_and_seed(tmp_path):
    arguments = make_room.generator_arguments('Bathroom', 12, tmp_path)
    assert arguments[arguments.index('--seed') + 1] == '12'
    assert arguments[-1] == 'restrict_solving.restrict_parent_rooms=["Bathroom"]'


def test_renderer_can_be_imported_and_asked_without_blender(tmp_path):
    options = render_room.parse_arguments(
        ['--scene', str(tmp_path), '--kind', 'Bedroom', '--seed', '2', '--out', str(tmp_path)]
    )
    assert options.views == 60
