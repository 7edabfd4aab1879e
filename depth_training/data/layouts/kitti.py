# SPDX-License-Identifier: Apache-2.0
"""KITTI: raw drives next to the annotated depth maps of the depth benchmark.

`[train|val]/<drive>/proj_depth/groundtruth/image_02/<frame>.png` (16 bits, 256 units per metre, 0 =
unknown) and `<date>/<drive>/image_02/data/<frame>.png` or `.jpg`, both at most three folders down,
with `<date>/calib_cam_to_cam.txt`. A list `eigen_train_files*.txt` or `eigen_test_files*.txt` in
the folder (with BTS's rows of images and depth maps, or monodepth's of drive, frame and side)
defines the Eigen split. Without a list the folders `train` and `val` decide, which is not the Eigen
split. If there are `velodyne_points` next to the images, the raw laser points can be the ground
truth (`depth_training.data.layouts.kitti_laser`). Only the left colour camera is used, unless a
list names others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.depth_files import read_depth
from depth_training.data.image_files import read_text
from depth_training.data.layouts.kitti_laser import FOLDER, LaserPairs
from depth_training.data.matching import left_over
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError

SCALE = 256.0
_TRUTH, _LEFT = 'proj_depth/groundtruth', 'image_02'
_SPLITS = {'train': ('train',), 'test': ('val',), 'all': ('train', 'val')}
_DRIVE = re.compile(r'\d{4}_\d\d_\d\d_drive_\d{4}_sync')
_SIDES = {'l': 'image_02', 'r': 'image_03'}


class KittiFrame(NamedTuple):
    """Drive, frame and camera of one image."""

    drive: str
    camera: str
    number: str

    def __str__(self) -> str:
        return '/'.join(self)


def recognise(path: Path) -> bool:
    """Accept a folder with annotated depth maps at most three levels down."""
    return path.is_dir() and bool(_drives(path, _TRUTH))


def open_layout(request: Request) -> DepthDataset:
    """Open the annotated frames of the split, or with `laser` truth those with laser points.

    Raises:
        DataError: no frame has both image and depth map, or the list is malformed.
    """
    root = request.path
    pictures, depths = _drives(root, f'{_LEFT}/data'), _drives(root, _TRUTH)
    listed = request.list_file or _find_list(root, request.split)
    frames = list(_read_list(listed)) if listed else list(_annotated(depths, request.split))
    laser = request.ground_truth == 'laser' and any(
        (folder / FOLDER).is_dir() for folder in pictures.values()
    )
    files = [
        (
            frame,
            _picture(pictures, frame),
            _points(pictures, frame) if laser else _depth(depths, frame),
        )
        for frame in frames
    ]
    pairs = [
        _pair(root, picture, depth, pictures[frame.drive].parent, frame.camera)
        for frame, picture, depth in files
        if picture and depth
    ]
    without = [str(frame) for frame, picture, depth in files if not (picture and depth)]
    if not pairs:
        example = f', such as {frames[0]},' if frames else ''
        raise DataError(
            f'{root}: of {len(frames)} frames{example} none has both its picture and its depth map'
        )
    note = (
        f'list {listed.name}'
        if listed
        else f'{request.split} part of the depth benchmark, which is not the Eigen split'
    )
    note = '; '.join(filter(None, (note, left_over(without))))
    return _opened(root, pairs, laser, note)


def _opened(root: Path, pairs: list[Pair], laser: bool, note: str) -> DepthDataset:
    if laser:
        return LaserPairs(
            'kitti',
            root,
            pairs,
            'laser',
            'points in metres',
            note,
            depth_scale=1.0,
            unit_is_sure=True,
        )
    return PairFiles(
        'kitti',
        root,
        pairs,
        'raw',
        '256 units per metre',
        note,
        partial(read_depth, scale=SCALE),
        SCALE,
        unit_is_sure=True,
    )


def _pair(root: Path, picture: Path, depth: Path, date: Path, camera: str) -> Pair:
    return Pair(
        picture.relative_to(root).as_posix(),
        depth.relative_to(root).as_posix(),
        *_camera(date, camera),
    )


def _drives(root: Path, inner: str) -> dict[str, Path]:
    """Return the folder of each drive that contains a certain inner folder, by the drive's name."""
    found = {}
    for depth in range(4):
        for path in root.glob('*/' * depth + inner):
            folder = path.parents[inner.count('/')]
            found[folder.name] = folder
    return found


def _annotated(depths: dict[str, Path], split: str) -> Iterator[KittiFrame]:
    """Yield all frames of the split's folders that have a depth map of the left camera."""
    for drive, folder in sorted(depths.items()):
        if folder.parent.name in _SPLITS[split] or split == 'all':
            for file in sorted((folder / _TRUTH / _LEFT).glob('*.png')):
                yield KittiFrame(drive, _LEFT, file.stem)


def _find_list(root: Path, split: str) -> Path | None:
    files = sorted(root.glob(f'eigen_{split}_files*.txt'))
    return files[0] if files and split != 'all' else None


def _read_list(file: Path) -> Iterator[KittiFrame]:
    for number, line in enumerate(read_text(file).splitlines(), 1):
        columns = line.split()
        if not columns:
            continue
        drive = _DRIVE.search(columns[0])
        if drive and '.' in columns[0]:
            path = Path(columns[0])
            camera = next((part for part in path.parts if part in _SIDES.values()), _LEFT)
            yield KittiFrame(drive.group(), camera, path.stem)
        elif drive and len(columns) == 3 and columns[2] in _SIDES:
            yield KittiFrame(drive.group(), _SIDES[columns[2]], f'{int(columns[1]):010d}')
        else:
            raise DataError(
                f'{file} line {number}: "{line[:60].strip()}" is not an image of a drive'
            )


def _picture(drives: dict[str, Path], frame: KittiFrame) -> Path | None:
    if frame.drive not in drives:
        return None
    stem = drives[frame.drive] / frame.camera / 'data' / frame.number
    return next(
        (file for suffix in ('.png', '.jpg') if (file := stem.with_suffix(suffix)).is_file()), None
    )


def _depth(drives: dict[str, Path], frame: KittiFrame) -> Path | None:
    if frame.drive not in drives:
        return None
    file = drives[frame.drive] / _TRUTH / frame.camera / f'{frame.number}.png'
    return file if file.is_file() else None


def _points(drives: dict[str, Path], frame: KittiFrame) -> Path | None:
    if frame.drive not in drives:
        return None
    file = drives[frame.drive] / FOLDER / f'{frame.number}.bin'
    return file if file.is_file() else None


@lru_cache(maxsize=64)
def _camera(date: Path, camera: str) -> tuple[float | None, float | None, int | None]:
    """Return fx, cx and width of a rectified colour camera, or None each without calibration."""
    file = date / 'calib_cam_to_cam.txt'
    if not file.is_file():
        return None, None, None
    lines = dict(line.split(':', 1) for line in read_text(file).splitlines() if ':' in line)
    try:
        number = camera[-2:]
        matrix = [float(value) for value in lines[f'P_rect_{number}'].split()]
        return matrix[0], matrix[2], int(float(lines[f'S_rect_{number}'].split()[0]))
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f'{file} has no P_rect and S_rect of {camera} ({error})') from error
