# SPDX-License-Identifier: Apache-2.0
"""Fill KITTI's sparse depth, as DenseDepth does for training, and write `sync` pairs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from depth_training.data.camera_files import FILE
from depth_training.data.conversion import Prepared, Report, SceneToWrite, write_scenes
from depth_training.data.dataset import Split
from depth_training.data.depth_files import read_depth
from depth_training.data.filling import filled
from depth_training.data.image_files import decode_rgb, read_bytes
from depth_training.data.layouts import kitti
from depth_training.data.open import open_dataset
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError

#: Holes are filled at half the size: the size of the network's output.
_SHRINK = 2


def prepare_kitti(
    source: Path,
    target: Path,
    every: int = 1,
    report: Report | None = None,
    *,
    split: Split = 'train',
    pairs: int | None = None,
    processes: int = 1,
) -> Prepared:
    """Write filled pairs of a split to `target`, or resume writing.

    Args:
        source: KITTI, see `depth_training.data.layouts.kitti`.
        target: folder for `<drive>/rgb_00000.jpg`, `sync_depth_00000.png` (256 units per metre) and
            `camera.json`.
        every: take every n-th pair.
        report: called with one line per drive.
        split: split by the list in `source`, or by its folders.
        pairs: take this many equally spaced pairs instead of `every`.
        processes: number of parallel processes.

    Raises:
        DataError: `source` is not KITTI, or has no pairs of the split.
    """
    dataset = open_dataset(source, split)
    if not isinstance(dataset, PairFiles) or dataset.layout != 'kitti':
        raise DataError(f'{source} is not KITTI, but of the {dataset.layout} layout')
    count = len(dataset)
    taken = (
        range(0, count, every)
        if pairs is None
        else [index * count // min(pairs, count) for index in range(min(pairs, count))]
    )
    drives: dict[str, list[Pair]] = {}
    for pair in (dataset.pairs[index] for index in taken):
        drives.setdefault(Path(pair.rgb).parents[2].name, []).append(pair)
    if report:
        report(f'{dataset.describe()}; {len(taken)} pairs are written to {target}')
    return write_scenes(
        [
            SceneToWrite(
                drive,
                target / drive,
                tuple(frames),
                partial(_files, dataset.root),
                {FILE: _camera(frames[0])},
            )
            for drive, frames in drives.items()
        ],
        processes,
        report,
    )


def _files(root: Path, index: int, pair: Pair) -> dict[str, bytes]:
    """Return the files of a pair.

    Raises:
        DataError: the pair cannot be used.
    """
    rgb = decode_rgb(read_bytes(root / pair.rgb), str(root / pair.rgb))
    depth = read_depth(root / pair.depth, kitti.SCALE)
    if rgb.shape[:2] != depth.shape:
        raise DataError(f'{root / pair.rgb}: its depth map has a different size')
    stored = np.round(filled(rgb, depth, _SHRINK) * kitti.SCALE).astype(np.uint16)
    colour = cv2.imencode(
        '.jpg', np.ascontiguousarray(rgb[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, 95)
    )[1]
    return {
        f'rgb_{index:05d}.jpg': colour.tobytes(),
        f'sync_depth_{index:05d}.png': cv2.imencode('.png', stored)[1].tobytes(),
    }


def _camera(pair: Pair) -> bytes:
    values: dict[str, float | None] = {'depth_scale': kitti.SCALE}
    if pair.fx is not None:
        values |= {'width': pair.width, 'fx': pair.fx, 'cx': pair.cx}
    return (json.dumps(values, indent=1) + '\n').encode()
