# SPDX-License-Identifier: Apache-2.0
"""The `packed` layout: thousands of RGB-D views in one small file, easy to copy to a GPU machine.

A zip file whose members are stored without further compression:

* `index.json`: the format's version, `bits`, `near`, `far`, the size, and for each view its name,
  `fx`, `cx` and `split`;
* `00000.rgb.webp`: the colour image, lossy WebP;
* `00000.depth.webp`: depth as integers on a logarithmic scale, lossless WebP; the high byte is in
  the red channel, the low byte in the green one, 0 = unknown.

With 10 bits from 0.2 m to 20 m a step is 0.45 %, so depth is off by at most 0.23 %. A view of
320x240 pixels takes about 14 kB.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.io.files import write_atomically
from depth_perception.reading import refuse_device
from depth_training.data.dataset import DepthDataset, PerProcess, Request
from depth_training.data.sample import DataError, Sample

INDEX = 'index.json'
KIND = 'depth_perception packed views'
VERSION = 1


@dataclass(frozen=True)
class DepthCode:
    """Depth as integers: 0 = unknown, 1 to 2^bits - 1 on a logarithmic scale.

    Attributes:
        bits: bits of an integer.
        near, far: metres of the smallest and largest integer; depth outside is clipped to them.

    Examples:
        >>> import numpy as np
        >>> from depth_training.data.layouts.packed import DepthCode
        >>> code = DepthCode()
        >>> metres = code.decode(code.encode(np.array([[0.0, 1.0, 5.0]], np.float32)))
        >>> [round(float(value), 2) for value in metres[0]]
        [0.0, 1.0, 4.99]
    """

    bits: int = 10
    near: float = 0.2
    far: float = 20.0

    def __post_init__(self) -> None:
        if not 8 <= self.bits <= 16:
            raise ValueError(f'bits is {self.bits}: choose 8 to 16')
        if not 0 < self.near < self.far:
            raise ValueError(f'near {self.near} m must be above 0 and below far {self.far} m')

    @property
    def table(self) -> NDArray[np.float32]:
        """Metres of each integer, float32 (2^bits,)."""
        steps = np.arange(2**self.bits - 1) / (2**self.bits - 2)
        metres = self.near * np.exp(steps * math.log(self.far / self.near))
        return np.concatenate([[0], metres]).astype(np.float32)

    def encode(self, depth: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Convert metres (H, W), 0 = unknown, to integers."""
        share = np.log(np.clip(depth, self.near, self.far) / self.near) / math.log(
            self.far / self.near
        )
        return np.where(depth > 0, 1 + np.round(share * (2**self.bits - 2)), 0).astype(np.uint16)

    def decode(self, numbers: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Convert integers to metres, 0 = unknown."""
        return self.table[numbers]


def write_pack(
    path: Path,
    views: Iterable[tuple[Sample, str]],
    code: DepthCode | None = None,
    quality: int = 80,
) -> int:
    """Write a packed file; an existing one is replaced only by a complete one.

    Args:
        path: file to write; its folder must exist.
        views: samples of one size, each with its split, `train` or `test`.
        code: encoding of depth; None is 10 bits from 0.2 m to 20 m.
        quality: WebP quality of the colour images, 0 to 100.

    Returns:
        Number of views written.

    Raises:
        DataError: there are no views, sizes differ, or a focal length is unknown.
        OSError: the file cannot be written; no partial file is left.
    """
    code = code or DepthCode()
    entries: list[dict[str, Any]] = []
    size: tuple[int, int] | None = None
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_STORED) as archive:
        for sample, split in views:
            size = size or sample.depth.shape
            entries.append(_entry(sample, split, size))
            name = f'{len(entries) - 1:05d}'
            archive.writestr(f'{name}.rgb.webp', _webp(sample.rgb, quality=quality, method=4))
            archive.writestr(f'{name}.depth.webp', _depth_webp(code.encode(sample.depth)))
        if size is None:
            raise DataError('there are no views to pack')
        archive.writestr(
            INDEX,
            json.dumps(
                {
                    'kind': KIND,
                    'version': VERSION,
                    **asdict(code),
                    'height': size[0],
                    'width': size[1],
                    'views': entries,
                }
            ),
        )
    write_atomically(path, [content.getbuffer()])
    return len(entries)


def _entry(sample: Sample, split: str, size: tuple[int, int]) -> dict[str, Any]:
    if sample.depth.shape != size:
        raise DataError(
            f'{sample.id} is {sample.depth.shape[1]}x{sample.depth.shape[0]}, but the '
            f'views before it are {size[1]}x{size[0]}; they must be of one size: give --size '
            'WIDTHxHEIGHT'
        )
    if sample.fx is None:
        raise DataError(f'{sample.id} has no focal length, which packed views need')
    centre = (size[1] - 1) / 2 if sample.cx is None else sample.cx
    return {'name': sample.id, 'fx': sample.fx, 'cx': centre, 'split': split}


def _webp(rgb: NDArray[np.uint8], **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, 'WEBP', **options)
    return buffer.getvalue()


def _depth_webp(numbers: NDArray[np.uint16]) -> bytes:
    planes = [numbers >> 8, numbers & 255, np.zeros_like(numbers)]
    # Method 6 would take 20 times as long for 1 % less.
    return _webp(np.dstack(planes).astype(np.uint8), lossless=True, quality=100, method=2)


class PackedViews(DepthDataset):
    """The views of one split in a packed file."""

    layout, ground_truth = 'packed', 'exact'

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self._archive = PerProcess(partial(zipfile.ZipFile, path))
        try:
            refuse_device(path)
            archive = self._archive.get()
        except FileNotFoundError:
            raise DataError(
                f'{path} does not exist: depth_training.data.pack_rooms writes such files'
            ) from None
        except zipfile.BadZipFile as error:
            raise DataError(
                f'{path} is not a complete file of depth_training.data.pack_rooms ({error})'
            ) from error
        index = _read_index(archive, path)
        self.code = DepthCode(index['bits'], index['near'], index['far'])
        self.units = f'{self.code.bits}-bit logarithm'
        self.size = (index['height'], index['width'])
        self.views = [
            {**view, 'number': number}
            for number, view in enumerate(index['views'])
            if split in ('all', view['split'])
        ]
        if not self.views:
            raise DataError(f'{path} has no views of the split {split!r}')
        rooms = {view['name'].partition('/')[0] for view in self.views}
        self.note = f'{split} part, {len(rooms)} rooms'

    def __len__(self) -> int:
        return len(self.views)

    def source(self, index: int) -> str:
        """Return the file and the view's name in it."""
        return f'{self.path}, {self.views[index]["name"]}'

    def read(self, index: int) -> Sample:
        """Decode one view."""
        view = self.views[index]
        rgb, numbers = self.read_numbers(index)
        return Sample(rgb, self.code.decode(numbers), view['name'], view['fx'], view['cx'])

    def read_numbers(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Read the image, uint8 (H, W, 3), and the encoded depth, uint16 (H, W)."""
        archive, number = self._archive.get(), self.views[index]['number']
        rgb = _decode(archive.read(f'{number:05d}.rgb.webp'), self.source(index))
        planes = _decode(archive.read(f'{number:05d}.depth.webp'), self.source(index))
        planes = planes.astype(np.uint16)
        numbers: NDArray[np.uint16] = planes[..., 0] << np.uint16(8) | planes[..., 1]
        return rgb, numbers

    def read_all(
        self,
        threads: int | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Read all views: images uint8 (N, H, W, 3), encoded depth uint16 (N, H, W)."""
        rgb = np.empty((len(self), *self.size, 3), np.uint8)
        numbers = np.empty((len(self), *self.size), np.uint16)

        def fill(index: int) -> None:
            rgb[index], numbers[index] = self.read_numbers(index)

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            list(pool.map(fill, range(len(self))))
        return rgb, numbers


def _decode(data: bytes, source: str) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f'{source}: its WebP image cannot be decoded')
    return np.ascontiguousarray(image[..., ::-1])


def recognise(path: Path) -> bool:
    """Accept a zip file with this format's index."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return INDEX in archive.namelist() and archive.read(INDEX)[:100].find(KIND.encode()) >= 0


def open_layout(request: Request) -> DepthDataset:
    """Open a packed file.

    Raises:
        DataError: the index is malformed or from a newer version, or the split is empty.
    """
    return PackedViews(request.path, request.split)


def _read_index(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        index = json.loads(archive.read(INDEX))
        if index['version'] != VERSION:
            raise DataError(
                f'{path} is of version {index["version"]}, this program reads '
                f'{VERSION}: update depth_perception'
            )
        for view in index['views']:
            if not (view['fx'] > 0 and view['split'] in ('train', 'test') and view['name']):
                raise ValueError(view)
        return index
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f'{path}: its {INDEX} is malformed ({error})') from error
