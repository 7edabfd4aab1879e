# SPDX-License-Identifier: Apache-2.0
"""One HDF5 file per frame (FastDepth, sparse-to-dense), in folders or in Hugging Face's tars.

`train/<scene>/00001.h5` and `val/official/*.h5`, keys `rgb` uint8 (3, H, W) and `depth` float32
(H, W) in metres, filled. The tars `train-*.tar` and `val-*.tar` are indexed once and read without
unpacking.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_perception.io.files import files_below
from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.image_files import read_bytes
from depth_training.data.layouts.sync import nyu_camera
from depth_training.data.sample import DataError, Sample

_SPLITS = {'train': ('train',), 'test': ('val', 'test'), 'all': ('train', 'val', 'test')}


class FramePlace(NamedTuple):
    """Location of one HDF5 file: a file, or `size` bytes from `offset` in a tar."""

    file: Path
    name: str
    offset: int = 0
    size: int | None = None


def recognise(path: Path) -> bool:
    """Accept a folder (or tar) of .h5 files named as above."""
    if path.is_file():
        return path.suffix == '.tar'
    return any(True for split in ('train', 'test') for _ in _containers(path, split))


def open_layout(request: Request) -> DepthDataset:
    """Open the folder or tars of the split; a single tar is used as a whole.

    Raises:
        DataError: there is no frame of the split, or a tar is damaged.
    """
    containers = (
        [request.path] if request.path.is_file() else list(_containers(request.path, request.split))
    )
    frames = [frame for container in containers for frame in _frames(container, request.path)]
    if not frames:
        raise DataError(f'{request.path} has no .h5 frame of split {request.split!r}')
    return H5Frames(request.path, frames, f'{request.split} part')


class H5Frames(DepthDataset):
    """Frames in folders and tars; a file is opened only while it is read."""

    layout = 'h5_frames'
    ground_truth = 'filled'
    units = 'float metres'

    def __init__(self, path: Path, frames: list[FramePlace], note: str) -> None:
        self.path, self.frames, self.note = path, tuple(frames), note

    def __len__(self) -> int:
        return len(self.frames)

    def source(self, index: int) -> str:
        """Return the .h5 file's path, or its tar's path and its name."""
        frame = self.frames[index]
        return str(frame.file) if frame.size is None else f'{frame.file}/{frame.name}'

    def read(self, index: int) -> Sample:
        """Read the image, with channels last, and depth."""
        import h5py

        frame, source = self.frames[index], self.source(index)
        try:
            with h5py.File(io.BytesIO(_read(frame)), 'r') as content:
                rgb, depth = content['rgb'][()], content['depth'][()]
        except KeyError as error:
            raise DataError(f'{source} lacks "rgb" or "depth"') from error
        except OSError as error:
            raise DataError(f'{source} is truncated or not an HDF5 file') from error
        if rgb.ndim != 3 or rgb.shape[0] != 3 or rgb.dtype != np.uint8:
            raise DataError(f'{source}: "rgb" is {rgb.dtype} {rgb.shape}, not uint8 (3, H, W)')
        if rgb.shape[1] > rgb.shape[2]:
            raise DataError(
                f'{source}: "rgb" is {rgb.shape}, a portrait image, but NYU\'s are '
                'landscape: rows and columns are swapped; save it as (3, H, W)'
            )
        return Sample(
            np.ascontiguousarray(rgb.transpose(1, 2, 0)),
            depth.astype(np.float32),
            frame.name.rsplit('.', 1)[0],
            *nyu_camera(rgb.shape[2]),
        )


def _containers(path: Path, split: str) -> Iterator[Path]:
    """Yield folders and tars with the split, below `path` or its `data` folder."""
    for root in (path, path / 'data'):
        for name in _SPLITS[split]:
            if any(True for _ in files_below(root / name, '*.h5')):
                yield root / name
            yield from sorted(root.glob(f'{name}-*.tar'))


def _frames(container: Path, root: Path) -> Iterator[FramePlace]:
    if container.is_dir():
        for file in sorted(files_below(container, '*.h5')):
            yield FramePlace(file, file.relative_to(root).as_posix())
        return
    try:
        with tarfile.open(container, 'r:') as archive:
            members = [member for member in archive if member.name.endswith('.h5')]
    except (tarfile.TarError, OSError) as error:
        raise DataError(f'{container} is damaged, truncated or not a tar ({error})') from error
    for member in members:
        yield FramePlace(container, member.name, member.offset_data, member.size)


def _read(frame: FramePlace) -> bytes:
    if frame.size is None:
        return read_bytes(frame.file)
    with frame.file.open('rb') as stream:
        stream.seek(frame.offset)
        content = stream.read(frame.size)
    if len(content) < frame.size:
        raise DataError(f'{frame.file}/{frame.name} is truncated')
    return content
