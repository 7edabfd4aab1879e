# SPDX-License-Identifier: Apache-2.0
"""`predict --anchors` asks about swapped u and v, on pictures of the bundled drives."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_perception.cli.main import main

DRIVES = Path(__file__).parents[2] / 'data' / 'drives'
#: A few pictures of three rooms that the bundled network has not seen.
PICTURES = [
    (room, number)
    for room in ('corridor_7035', 'kitchen_7014', 'livingroom_7007')
    for number in (0, 3)
]
QUESTION = 'are u and v swapped?'


def beams(depth: np.ndarray, zones: bool) -> np.ndarray:
    """Return u, v and metres (n, 3) of a lidar's row, or of the 8 x 8 zones of another sensor."""
    height, width = depth.shape
    rows = np.linspace(20, height - 20, 8) if zones else [height / 2]
    v, u = np.meshgrid(
        np.asarray(rows).astype(int),
        np.linspace(20, width - 20, 8 if zones else 64).astype(int),
        indexing='ij',
    )
    found = np.column_stack([u.ravel(), v.ravel(), depth[v, u].ravel()])
    return found[found[:, 2] > 0]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder of pictures, and a function that writes anchors beside them."""
    place = tmp_path_factory.mktemp('rooms')
    for room, number in PICTURES:
        for zones in (False, True):
            name = f'{room}_{number}_{"zones" if zones else "row"}'
            shutil.copy(DRIVES / room / f'rgb_{number:05d}.jpg', place / f'{name}.jpg')
    return place


@pytest.mark.parametrize('is_swapped', [False, True], ids=['right', 'swapped'])
def test_swapped_anchors_of_a_folder_are_asked_about(folder, tmp_path, capsys, is_swapped):
    for room, number in PICTURES:
        image = cv2.imread(str(DRIVES / room / f'depth_{number:05d}.png'), cv2.IMREAD_UNCHANGED)
        for zones in (False, True):
            given = beams(image / 1000, zones)[:, [1, 0, 2] if is_swapped else [0, 1, 2]]
            name = f'{room}_{number}_{"zones" if zones else "row"}'
            np.savetxt(
                folder / f'{name}.anchors.csv', given, '%.3f', ',', header='u,v,depth', comments=''
            )
    words = ['predict', folder, '--anchors', folder, '--out', tmp_path, '--device', 'cpu']
    assert main(list(map(str, words))) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if '.jpg' in line]
    asked = [line for line in said if QUESTION in line]
    assert len(said) == 2 * len(PICTURES)
    if is_swapped:
        assert len([line for line in asked if 'zones' in line]) == len(PICTURES)
        assert len(asked) > len(PICTURES)  # a row across an even wall looks like a column
    else:
        assert asked == []
