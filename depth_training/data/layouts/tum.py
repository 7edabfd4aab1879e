# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D: sequences with `rgb.txt` and `depth.txt`, which give the time of each file.

Rows are `time file`; depth is a 16-bit PNG, 5000 units per metre. Each image is paired with the
depth map nearest in time, at most 20 ms away; each is used once, as in TUM's associate.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from depth_training.data.camera_files import Camera, common_scale, read_camera
from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.image_files import read_text
from depth_training.data.layouts.folders import as_dataset
from depth_training.data.matching import left_over, match_times
from depth_training.data.pairs import Pair
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose

_LISTS = ('rgb.txt', 'depth.txt')
_SCALE = 5000.0
#: fx and cx of the colour cameras at 640x480, by the number in `freiburg1` (the data set's page).
_CAMERAS = {'1': (517.3, 318.6), '2': (520.9, 325.1), '3': (535.4, 320.1)}
_WIDTH = 640


def recognise(path: Path) -> bool:
    """Accept a sequence, or a folder of sequences."""
    return path.is_dir() and bool(_sequences(path))


def open_layout(request: Request) -> DepthDataset:
    """Open one or all sequences; `hold_out` names the test sequences.

    Raises:
        DataError: a list is malformed, or no image has a depth map within 20 ms.
    """
    scenes: dict[str, list[Pair]] = {}
    pictures: list[str] = []
    depths: list[str] = []
    cameras: dict[Path, Camera] = {}
    for folder in _sequences(request.path):
        prefix = '' if folder == request.path else f'{folder.relative_to(request.path).as_posix()}/'
        cameras[folder] = _camera(folder, request.path)
        first, second = (list(_rows(folder / name, prefix)) for name in _LISTS)
        matches = match_times(first, second)
        scenes[prefix.rstrip('/') or '.'] = [
            Pair(rgb, depth, *cameras[folder][:3]) for rgb, depth in matches.pairs
        ]
        pictures += matches.pictures
        depths += matches.depths
    scenes = {name: pairs for name, pairs in scenes.items() if pairs}
    if not scenes:
        raise DataError(
            f'{request.path}: no picture of rgb.txt has a depth map of depth.txt within 20 ms'
        )
    pairs, note = choose(scenes, request)
    note = '; '.join(text for text in (note, left_over(pictures, depths)) if text)
    scale = request.depth_scale or common_scale(request.path, cameras.values())
    return as_dataset('tum', request.path, pairs, scale, note, _SCALE)


def _sequences(path: Path) -> list[Path]:
    patterns = ('rgb.txt', '*/rgb.txt', '*/*/rgb.txt')
    return sorted(
        file.parent
        for pattern in patterns
        for file in path.glob(pattern)
        if (file.parent / _LISTS[1]).is_file()
    )


def _rows(file: Path, prefix: str) -> Iterator[tuple[float, str]]:
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        try:
            time, name = line.split()
            yield float(time), prefix + name
        except ValueError:
            raise DataError(
                f'{file} line {number}: "{line[:60].strip()}" is not "time file"'
            ) from None


def _camera(folder: Path, root: Path) -> Camera:
    """Return the camera of `camera.json`, or the Freiburg camera in the folder's name."""
    camera = read_camera(folder, root)
    named = re.search(r'freiburg([123])', folder.resolve().name)
    if camera.fx is None and named:
        fx, cx = _CAMERAS[named.group(1)]
        return Camera(fx, cx, _WIDTH, camera.depth_scale)
    return camera
