# SPDX-License-Identifier: Apache-2.0
"""Summarise a data set before training: print statistics and draw a sheet of pairs."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.visualise import colourise
from depth_perception.io.files import write_atomically
from depth_perception.progress import tracked
from depth_training.data import DataError, DepthDataset, Sample, evenly, open_dataset
from depth_training.data.sample import UnitError
from depth_training.data.units import check_units
from depth_training.evaluate.pictures import jpeg, labelled
from depth_training.options import CheckDataOptions

#: Width and height of an image on the sheet, and pairs per row.
_CELL, _COLUMNS = (200, 150), 2
#: How lines begin that say why `train` would refuse the data.
_REFUSED = ('training: none, ', 'validation: none, ')
#: Largest number of depths to sample from each pair.
_DEPTHS = 20_000
#: Largest number of bad pairs, sizes and folders to print.
_NAMED = 5


@dataclass
class Findings:
    """Statistics of the pairs read.

    Attributes:
        sizes: number of pairs by width x height.
        focals: number of pairs by rounded focal length / width; None = unknown.
        depths: some known depths of each pair in metres.
        holes: share of unknown pixels in each pair.
        bad: one sentence for each pair that cannot be used.
        turned: number of pictures that their EXIF orientation turns or mirrors.
    """

    sizes: Counter[str] = field(default_factory=Counter)
    focals: Counter[float | None] = field(default_factory=Counter)
    depths: list[NDArray[np.float32]] = field(default_factory=list)
    holes: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    turned: int = 0

    def add(self, sample: Sample) -> None:
        """Add one pair."""
        height, width = sample.depth.shape
        self.sizes[f'{width}x{height}'] += 1
        self.focals[sample.fx and round(sample.fx / width, 3)] += 1
        known = sample.depth[sample.depth > 0]
        self.depths.append(known[:: max(1, known.size // _DEPTHS)])
        self.holes.append(float((sample.depth == 0).mean()))


def check_data(options: CheckDataOptions) -> int:
    """Print the findings and write the sheet; return 1 if the data cannot be trained on.

    Raises:
        DataError: there are no pairs.
        OSError: the sheet cannot be written.
    """
    arguments: dict[str, Any] = {
        'depth_scale': options.depth_scale,
        'list_file': options.list_file,
        'check': False,
    }
    dataset = open_dataset(options.data, 'all', **arguments)
    _say(dataset.describe())
    findings = read(evenly(dataset, options.read))
    parts = _parts(options, arguments)
    for line in (_folders(dataset), *described(findings), *parts):
        _say(line)
    file = options.out or Path(f'{options.data.resolve().stem}_pairs.jpg')
    picture = sheet(evenly(dataset, options.shown))
    if picture is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, [jpeg(picture)])
        _say(f'sheet: {file} (picture, depth, overlay of both; red = near, blue = far)')
    return _verdict(dataset, findings) or int(any(part.startswith(_REFUSED) for part in parts))


def _folders(dataset: DepthDataset) -> str:
    """List the folders of the images, those with most images first."""
    counter = Counter(str(Path(dataset.source(index)).parent) for index in range(len(dataset)))
    return f'folders: {len(counter)}, ' + _counted(counter) + ' ...' * (len(counter) > _NAMED)


def read(dataset: DepthDataset) -> Findings:
    """Read all pairs and collect statistics."""
    findings = Findings()
    for index in tracked(range(len(dataset)), 'read', ' pairs'):
        try:
            findings.add(dataset[index])
        except DataError as error:
            findings.bad.append(str(error))
        findings.turned += _is_turned(dataset.source(index))
    return findings


def _is_turned(picture: str) -> bool:
    """Tell whether a picture file has an EXIF orientation other than upright."""
    try:
        from PIL import ExifTags, Image

        with Image.open(picture) as opened:
            return opened.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    except Exception:  # Pillow's plugins raise all kinds of errors
        return False


def described(findings: Findings) -> Iterator[str]:
    """Yield the findings line by line."""
    good = len(findings.holes)
    yield f'read: {good + len(findings.bad)} pairs, {len(findings.bad)} of them bad'
    yield from (f'  {text}' for text in findings.bad[:_NAMED])
    if findings.turned:
        yield (
            f'turned: {findings.turned} pictures, as their EXIF orientation says; depth maps are '
            'taken as stored: look at the sheet whether both agree, and if not, remove the '
            'orientation of the pictures (exiftool -Orientation=)'
        )
    if not good:
        return
    yield 'sizes: ' + _counted(findings.sizes)
    depth = np.concatenate(findings.depths)
    low, median, high = np.percentile(depth, [1, 50, 99])
    yield (
        f'depth: {low:.2f} to {high:.2f} m (1 and 99 %), median {median:.2f} m, farthest '
        f'{depth.max():.2f} m'
    )
    yield (
        f'holes: {100 * np.mean(findings.holes):.1f} % of the pixels, '
        f'{sum(share > 0.5 for share in findings.holes)} pairs with more than half'
    )
    known = sorted(share for share in findings.focals if share is not None)
    yield 'focal length: ' + ', '.join(
        ([_focals(known)] if known else []) + ['unknown'] * (None in findings.focals)
    )
    if None in findings.focals:
        yield (
            '  with unknown focal length, depth is learnt for that camera only, and finetune '
            'needs it: write {"horizontal_fov_deg": 62} or fx, cx and width into camera.json '
            '(docs/own_data.md)'
        )


def sheet(dataset: DepthDataset) -> NDArray[np.uint8] | None:
    """Draw pairs as image, depth and overlay, RGB; return None if all are bad."""
    cells = []
    for index in range(len(dataset)):
        try:
            cells.append(_cell(dataset[index]))
        except DataError:
            continue
    if not cells:
        return None
    while len(cells) % _COLUMNS:
        cells.append(np.zeros_like(cells[0]))
    return np.concatenate(
        [
            np.concatenate(cells[start : start + _COLUMNS], axis=1)
            for start in range(0, len(cells), _COLUMNS)
        ]
    )


def _cell(sample: Sample) -> NDArray[np.uint8]:
    known = sample.depth > 0
    near, far = np.percentile(sample.depth[known], [1, 99])
    depth = colourise(
        np.where(known, sample.depth, np.nan).astype(np.float32),
        float(near),
        float(max(far, near + 0.01)),
    )[..., ::-1]
    both = cv2.addWeighted(sample.rgb, 0.5, np.ascontiguousarray(depth), 0.5, 0)
    parts = [_fitted(part) for part in (sample.rgb, depth, both)]
    parts[0] = labelled(parts[0], sample.id.rpartition('/')[2][-16:])
    parts[1] = labelled(parts[1], f'{near:.1f} to {far:.1f} m')
    return np.concatenate(parts, axis=1)


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fit the image into the middle of a cell, with its aspect ratio."""
    height, width = picture.shape[:2]
    scale = min(_CELL[0] / width, _CELL[1] / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    cell = np.zeros((_CELL[1], _CELL[0], 3), np.uint8)
    top, left = (_CELL[1] - size[1]) // 2, (_CELL[0] - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    return cell


def _parts(options: CheckDataOptions, arguments: dict) -> list[str]:
    """Return what would be trained and validated on, or why `train` would refuse it."""
    if options.list_file:
        count = len(open_dataset(options.data, 'all', **arguments))
        return [f'training: {count} pairs of the list', 'validation: what --validation-data gives']
    lines = []
    for split, name in (('train', 'training'), ('test', 'validation')):
        try:
            part = open_dataset(options.data, split, hold_out=options.hold_out, **arguments)
            lines.append(f'{name}: {len(part)} pairs' + (f' ({part.note})' if part.note else ''))
        except DataError as error:
            lines.append(f'{name}: none, {error}')
    return lines


def _verdict(dataset: DepthDataset, findings: Findings) -> int:
    if not findings.holes:
        raise DataError('no pair can be used')
    if not dataset.unit_is_sure:
        try:
            check_units(dataset)
        except UnitError as error:
            _say(f'refused: {error}')
            return 1
    return 0


def _counted(counter: Counter[str]) -> str:
    return ', '.join(f'{name} ({count})' for name, count in counter.most_common(_NAMED))


def _focals(shares: list[float]) -> str:
    """Describe sorted focal lengths over the width."""
    angles = [f'{math.degrees(2 * math.atan(0.5 / share)):.0f}' for share in shares]
    if len(shares) == 1:
        return f'{shares[0]:g} of the width (field of view {angles[0]} degrees)'
    return (
        f'{shares[0]:g} to {shares[-1]:g} of the width '
        f'(field of view {angles[-1]} to {angles[0]} degrees)'
    )


def _say(text: str) -> None:
    sys.stdout.write(text + '\n')
    sys.stdout.flush()
