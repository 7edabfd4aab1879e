# SPDX-License-Identifier: Apache-2.0
"""The `rooms` layout: rendered views with exact depth and per-view intrinsics.

`scene_N/rgb_00000.jpg`, `depth_00000.png` (uint16 millimetres, 0 = nothing hit) and
`cameras.csv` (index, fx, fy, cx, cy in pixels, ...).
"""
from __future__ import annotations

import csv
from pathlib import Path

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.images import read_bytes
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError, Sample
from depth_training.data.scenes import choose

#: Name by which the bundled network's recipe knows a view.
RoomView = Sample


def recognise(path: Path) -> bool:
    """A scene folder, or a folder of scene folders."""
    return path.is_dir() and bool(_scenes(path))


def open_layout(request: Request) -> DepthDataset:
    """Open one scene or a folder of scenes; `hold_out` names the scenes to test on.

    Raises:
        DataError: `cameras.csv` is malformed, or a held-out scene does not exist.
    """
    folders = _scenes(request.path)
    root = request.path.parent if folders == [request.path] else request.path
    scenes = {folder.name: read_cameras(folder, f'{folder.name}/') for folder in folders}
    pairs, note = choose(scenes, request)
    return PairFiles('rooms', root, pairs, 'exact', note=note)


def read_room(scene: Path) -> list[Sample]:
    """All views of one scene folder.

    Raises:
        DataError: the folder has no `cameras.csv`, or a file that it names is missing.
    """
    views = PairFiles('rooms', scene, read_cameras(scene), 'exact')
    return [views[index] for index in range(len(views))]


def read_cameras(scene: Path, prefix: str = '') -> list[Pair]:
    """The pairs that `cameras.csv` names, each with its camera.

    Raises:
        DataError: the file is missing, or a row lacks index, fx or cx.
    """
    file = scene / 'cameras.csv'
    rows = csv.DictReader(read_bytes(file).decode('utf-8-sig').splitlines())
    try:
        return [_pair(prefix, int(row['index']), float(row['fx']), float(row['cx']))
                for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{file} needs columns index, fx and cx with numbers ({error!r})') \
            from error


def _pair(prefix: str, index: int, fx: float, cx: float) -> Pair:
    return Pair(f'{prefix}rgb_{index:05d}.jpg', f'{prefix}depth_{index:05d}.png', fx, cx)


def _scenes(path: Path) -> list[Path]:
    if (path / 'cameras.csv').exists():
        return [path]
    return sorted(file.parent for file in path.glob('*/cameras.csv'))
