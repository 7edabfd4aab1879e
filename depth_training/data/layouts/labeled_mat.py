# SPDX-License-Identifier: Apache-2.0
"""`nyu_depth_v2_labeled.mat`: 1449 images with raw and filled depth, a MATLAB 7.3 (HDF5) file.

MATLAB stores columns first, so h5py sees every axis reversed: images (1449, 3, 640, 480), depths
and rawDepths (1449, 640, 480). Copies saved by Python may have rows first or channels last; as the
frames are landscape, the shapes show it. Images are read one by one: the file has 2.8 GB.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from depth_training.data.dataset import DepthDataset, PerProcess, Request
from depth_training.data.layouts.sync import nyu_camera
from depth_training.data.sample import DataError, Sample
from depth_training.data.splits import read_splits

if TYPE_CHECKING:
    import h5py

_HDF5 = b'\x89HDF\r\n\x1a\n'
_DEPTH_KEYS = {'filled': 'depths', 'raw': 'rawDepths'}


class Axes(NamedTuple):
    """Axis orders that transpose an image to (H, W, 3) and a depth map to (H, W)."""

    image: tuple[int, int, int]
    depth: tuple[int, int]


#: MATLAB's order, and the orders that Python may write.
_MATLAB = Axes((2, 1, 0), (1, 0))
_LAYOUTS = (_MATLAB, Axes((1, 2, 0), (0, 1)), Axes((0, 1, 2), (0, 1)))


def recognise(path: Path) -> bool:
    """Accept a .mat file, or a folder with one that is not `splits.mat`."""
    return _mat_file(path) is not None


def open_layout(request: Request) -> DepthDataset:
    """Open the file; `train` and `test` need `splits.mat` in the same folder.

    Raises:
        DataError: the file is of another kind, or there is no `splits.mat`.
    """
    file = _mat_file(request.path)
    if file is None:
        raise DataError(f'{request.path} holds no .mat file')
    _check_header(file)
    with _open(file) as content:
        axes = _axes(file, content)
        count = len(content['images'])
    indices, note = np.arange(count), 'all images'
    if request.split != 'all':
        splits_file = request.splits_file or file.parent / 'splits.mat'
        if not splits_file.exists():
            raise DataError(
                f'{splits_file} is missing: it says which images of {file.name} are '
                'for training; download it, or use all with --split all (training '
                'then needs --validation-data)'
            )
        indices, note = read_splits(splits_file)[request.split], f'official {request.split} split'
        if indices.max(initial=-1) >= count:
            raise DataError(
                f'{splits_file} names image {indices.max() + 1}, {file.name} has {count}'
            )
    note += '' if axes == _MATLAB else ', saved with rows first'
    return LabeledMat(file, indices, request.ground_truth == 'raw', note, axes)


class LabeledMat(DepthDataset):
    """Images of the labelled file by 0-based index.

    Args:
        file: the .mat file.
        indices: indices of the images.
        raw: use `rawDepths` (0 = missing) instead of `depths` (filled by colourisation).
        note: how the indices were chosen.
        axes: axis orders of the file as h5py sees them.
    """

    layout = 'labeled_mat'
    units = 'float metres'

    def __init__(self, file: Path, indices: np.ndarray, raw: bool, note: str, axes: Axes) -> None:
        self.axes = axes
        self.file, self.indices, self.note = file, indices, note
        self.ground_truth = 'raw' if raw else 'filled'
        self._content = PerProcess(partial(_open, file))

    def __len__(self) -> int:
        return len(self.indices)

    def source(self, index: int) -> str:
        """Return the file and the image's 0-based index in it."""
        return f'{self.file}, image {self.indices[index]}'

    def read(self, index: int) -> Sample:
        """Read the image and depth with rows first."""
        content, place = self._content.get(), int(self.indices[index])
        try:
            rgb = content['images'][place].transpose(self.axes.image)
            depth = content[_DEPTH_KEYS[self.ground_truth]][place].transpose(self.axes.depth)
        except OSError as error:
            raise DataError(
                f'{self.source(index)} cannot be read: the file is damaged or truncated'
            ) from error
        return Sample(
            np.ascontiguousarray(rgb),
            np.ascontiguousarray(depth, np.float32),
            f'{place:05d}',
            *nyu_camera(rgb.shape[1]),
        )


def _mat_file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix == '.mat' else None
    files = [file for file in sorted(path.glob('*.mat')) if file.name != 'splits.mat']
    return files[0] if files else None


def _check_header(file: Path) -> None:
    with file.open('rb') as stream:
        start = stream.read(520)
    if start.startswith(b'MATLAB 5.0'):
        raise DataError(
            f'{file} is a MATLAB 5.0 file; the labelled data set is MATLAB 7.3 '
            '(this may be splits.mat)'
        )
    if start[512:] != _HDF5 and not start.startswith(_HDF5):
        raise DataError(f'{file} is not a MATLAB 7.3 file')


def _open(file: Path) -> h5py.File:
    import h5py

    try:
        return h5py.File(file, 'r')
    except OSError as error:
        raise DataError(f'{file} is damaged or truncated') from error


def _axes(file: Path, content: h5py.File) -> Axes:
    """Return the file's axis orders after checking names, shapes and types."""
    for key in ('images', *_DEPTH_KEYS.values()):
        if key not in content:
            raise DataError(f'{file} has no "{key}": it is a different kind of .mat')
    images, depths = content['images'], content['depths']
    if images.ndim == 4 and images.dtype == np.uint8 and depths.ndim == 3:
        for axes in _LAYOUTS:
            height, width, channels = (images.shape[1 + axis] for axis in axes.image)
            sizes = [
                tuple(content[key].shape[1 + axis] for axis in axes.depth)
                for key in _DEPTH_KEYS.values()
            ]
            counts = {len(content[key]) for key in ('images', *_DEPTH_KEYS.values())}
            if (
                channels == 3
                and height < width
                and len(counts) == 1
                and sizes == [(height, width)] * 2
            ):
                return axes
    raise DataError(
        f'{file}: images {images.shape} and depths {depths.shape} '
        'are not the shapes of the labelled data set'
    )
