# SPDX-License-Identifier: Apache-2.0
"""Your own data: a folder of images next to a folder of depth maps.

`images/` and `depth/` contain files of the same name (docs/own_data.md); `rgb/`, `color/` and the
like may replace `images/`. Several scenes are folders of such folders, or subfolders of both.
Images and depth maps in a single folder are distinguished by the word `depth` in the names.
`camera.json` next to them gives the camera and the unit of depth. If names do not show which files
belong together, a list `pairs.csv` with columns `image` and `depth` does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.io.files import walk
from depth_training.data import depth_files
from depth_training.data.camera_files import Camera, common_scale, read_camera
from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.image_files import read_text
from depth_training.data.matching import left_over, match
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose
from depth_training.data.transforms import nearest

LIST = 'pairs.csv'
PICTURES = ('images', 'image', 'rgb', 'color', 'colour', 'colors', 'colours')
DEPTHS = ('depth', 'depths')
PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_DEEPEST = 3
_SPLITS = {'train': ('train',), 'test': ('test', 'val', 'validation')}
#: Relative difference up to which two aspect ratios count as equal, due to rounding.
_SAME_ASPECT = 0.02


class SceneFolders(NamedTuple):
    """Folders of one scene's images and depth maps; both may be the scene folder itself."""

    folder: Path
    pictures: Path
    depths: Path

    def names(self) -> tuple[list[str], list[str]]:
        """Return the names of the images and of the depth maps."""
        if self.pictures != self.depths:
            return _files(self.pictures, PICTURE_SUFFIXES), _files(
                self.depths, depth_files.SUFFIXES
            )
        names = sorted(file.name for file in self.folder.iterdir())
        return [name for name in names if _is_picture(name)], [
            name for name in names if _is_depth(name)
        ]


def mixed_folders(root: Path) -> Iterator[SceneFolders]:
    """Yield, sorted, folders with images and depth maps that only their names distinguish."""
    for folder, subfolders, files in walk(root):
        if len(folder.relative_to(root).parts) >= _DEEPEST:
            subfolders.clear()
        if any(map(_is_picture, files)) and any(map(_is_depth, files)):
            yield SceneFolders(*[folder] * 3)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES) and 'depth' not in name.lower()


def _is_depth(name: str) -> bool:
    return name.lower().endswith(depth_files.SUFFIXES) and 'depth' in name.lower()


@dataclass
class Found:
    """The pairs of each scene by name, all cameras, and notes for the description.

    `split_is_decided`: only pairs of the wanted split are included.
    """

    scenes: dict[str, list[Pair]] = field(default_factory=dict)
    cameras: dict[Path, Camera] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    split_is_decided: bool = False

    def add(self, scene: str, picture: str, depth: str, folder: Path, root: Path) -> None:
        """Add a pair, taken with the camera of a folder."""
        if folder not in self.cameras:
            self.cameras[folder] = read_camera(folder, root)
        self.scenes.setdefault(scene, []).append(Pair(picture, depth, *self.cameras[folder][:3]))


def recognise(path: Path) -> bool:
    """Accept a folder with a list, or with both folders at most three levels down."""
    return path.is_dir() and ((path / LIST).is_file() or any(True for _ in scene_folders(path)))


def open_layout(
    request: Request, scenes: Callable[[Path], Iterator[SceneFolders]] | None = None
) -> DepthDataset:
    """Open a folder; `hold_out` names the test scenes if there are no `train` and `test` folders.

    Raises:
        DataError: no image has a depth map, or the list or `camera.json` is malformed.
    """
    root = request.path
    listed = request.list_file or (root / LIST if (root / LIST).is_file() else None)
    found = (
        _listed(listed, root, request)
        if listed is not None
        else _found(root, request, scenes or scene_folders)
    )
    pairs, how = choose(
        found.scenes, replace(request, split='all') if found.split_is_decided else request
    )
    scale = request.depth_scale or common_scale(root, found.cameras.values())
    return as_dataset(
        'folders', root, pairs, scale, '; '.join(text for text in (how, *found.notes) if text)
    )


def scene_folders(root: Path) -> Iterator[SceneFolders]:
    """Yield, sorted, folders that contain a folder of images and one of depth maps."""
    for folder, subfolders, _ in walk(root):
        names = {name.lower(): name for name in subfolders}
        pictures = next((names[name] for name in PICTURES if name in names), None)
        depths = next((names[name] for name in DEPTHS if name in names), None)
        if len(folder.relative_to(root).parts) >= _DEEPEST:
            subfolders.clear()
        if pictures and depths:
            subfolders.clear()
            yield SceneFolders(folder, folder / pictures, folder / depths)


