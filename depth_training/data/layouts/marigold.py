# SPDX-License-Identifier: Apache-2.0
"""Marigold's copy of NYU: `rgb_0001.png`, `depth_0001.png` (raw) and `filled_0001.png`.

Both depths are 16-bit millimetres. Folders named `train` and `test` are the official split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depth_perception.io.files import files_below
from depth_training.data.dataset import DepthDataset, GroundTruth, Request
from depth_training.data.layouts.sync import NYU_CX, NYU_FX
from depth_training.data.matching import left_over
from depth_training.data.pairs import Pair, PairFiles
from depth_training.data.sample import DataError
from depth_training.data.scenes import choose


def recognise(path: Path) -> bool:
    """Accept a folder with `filled_*.png` at most three levels down."""
    patterns = ('filled_*.png', '*/filled_*.png', '*/*/filled_*.png')
    return path.is_dir() and any(True for pattern in patterns for _ in path.glob(pattern))


def open_layout(request: Request) -> DepthDataset:
    """Open the folder with `raw` or (by default) `filled` depth.

    Raises:
        DataError: no triple is complete.
    """
    root = request.path
    truth: GroundTruth = 'raw' if request.ground_truth == 'raw' else 'filled'
    if request.split != 'all' and (root / request.split).is_dir():
        root = root / request.split
    scenes: dict[str, list[Pair]] = {}
    for pair in _pairs(root, 'depth' if truth == 'raw' else 'filled'):
        scenes.setdefault(pair.rgb.rpartition('/')[0], []).append(pair)
    if not scenes:
        raise DataError(f'{root} has no rgb_*.png with its depth_*.png and filled_*.png')
    if root.name == request.split:
        pairs, note = [pair for part in scenes.values() for pair in part], f'{root.name} folder'
    else:
        pairs, note = choose(scenes, request)
    used = {pair.rgb for items in scenes.values() for pair in items}
    found = {file.relative_to(root).as_posix() for file in files_below(root, 'rgb_*.png')}
    lonely = left_over(sorted(found - used))
    return PairFiles('marigold', root, pairs, truth, note='; '.join(filter(None, (note, lonely))))


def _pairs(root: Path, prefix: str) -> Iterator[Pair]:
    for file in sorted(files_below(root, 'filled_*.png')):
        rgb = file.with_name(file.name.replace('filled_', 'rgb_', 1))
        depth = file.with_name(file.name.replace('filled_', f'{prefix}_', 1))
        if rgb.exists() and depth.exists():
            yield Pair(
                rgb.relative_to(root).as_posix(),
                depth.relative_to(root).as_posix(),
                NYU_FX,
                NYU_CX,
                640,
            )
