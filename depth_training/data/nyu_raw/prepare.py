# SPDX-License-Identifier: Apache-2.0
"""Convert raw NYU data to the `sync` layout: pair by time, undistort, align depth to colour.

A scene folder holds `d-<time>-<ticks>.pgm`, `r-<time>-<ticks>.ppm` and accelerometer dumps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from depth_perception.depth.millimetres import to_millimetres
from depth_perception.io.files import walk
from depth_training.data.conversion import Prepared, Report, SceneToWrite, write_scenes
from depth_training.data.dataset import Split
from depth_training.data.image_files import read_text
from depth_training.data.nyu_raw import kinect
from depth_training.data.nyu_raw.scenes import is_for_training
from depth_training.data.sample import DataError

#: What to do with depth frames that share the same nearest colour frame.
Claims = Literal['discard', 'nearest']


def prepare_raw(
    source: Path,
    target: Path,
    every: int = 7,
    largest_gap: float = 0.1,
    report: Report | None = None,
    *,
    split: Split = 'all',
    scenes: Path | None = None,
    pairs: int | None = None,
    claims: Claims = 'discard',
    processes: int = 1,
) -> Prepared:
    """Write pairs of the scenes below `source` to `target`, or resume writing.

    Args:
        source: a scene folder, or a folder with scene folders at any depth.
        target: folder for `<scene>/rgb_00000.jpg`, `sync_depth_00000.png` and `camera.json`.
        every: take every n-th pair of a scene; 7 as in BTS, 1 for all.
        largest_gap: largest difference in seconds between colour and depth.
        report: called with one line per scene.
        split: scenes of the official split; `all` takes every scene.
        scenes: file with one scene name per line, or a list of pairs such as BTS's.
        pairs: take this many pairs, equally spaced over all scenes, instead of `every`.
        claims: see `pair_frames`.
        processes: number of parallel processes.

    Raises:
        DataError: there are no raw frames below `source`, or none of the wanted scenes.
        ValueError: `every` or `pairs` is less than 1.
    """
    if every < 1 or (pairs is not None and pairs < 1):
        raise ValueError(
            f'every must be at least 1, not {every}'
            if every < 1
            else f'pairs must be at least 1, not {pairs}'
        )
    found = {
        folder: pair_frames(files, largest_gap, claims)
        for folder, files in _scene_folders(source, _wanted(split, scenes))
    }
    whole = sum(map(len, found.values()))
    chosen = (
        {folder: frames[::every] for folder, frames in found.items()}
        if pairs is None
        else _evenly(found, pairs)
    )
    if report:
        report(
            f'{len(found)} scenes with {whole} pairs, of which '
            f'{sum(map(len, chosen.values()))} are written to {target}'
        )
    return write_scenes(
        [_scene(source, target, folder, frames) for folder, frames in chosen.items() if frames],
        processes,
        report,
    )


def pair_frames(
    names: Iterable[str], largest_gap: float = 0.1, claims: Claims = 'discard'
) -> list[tuple[str, str]]:
    """Pair depth and colour files nearest in time; use each colour file at most once.

    If several depth frames share the same nearest colour frame, `discard` drops them all (Eigen et
    al. 2014, section 4; paper 002, section 3), `nearest` keeps the one nearest in time. Files
    without a time in their name are ignored.
    """
    names = list(names)
    depths, colours = _timed(names, 'd-', '.pgm'), _timed(names, 'r-', '.ppm')
    if not depths or not colours:
        return []
    times = np.array([time for time, _ in colours])
    claimed: dict[str, list[tuple[float, str]]] = {}
    for time, depth in depths:
        nearest = int(np.abs(times - time).argmin())
        gap = abs(times[nearest] - time)
        if gap <= largest_gap:
            claimed.setdefault(colours[nearest][1], []).append((gap, depth))
    return [
        (min(claimed[colour])[1], colour)
        for _, colour in colours
        if len(claimed.get(colour, ())) == 1 or (colour in claimed and claims == 'nearest')
    ]


def _wanted(split: Split, scenes: Path | None) -> Callable[[str], bool]:
    """Return a predicate that tells if the scene folder of a name is wanted."""
    if scenes is not None:
        named = _read_scenes(scenes)
        return lambda name: name in named
    if split == 'all':
        return lambda name: True
    return lambda name: is_for_training(name) == (split == 'train')


def _read_scenes(file: Path) -> frozenset[str]:
    """Read scene names, one per line, or the folders of the images in a list of pairs."""
    rows = [line.split() for line in read_text(file).splitlines()]
    names = frozenset(
        row[0].strip('/').rpartition('/')[0] if len(row) > 1 else row[0].strip('/')
        for row in rows
        if row and not row[0].startswith('#')
    )
    if not names:
        raise DataError(f'{file} names no scene')
    return names


def _timed(names: list[str], prefix: str, suffix: str) -> list[tuple[float, str]]:
    """Return sorted (seconds, name) of the files of one kind."""
    found = []
    for name in names:
        fields = name.split('-')
        if name.startswith(prefix) and name.endswith(suffix) and len(fields) == 3:
            try:
                found.append((float(fields[1]), name))
            except ValueError:
                continue
    return sorted(found)


def _scene_folders(source: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with raw frames of a wanted scene, and its files.

    Raises:
        DataError: there are no raw frames, or none of a wanted scene.
    """
    if not source.is_dir():
        raise DataError(
            f'{source} is not a folder' if source.exists() else f'{source} does not exist'
        )
    seen, taken = '', 0
    for folder, _, files in walk(source):
        if any(name.startswith('d-') and name.endswith('.pgm') for name in files):
            seen = folder.resolve().name
            if wanted(seen):
                taken += 1
                yield folder, files
    if not seen:
        raise DataError(f'{source} holds no raw frames (d-*.pgm and r-*.ppm)')
    if not taken:
        raise DataError(
            f'{source} has scenes, such as {seen}, but none of the wanted ones: give '
            '--split all, or their names with --scenes FILE'
        )


