# SPDX-License-Identifier: Apache-2.0
"""Pack many RGB-D views into one small file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from depth_perception.cli.options import image_size
from depth_training.data import DataError, DepthDataset, open_dataset
from depth_training.data.dataset import good_samples
from depth_training.data.joined import open_joined, scenes_of
from depth_training.data.layouts.packed import DepthCode, PackedViews, write_pack
from depth_training.data.sample import Sample
from depth_training.data.transforms import fill


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='file to write, such as rooms.zip')
    parser.add_argument('data', type=Path, nargs='+', help='folders of rooms, or other RGB-D data')
    parser.add_argument(
        '--bits', type=int, default=DepthCode.bits, help='bits per depth value, 8 to 16'
    )
    parser.add_argument(
        '--quality', type=int, default=80, help='quality of the colour images, 0 to 100'
    )
    parser.add_argument(
        '--megabytes',
        type=float,
        default=None,
        help='leave out views, evenly, to get a file of about this size',
    )
    parser.add_argument(
        '--hold-out',
        action='append',
        default=[],
        metavar='SCENE',
        help='a scene to pack for validation alone; repeat for several',
    )
    parser.add_argument(
        '--size',
        type=image_size,
        default=None,
        metavar='WIDTHxHEIGHT',
        help='crop the views to this aspect ratio and resize them: for data of several sizes',
    )
    options = parser.parse_args(arguments)
    try:
        count = _pack(options)
    except (DataError, ValueError, OSError) as error:
        sys.stderr.write(f'pack_rooms: {error}\n')
        return 1
    _report(options.out, count)
    return 0


def _pack(options: argparse.Namespace) -> int:
    parts = list(_parts(options.data, options.hold_out))
    code = DepthCode(options.bits)
    share = 1.0 if options.megabytes is None else _share(parts, code, options)
    views = _chosen(parts, share, options.size)
    return write_pack(options.out, views, code, options.quality)


def _parts(paths: list[Path], hold_out: list[str]) -> Iterator[tuple[DepthDataset, str]]:
    """Yield the splits of the data; the training split must exist."""
    yield open_joined(paths, 'train', hold_out), 'train'
    for path in paths:
        with suppress(DataError):
            yield open_dataset(path, 'test', hold_out=scenes_of(path, hold_out)), 'test'


def _share(
    parts: list[tuple[DepthDataset, str]], code: DepthCode, options: argparse.Namespace
) -> float:
    """Estimate the share of the views that fits from the size of every 40th."""
    trial = options.out.with_name(f'.{options.out.name}.trial')
    try:
        count = write_pack(trial, _chosen(parts, 1 / 40, options.size), code, options.quality)
        size = trial.stat().st_size
    finally:
        trial.unlink(missing_ok=True)
    whole = sum(len(part) for part, _ in parts) * size / count
    return min(1.0, options.megabytes * 1e6 / whole)


def _chosen(
    parts: list[tuple[DepthDataset, str]], share: float, size: tuple[int, int] | None
) -> Iterator[tuple[Sample, str]]:
    """Yield the views of a share of each part with their split, of (width, height) if given."""
    for part, split in parts:
        count = max(1, round(share * len(part)))
        indices = [index * len(part) // count for index in range(count)]
        for sample in good_samples(part, indices):
            yield sample if size is None else fill(sample, size[1], size[0]), split


def _report(path: Path, count: int) -> None:
    start = time.perf_counter()
    views = PackedViews(path, 'all')
    views.read_all()
    speed = count / (time.perf_counter() - start)
    sys.stderr.write(
        f'{path}: {count} views, {path.stat().st_size / 1e6:.1f} MB, decoded at '
        f'{speed:.0f} views/s\n'
    )


if __name__ == '__main__':
    sys.exit(main())
