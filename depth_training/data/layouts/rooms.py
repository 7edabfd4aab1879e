# SPDX-License-Identifier: Apache-2.0
"""The `rooms` layout: rendered views with exact depth and per-view intrinsics.

`scene_N/rgb_00000.jpg`, `depth_00000.png` (uint16 millimetres, 0 = nothing hit) and
`cameras.csv` (index, fx, fy, cx, cy in pixels, ...). Only `tools/rooms` writes it, so the unit is
sure, however near to a wall a view is. The output of `tools/rooms` has the scenes in
`frames/`, next to `manifest.json`, which lists the finished rooms and their split.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.image_files import read_text
from depth_training.data.pairs import Pair, PairFiles, read_millimetres
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose

MANIFEST = 'manifest.json'
_GRAINS = 5
#: Names of the splits in the manifest.
_SPLITS = {'train': 'train', 'validation': 'test'}


def recognise(path: Path) -> bool:
    """Accept a scene folder, or a folder of scene folders."""
    return path.is_dir() and bool(_scenes(path))


def open_layout(request: Request) -> DepthDataset:
    """Open one scene or a folder of scenes; `hold_out` names the test scenes.

    Without `hold_out` a manifest decides; rooms missing from it are unfinished and left out.

    Raises:
        DataError: `cameras.csv` or the manifest is malformed, or a held-out scene does not exist.
    """
    folders = _scenes(request.path)
    splits = _read_manifest(request.path)
    if splits is not None:
        folders = [folder for folder in folders if folder.name in splits]
    scenes = {folder.name: read_cameras(folder, f'{folder.name}/') for folder in folders}
    root = _frames(request.path)
    root = root.parent if folders == [root] else root
    if splits is None or request.hold_out or request.split == 'all':
        pairs, note = choose(scenes, request)
    else:
        pairs, note = _by_manifest(scenes, splits, request)
    return PairFiles(
        'rooms', root, pairs, 'exact', note=note, read_depth=read_exact, unit_is_sure=True
    )


def read_exact(path: Path) -> NDArray[np.float32]:
    """Read metres without the isolated points that older renderings have in window panes.

    A pixel becomes unknown if most of the 5x5 pixels around it are.
    """
    depth = read_millimetres(path)
    unknown = cv2.boxFilter(
        (depth == 0).astype(np.float32), -1, (_GRAINS, _GRAINS), borderType=cv2.BORDER_REPLICATE
    )
    return np.where(unknown > 0.5, np.float32(0), depth)


def _by_manifest(
    scenes: Mapping[str, list[Pair]], splits: Mapping[str, str], request: Request
) -> tuple[list[Pair], str]:
    chosen = [name for name in scenes if splits[name] == request.split]
    if not chosen:
        raise DataError(f'{request.path}: no finished room is in the {request.split} part yet')
    return [
        pair for name in chosen for pair in scenes[name]
    ], f'{request.split} part of the manifest, {len(chosen)} of {len(scenes)} rooms'


def _read_manifest(path: Path) -> dict[str, str] | None:
    """Return the split of each finished room by folder, or None without a manifest."""
    file = next(
        (
            folder / MANIFEST
            for folder in (path, path.parent)
            if (folder / MANIFEST).is_file() and (folder / 'frames') == _frames(path)
        ),
        None,
    )
    if file is None:
        return None
    try:
        return {
            room['folder']: _SPLITS[room['split']] for room in json.loads(read_text(file))['rooms']
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{file} is not a manifest of rendered rooms as written by tools/rooms of the '
            f'repository ({error})'
        ) from error


def _frames(path: Path) -> Path:
    """Return the folder that contains the scenes."""
    return path / 'frames' if (path / 'frames').is_dir() else path


def read_cameras(scene: Path, prefix: str = '') -> list[Pair]:
    """Return the pairs listed in `cameras.csv`, each with its camera.

    Raises:
        DataError: the file is missing, or a row lacks index, fx or cx.
    """
    file = scene / 'cameras.csv'
    rows = csv.DictReader(read_text(file).splitlines())
    try:
        return [
            _pair(prefix, int(row['index']), float(row['fx']), float(row['cx'])) for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{file} needs columns index, fx and cx with numbers ({error})') from error


def _pair(prefix: str, index: int, fx: float, cx: float) -> Pair:
    return Pair(f'{prefix}rgb_{index:05d}.jpg', f'{prefix}depth_{index:05d}.png', fx, cx)


def _scenes(path: Path) -> list[Path]:
    if (path / 'cameras.csv').exists():
        return [path]
    return sorted(file.parent for file in _frames(path).glob('*/cameras.csv'))