def _evenly(
    found: dict[Path, list[tuple[str, str]]], count: int
) -> dict[Path, list[tuple[str, str]]]:
    """Choose `count` pairs, equally spaced over all scenes, or all if there are fewer."""
    everything = [(folder, frame) for folder, frames in found.items() for frame in frames]
    count = min(count, len(everything))
    chosen: dict[Path, list[tuple[str, str]]] = {}
    for index in range(count):
        folder, frame = everything[index * len(everything) // count]
        chosen.setdefault(folder, []).append(frame)
    return chosen


def _scene(source: Path, target: Path, folder: Path, frames: list[tuple[str, str]]) -> SceneToWrite:
    name = folder.relative_to(source).as_posix() if folder != source else folder.resolve().name
    return SceneToWrite(
        name, target / name, tuple(frames), partial(_files, folder), {'camera.json': _camera()}
    )


def _files(folder: Path, index: int, frame: tuple[str, str]) -> dict[str, bytes]:
    """Return the files of a pair.

    Raises:
        DataError: a frame cannot be used.
    """
    depth_name, colour_name = frame
    depth = kinect.align_depth(kinect.read_disparity(folder / depth_name))
    rgb = kinect.undistort_colour(kinect.read_colour(folder / colour_name))
    return {
        f'rgb_{index:05d}.jpg': _encoded('.jpg', rgb[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 95),
        f'sync_depth_{index:05d}.png': _encoded('.png', to_millimetres(depth)),
    }


def _encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(image), options)[1].tobytes()


def _camera() -> bytes:
    matrix = kinect.RGB_MATRIX
    return (
        json.dumps(
            {
                'width': kinect.WIDTH,
                'height': kinect.HEIGHT,
                'fx': matrix[0, 0],
                'fy': matrix[1, 1],
                'cx': matrix[0, 2],
                'cy': matrix[1, 2],
            },
            indent=1,
        )
        + '\n'
    ).encode()
