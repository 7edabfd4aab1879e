# SPDX-License-Identifier: Apache-2.0
"""DenseDepth's data: a zip or folder with `data/nyu2_train.csv` and `data/nyu2_test.csv`.

Rows are `rgb.jpg,depth.png` without a header; some copies have CRLF. Training depth has 8 bits
(255 = 10 m, steps of 39 mm), test depth 16 bits (millimetres): the bit depth of the PNG decides,
not its name. Depth is filled.
"""

from __future__ import annotations

import csv
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset, PerProcess, Request
from depth_training.data.image_files import (
    decode_depth,
    decode_rgb,
    decode_text,
    densedepth_metres,
    read_bytes,
)
from depth_training.data.layouts.sync import nyu_camera
from depth_training.data.pairs import Pair
from depth_training.data.sample import DataError, Sample

_SPLITS = ('train', 'test')


def recognise(path: Path) -> bool:
    """Accept a zip, a folder, or its `data` folder, with at least one of the two lists."""
    return bool(_lists(path))


def open_layout(request: Request) -> DepthDataset:
    """Open the zip or folder.

    Raises:
        DataError: the list of the split is missing, empty or malformed.
    """
    lists = _lists(request.path)
    wanted = _SPLITS if request.split == 'all' else (request.split,)
    pairs: list[Pair] = []
    for split in wanted:
        if split not in lists:
            raise DataError(f'{request.path} has no nyu2_{split}.csv')
        pairs += _rows(request.path, lists[split])
    if not pairs:
        raise DataError(f'{request.path}: nyu2_{wanted[0]}.csv is empty')
    return DenseDepthFiles(request.path, _root(lists[wanted[0]]), pairs, request.split)


class DenseDepthFiles(DepthDataset):
    """Pairs in a zip or folder; each worker process opens the zip itself."""

    layout = 'densedepth'
    ground_truth = 'filled'
    units = '8-bit (255 = 10 m) or 16-bit mm'
    depth_scale = 1000.0

    def __init__(self, path: Path, root: str, pairs: list[Pair], split: str) -> None:
        self.path, self.root, self.pairs = path, root, tuple(pairs)
        self.note = f'{split} part' + (', from a zip' if path.is_file() else '')
        self._zip = PerProcess(partial(_open_zip, path)) if path.is_file() else None

    def __len__(self) -> int:
        return len(self.pairs)

    def source(self, index: int) -> str:
        """Return the colour file's path."""
        return f'{self.path}/{self.root}{self.pairs[index].rgb}'

    def read(self, index: int) -> Sample:
        """Decode both files."""
        pair = self.pairs[index]
        rgb = decode_rgb(self._bytes(pair.rgb), self.source(index))
        name = f'{self.path}/{self.root}{pair.depth}'
        depth: NDArray[np.float32] = densedepth_metres(decode_depth(self._bytes(pair.depth), name))
        return Sample(rgb, depth, pair.rgb.rsplit('.', 1)[0], *nyu_camera(rgb.shape[1]))

    def use_scale(self, depth_scale: float) -> None:
        """Refuse the scale: 8-bit and 16-bit depth have different scales in this layout.

        Raises:
            DataError: always.
        """
        raise DataError(
            f'{self.path}: this layout fixes its units ({self.units}); omit --depth-scale'
        )

    def _bytes(self, name: str) -> bytes:
        if self._zip is None:
            return read_bytes(self.path / self.root / name)
        return _read_member(self._zip.get(), self.path, self.root + name)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f'{path} is damaged, truncated or not a zip ({error})') from error


def _read_member(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise DataError(f'{path}/{name} is missing') from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f'{path}/{name} is damaged ({error})') from error


def _lists(path: Path) -> dict[str, str]:
    """Map each split to its list's name in the zip or folder, such as `data/nyu2_train.csv`."""
    if path.is_dir():
        names = [f'{folder}nyu2_{split}.csv' for folder in ('data/', '') for split in _SPLITS]
        present = [name for name in names if (path / name).is_file()]
    elif path.suffix == '.zip' and path.is_file():
        with _open_zip(path) as archive:
            present = [name for name in archive.namelist() if '__MACOSX' not in name]
    else:
        return {}
    return {
        split: name
        for split in _SPLITS
        for name in present
        if PurePosixPath(name).name == f'nyu2_{split}.csv'
    }


def _root(list_name: str) -> str:
    """Return the folder to which rows are relative, '' or with a final slash.

    It is the folder that contains `data`; for a folder that is itself `data`, its parent.
    """
    folder = PurePosixPath(list_name).parent
    if folder.name == 'data':
        return '' if str(folder.parent) == '.' else f'{folder.parent}/'
    return '../' if str(folder) == '.' else f'{folder}/'


def _rows(path: Path, name: str) -> list[Pair]:
    if path.is_dir():
        content = read_bytes(path / name)
    else:
        with _open_zip(path) as archive:
            content = _read_member(archive, path, name)
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(decode_text(content, f'{path}/{name}').splitlines())
    ]
    for number, row in enumerate(rows, 1):
        if row and (len(row) != 2 or not all(row)):
            raise DataError(
                f'{path}/{name} line {number}: "{",".join(row)[:60]}" is not "rgb,depth"'
            )
    return [Pair(row[0].lstrip('/'), row[1].lstrip('/')) for row in rows if row]
