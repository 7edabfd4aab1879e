# SPDX-License-Identifier: Apache-2.0
"""Anchor files: accepted formats, and the errors for invalid ones."""

from __future__ import annotations

import numpy as np
import pytest

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import Anchors
from depth_perception.io.anchor_files import AnchorFileError, misplaced, read_anchors, swapped

CAMERA = CameraModel(160, 120, fx=100.0, fy=100.0, cx=80.0, cy=60.0)


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    'text',
    [
        'u,v,depth\n10,20,1.5\n30,40.5,2\n',
        'u,v,metres\n10,20,1.5\n30,40.5,2\n',
        '10 20 1.5\n30 40.5 2',
        '10;20;1.5\r\n30;40.5;2\r\n',
        '# a tape\nU, V, Depth\n\n10\t20\t1.5\n  30, 40.5 , 2\n',
        '\ufeff10,20,1.5\n30,40.5,2e0\n',
    ],
)
def test_lines_of_u_v_and_metres(tmp_path, text):
    anchors = read_anchors(written(tmp_path / 'a.csv', text))
    np.testing.assert_array_equal(
        [anchors.u, anchors.v, anchors.depth], [[10, 30], [20, 40.5], [1.5, 2]]
    )


def test_distances_from_the_camera_become_depths(tmp_path):
    path = written(tmp_path / 'a.csv', 'u,v,distance\n80,60,2\n180,60,2\n')
    np.testing.assert_allclose(read_anchors(path, CAMERA).depth, [2, 2**0.5])
    with pytest.raises(AnchorFileError, match='need a known camera'):
        read_anchors(path)


@pytest.mark.parametrize(
    'content, said',
    [
        ('', 'has no anchors'),
        ('u,v,depth\n# none\n', 'has no anchors'),
        ('1,2,3\n1,2\n', "line 2: need u, v and metres, got '1,2'"),
        ('1,2,three\n', 'line 1: need u, v and metres'),
        ('u,v,range\n1,2,3\n', 'line 1: need u, v'),
        ('1,2,3,4\n', 'line 1'),
        ('1;2;3,5\n', "got '1;2;3,5' (decimals have a point, not a comma)"),
        ('1,2,1500\n3,4,2100\n5,6,1800\n', 'farther than 1800 m; give metres, not centimetres'),
        ('1,2,nan\n', 'line 1'),
        ('1,inf,2\n', 'line 1'),
        ('1,2,0\n', 'metres must be above 0'),
        ('1,2,-3\n', 'metres must be above 0'),
        (b'\xff\xd8\xff\xe0\x00', 'is not a text file'),
    ],
)
def test_an_invalid_line_is_named_with_its_number(tmp_path, content, said):
    path = written(tmp_path / 'a.csv', content)
    with pytest.raises(AnchorFileError) as error:
        read_anchors(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnchorFileError, match=r'cannot read .*none\.csv: No such file'):
        read_anchors(tmp_path / 'none.csv')


@pytest.mark.parametrize(
    'u, v, said',
    [
        ([10, 639, 320], [5, 479, 240], ''),
        ([10, 700, 320], [5, 479, 240], ''),
        (
            [10, 100, 240],
            [600, 620, 610],
            '3 of 3 anchors are outside the image of 640x480 pixels; are u and v swapped?',
        ),
        ([700, 800], [10, 900], '2 of 2 anchors are outside the image of 640x480 pixels'),
    ],
)
def test_anchors_outside_the_image_are_said(u, v, said):
    assert misplaced(Anchors.of(u, v, [1.0] * len(u)), 480, 640) == said


def test_swapped_u_and_v_inside_the_image_are_noticed_whatever_the_scale():
    v, u = np.mgrid[:120, :160]
    depth = (0.8 + 3 * (v / 120) ** 2 + 0.5 * np.sin(u / 40)).astype(np.float32)
    random = np.random.default_rng(0)
    for rows in (np.full(60, 30), random.integers(0, 120, 60), 12 * (np.arange(60) % 10)):
        columns = np.linspace(0, 119, 60).astype(int)
        true = 1.5 * depth[rows, columns] * np.exp(random.normal(0, 0.05, 60))
        assert swapped(Anchors.of(columns, rows, true), depth) == ''
        assert 'are u and v swapped?' in swapped(Anchors.of(rows, columns, true), depth)
    # Too few, all beyond the shorter side, an unknown depth, the same depth everywhere.
    assert swapped(Anchors.of(rows[:5], columns[:5], true[:5]), depth) == ''
    assert swapped(Anchors.of(np.full(60, 140), rows, true), depth) == ''
    assert swapped(Anchors.of(rows, columns, true), np.full_like(depth, np.nan)) == ''
    assert swapped(Anchors.of(rows, columns, np.full(60, 2.0)), np.full_like(depth, 2)) == ''
