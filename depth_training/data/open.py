# SPDX-License-Identifier: Apache-2.0
"""Open RGB-D data: recognise the layout, check the data, describe it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from depth_perception.io.files import files_below
from depth_training.data.dataset import DepthDataset, GroundTruth, Request, Split
from depth_training.data.layouts import (
    densedepth,
    densedepth_test,
    folders,
    h5_frames,
    kitti,
    labeled_mat,
    marigold,
    mixed,
    npy_pairs,
    packed,
    rooms,
    sync,
    tum,
)
from depth_training.data.sample import DataError, UnitError
from depth_training.data.units import check_units

#: From the most to the least specific: `sync` would also accept a folder of rooms, and `densedepth`
#: a packed file.
LAYOUTS: tuple[ModuleType, ...] = (
    packed,
    labeled_mat,
    densedepth,
    densedepth_test,
    h5_frames,
    npy_pairs,
    rooms,
    marigold,
    kitti,
    tum,
    folders,
    sync,
    mixed,
)
_SPLITS: dict[str, Split] = {'train': 'train', 'test': 'test', 'val': 'test', 'all': 'all'}


def open_dataset(
    path: str | Path,
    split: str = 'train',
    *,
    ground_truth: GroundTruth | None = None,
    hold_out: Sequence[str] = (),
    list_file: str | Path | None = None,
    splits_file: str | Path | None = None,
    depth_scale: float | None = None,
    check: bool = True,
) -> DepthDataset:
    """Open RGB-D data of any known layout; `describe()` of the result says what was found.

    Args:
        path: file (.mat, .zip, .tar) or folder.
        split: `train`, `test` (or `val`, the same) or `all`.
        ground_truth: `raw` or `filled`, if the layout has both; the attribute `ground_truth` of
            the result says which one it is.
        hold_out: test scenes, for data without an official split.
        list_file: rows `rgb depth [focal length]` that choose the pairs of a sync folder.
        splits_file: `splits.mat`, if it is not in the folder of the labelled .mat.
        depth_scale: units per metre of the stored depth; None = the layout's default, which is
            refused if it makes rooms implausibly large or small.
        check: read some pairs; without this check a wrong unit goes unnoticed.

    Raises:
        DataError: the path is missing, its layout is unknown, it lacks this split, depth has a
            wrong unit, or its first, middle and last pair are all unusable.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f'{root} does not exist')
    if depth_scale is not None and not 0 < depth_scale < float('inf'):
        raise DataError(
            f'a depth scale of {depth_scale:g} is impossible: give units per metre, '
            'such as 1000 for millimetres'
        )
    if split not in _SPLITS:
        raise DataError(f'unknown split {split!r}: choose one of {", ".join(_SPLITS)}')
    request = Request(
        root,
        _SPLITS[split],
        ground_truth,
        tuple(hold_out),
        _path(list_file),
        _path(splits_file),
        depth_scale,
    )
    layout = next((layout for layout in LAYOUTS if layout.recognise(root)), None)
    if layout is None:
        raise DataError(f'{root}: {_unknown(root)}')
    dataset: DepthDataset = layout.open_layout(request)
    if depth_scale is not None:
        dataset.use_scale(depth_scale)
    if not check:
        return dataset
    _probe(dataset)
    if not dataset.unit_is_sure:
        check_units(dataset)
    return dataset


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()


def _unknown(root: Path) -> str:
    if root.is_dir() and any(True for _ in files_below(root, 'd-*.pgm')):
        return (
            'this is the raw NYU Depth v2 data; convert it to pairs first: '
            'python -m depth_training prepare raw SOURCE TARGET'
        )
    names = ', '.join(
        layout.__name__.rpartition('.')[2] for layout in LAYOUTS if layout is not mixed
    )
    return (
        f'unknown layout (known are {names}): put images into images/ and their '
        'depth maps into depth/ next to it, see docs/own_data.md'
    )


def _probe(dataset: DepthDataset) -> None:
    """Read three pairs; refuse the data for a wrong unit, but not for a single bad pair."""
    errors: list[DataError] = []
    places = sorted({0, len(dataset) // 2, len(dataset) - 1})
    for index in places:
        try:
            dataset[index]
        except UnitError:
            raise
        except DataError as error:
            errors.append(error)
    if len(errors) == len(places):
        raise errors[0]
