# SPDX-License-Identifier: Apache-2.0
"""The `sync` layout of BTS, GLPDepth and AdaBins, and the similar `official_splits`.

`<scene>/rgb_00000.jpg` + `<scene>/sync_depth_00000.png` (uint16 millimetres, 0 = unknown), with an
optional list file of rows `rgb depth [focal length]`. A leading `/` of a row (as in the training
lists of BTS and GLPDepth) is dropped, since it would make the path absolute. Also reads the same
folders with `depth_00000.png` and with `camera.json` (width, fx, cx).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from depth_perception.io.files import walk
from depth_training.data.camera_files import Camera, common_scale, read_camera
from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.image_files import read_text
from depth_training.data.matching import left_over
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose

#: fx and cx of NYU Depth v2's colour camera at 640x480 (toolbox, camera_params.m).
NYU_FX, NYU_CX = 518.85790117450188, 325.58244941119034
NYU_WIDTH = 640
_DEPTH_PREFIXES = ('sync_depth_', 'depth_')
_RGB_SUFFIXES = ('.jpg', '.jpeg', '.png')


def nyu_camera(width: int) -> tuple[float, float]:
    """Return fx and cx of NYU's colour camera in pixels of a frame `width` wide."""
    ratio = width / NYU_WIDTH
    return NYU_FX * ratio, (NYU_CX + 0.5) * ratio - 0.5


def recognise(path: Path) -> bool:
    """Accept a folder with `rgb_*` images at most three levels down, or official_splits."""
    return path.is_dir() and any(True for _ in _scene_folders(path))


def open_layout(request: Request) -> DepthDataset:
    """Open a sync or official_splits folder.

    Raises:
        DataError: it has no pairs or lacks this split, or no pair of a list file exists.
    """
    root, official = _split_folder(request)
    layout = 'official_splits' if official else 'sync'
    list_file = request.list_file or _find_list(root, request)
    if list_file is not None:
        return _open_list(layout, root, list_file)
    scanned = {scene.name: scene for scene in _scan(root, official)}
    scenes = {name: scene.pairs for name, scene in scanned.items() if scene.pairs}
    if not scenes:
        raise DataError(f'{root} has rgb_* images, but none with its sync_depth_* or depth_* PNG')
    if root.name == request.split:
        pairs, note = [pair for part in scenes.values() for pair in part], f'{root.name} folder'
    else:
        pairs, note = choose(scenes, request)
    lonely = left_over([name for scene in scanned.values() for name in scene.without_depth])
    dataset = PairFiles(layout, root, pairs, 'raw', note='; '.join(filter(None, (note, lonely))))
    scale = common_scale(root, {scene.camera for scene in scanned.values() if scene.pairs})
    if scale is not None:
        dataset.use_scale(scale)
    return dataset


def _split_folder(request: Request) -> tuple[Path, bool]:
    """Return the folder to read and whether it belongs to the official split.

    Raises:
        DataError: the official split is there, but not the wanted part of it.
    """
    root = request.path
    if (root / 'official_splits').is_dir():
        root = root / 'official_splits'
    official = root.name == 'official_splits' or root.parent.name == 'official_splits'
    if request.split != 'all' and (root / request.split).is_dir():
        root = root / request.split
    if official and request.split not in ('all', root.name):
        raise DataError(f'{root} has no {request.split} folder of the official split')
    return root, official


def _scene_folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield, sorted, folders with `rgb_*` images up to three levels down, and all their files."""
    for folder, subfolders, files in walk(root):
        if len(folder.relative_to(root).parts) >= 3:
            subfolders.clear()
        if any(name.startswith('rgb_') and name.endswith(_RGB_SUFFIXES) for name in files):
            yield folder, files


class SyncScene(NamedTuple):
    """A folder's complete pairs, its camera, and its images without depth."""

    name: str
    pairs: list[Pair]
    camera: Camera
    without_depth: list[str]


def _scan(root: Path, official: bool) -> Iterator[SyncScene]:
    for folder, files in _scene_folders(root):
        scene = folder.relative_to(root).as_posix()
        camera = _camera(folder, root, official)
        prefix = '' if scene == '.' else scene + '/'
        known = set(files)
        found = [
            (prefix + rgb, _depth_name(rgb, known))
            for rgb in sorted(files)
            if rgb.startswith('rgb_') and rgb.endswith(_RGB_SUFFIXES)
        ]
        pairs = [Pair(rgb, prefix + depth, *camera[:3]) for rgb, depth in found if depth]
        yield SyncScene(scene, pairs, camera, [rgb for rgb, depth in found if not depth])


def _depth_name(rgb: str, known: set[str]) -> str | None:
    number = rgb[len('rgb_') :].rsplit('.', 1)[0]
    names = (f'{prefix}{number}.png' for prefix in _DEPTH_PREFIXES)
    return next((name for name in names if name in known), None)


def _camera(folder: Path, root: Path, official: bool) -> Camera:
    """Return fx, cx and their image width, and the depth scale if `camera.json` has it."""
    return Camera(NYU_FX, NYU_CX, 640) if official else read_camera(folder, root)


def _find_list(root: Path, request: Request) -> Path | None:
    """Find a list of this split in the folder, such as `nyudepthv2_train_files_with_gt.txt`."""
    if request.split == 'all' or request.hold_out:
        return None
    files = sorted({*root.glob('*.txt'), *request.path.glob('*.txt')})
    return next((file for file in files if f'{request.split}_files' in file.name), None)


def _open_list(layout: str, root: Path, list_file: Path) -> DepthDataset:
    pairs = list(read_list(list_file))
    missing = _missing(root, pairs)
    if not pairs or len(missing) >= len(pairs):
        first = f'such as {root / missing[0]}' if missing else 'it is empty'
        raise DataError(f'{list_file} names no pair that exists in {root}, {first}')
    note = f'{root.name} folder, list {list_file.name}'
    if missing:
        note += f'; {len(missing)} pairs have a missing file, first {missing[0]}'
    return PairFiles(layout, root, pairs, 'raw', note=note)


def read_list(file: Path) -> Iterator[Pair]:
    """Read rows `rgb depth [focal length]`; ignore blank lines, CRLF and a leading `/`.

    Raises:
        DataError: a row has a different form; the message names its line.
    """
    for number, line in enumerate(read_text(file).splitlines(), 1):
        columns = line.split()
        if not columns:
            continue
        try:
            rgb, depth, *rest = columns
            fx = float(rest[0]) if rest else None
        except ValueError:
            raise DataError(
                f'{file} line {number}: "{line[:60].strip()}" is not "rgb depth [focal length]"'
            ) from None
        yield Pair(rgb.lstrip('/'), depth.lstrip('/'), fx)


def _missing(root: Path, pairs: list[Pair]) -> list[str]:
    """Return the first missing file of each incomplete pair; list each folder only once."""
    listing: dict[str, set[str]] = {}

    def exists(name: str) -> bool:
        folder, _, file = name.rpartition('/')
        if folder not in listing:
            path = root / folder
            listing[folder] = set(os.listdir(path)) if path.is_dir() else set()
        return file in listing[folder]

    return [
        name
        for pair in pairs
        for name in [next((n for n in pair[:2] if not exists(n)), None)]
        if name is not None
    ]