def as_dataset(
    layout: str,
    root: Path,
    pairs: list[Pair],
    scale: float | None,
    note: str,
    default_scale: float | None = None,
) -> DepthDataset:
    """Create the data set of these pairs.

    Args:
        layout: name of the layout.
        root: folder to which the pairs are relative.
        pairs: images and depth maps.
        scale: units per metre, or None if not given.
        note: how the pairs were found.
        default_scale: units per metre if none are given; None = by the files' type.
    """
    sure = scale is not None
    scale = scale or default_scale or depth_files.natural_scale(root / pairs[0].depth)
    name = {1.0: 'float metres', 1000.0: '16-bit mm'} if not sure else {}
    return FolderPairs(
        layout,
        root,
        pairs,
        'raw',
        name.get(scale, f'{scale:g} units per metre'),
        note,
        partial(depth_files.read_depth, scale=scale),
        scale,
        sure,
    )


class FolderPairs(PairFiles):
    """Pairs whose image and depth map may differ in size, but not in aspect ratio."""

    def fitted(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return both at the smaller of the two sizes."""
        (rows, columns), (height, width) = rgb.shape[:2], depth.shape
        same = abs(columns * height - width * rows) <= _SAME_ASPECT * columns * height
        if (rows, columns) == (height, width) or not same:
            return rgb, depth
        if height > rows:
            return rgb, nearest(depth, rows, columns)
        return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), depth


def _found(root: Path, request: Request, scenes: Callable[[Path], Iterator[SceneFolders]]) -> Found:
    folder, note = _split_folder(root, request)
    found = Found(notes=[note], split_is_decided=folder != root)
    pictures: list[str] = []
    depths: list[str] = []
    for scene in scenes(folder):
        matches = match(*scene.names())
        place, depth_place = (_relative(path, root) for path in (scene.pictures, scene.depths))
        for picture, depth in matches.pairs:
            name = '/'.join(
                part
                for part in (_relative(scene.folder, folder), picture.rpartition('/')[0])
                if part
            )
            found.add(
                name or '.',
                _joined(place, picture),
                _joined(depth_place, depth),
                scene.folder,
                root,
            )
        pictures += [_joined(place, name) for name in matches.pictures]
        depths += [_joined(depth_place, name) for name in matches.depths]
    if not found.scenes:
        raise DataError(f'{folder}: ' + _nothing(pictures, depths))
    found.notes.append(left_over(pictures, depths))
    return found


def _nothing(pictures: list[str], depths: list[str]) -> str:
    if not pictures or not depths:
        return (
            f'there are {len(pictures)} pictures ({", ".join(PICTURE_SUFFIXES)}) and '
            f'{len(depths)} depth maps ({", ".join(depth_files.SUFFIXES)})'
        )
    return (
        f'no picture has a depth map of the same name, such as {pictures[0]} and {depths[0]}: '
        f'give them equal names, or list them in {LIST} with a first line "image,depth"'
    )


def _split_folder(root: Path, request: Request) -> tuple[Path, str]:
    """Return the folder of the split if folders of both splits exist, or else the root."""
    folders = {
        split: next((root / name for name in names if (root / name).is_dir()), None)
        for split, names in _SPLITS.items()
    }
    wanted = folders.get(request.split)
    if None in folders.values() or wanted is None or request.hold_out:
        return root, ''
    return wanted, f'{wanted.name} folder'


def _listed(file: Path, root: Path, request: Request) -> Found:
    """Return the pairs in a list, only those of the split if the list has such a column."""
    found = Found(notes=[f'list {file.name}'])
    missing: list[str] = []
    lonely: list[str] = []
    for row in _rows(file):
        picture, depth, split = row['image'], row['depth'], row.get('split')
        split = None if request.hold_out else split
        found.split_is_decided |= bool(split)
        if split and request.split != 'all' and split not in _SPLITS[request.split]:
            continue
        if not depth:
            lonely.append(picture)
            continue
        absent = [name for name in (picture, depth) if not (root / name).is_file()]
        missing += absent
        if not absent:
            found.add(
                row.get('scene') or Path(picture).parent.as_posix(),
                picture,
                depth,
                (root / picture).parent,
                root,
            )
    if not found.scenes:
        raise DataError(
            f'{file} names no pair that exists in {root}'
            + (f', such as {root / missing[0]}' if missing else '')
        )
    found.notes.append(left_over(lonely))
    found.notes += [f'{len(missing)} files are missing, first {missing[0]}'] if missing else []
    return found


def _rows(file: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(read_text(file).splitlines(), skipinitialspace=True)
    if reader.fieldnames is None or not {'image', 'depth'} <= set(reader.fieldnames):
        raise DataError(
            f'{file}: its first line must be "image,depth", optionally with "split" '
            f'and "scene", not "{",".join(reader.fieldnames or [])[:60]}"'
        )
    return [{key: (value or '').strip() for key, value in row.items() if key} for row in reader]


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Return the sorted names below a folder with one of the suffixes, in upper or lower case."""
    return sorted(
        Path(place, name).relative_to(folder).as_posix()
        for place, _, names in walk(folder)
        for name in names
        if name.lower().endswith(suffixes) and not name.startswith('.')
    )


def _joined(folder: str, name: str) -> str:
    return f'{folder}/{name}' if folder else name


def _relative(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return '' if relative == '.' else relative
