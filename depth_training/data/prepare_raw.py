# SPDX-License-Identifier: Apache-2.0
"""Turn NYU's raw dump into the `sync` layout: pair by time, undistort, align depth to colour.

A scene folder holds `d-<time>-<ticks>.pgm`, `r-<time>-<ticks>.ppm` and accelerometer dumps.
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from depth_perception.progress import tracked
from depth_training.data import kinect
from depth_training.data.sample import DataError


@dataclass
class Prepared:
    """What was written.

    Attributes:
        pairs: number of pairs.
        scenes: number of scenes.
        skipped: one sentence a frame that could not be used.
    """

    pairs: int = 0
    scenes: int = 0
    skipped: list[str] = field(default_factory=list)


def prepare_raw(source: Path, target: Path, every: int = 7, largest_gap: float = 0.1,
                report: Callable[[str], None] | None = None) -> Prepared:
    """Write every `every`-th pair of all scenes below `source` to `target`.

    Args:
        source: a scene folder, or a folder with scene folders at any depth.
        target: folder for `<scene>/rgb_00000.jpg`, `sync_depth_00000.png` and `camera.json`.
        every: 7 as BTS; 1 for all.
        largest_gap: seconds by which colour and depth may differ.
        report: called with one line a scene.

    Raises:
        DataError: there is no raw frame below `source`.
        ValueError: `every` is less than 1.
    """
    if every < 1:
        raise ValueError(f'every must be at least 1, not {every}')
    total = Prepared()
    for folder, files in _scene_folders(source):
        name = folder.relative_to(source).as_posix() if folder != source else folder.name
        pairs = pair_frames(files, largest_gap)[::every]
        written = _write_scene(folder, target / name, pairs, total.skipped)
        total.pairs += written
        total.scenes += 1
        if report:
            report(f'{name}: {written} pairs')
    if not total.scenes:
        raise DataError(f'{source} holds no raw frames (d-*.pgm and r-*.ppm)')
    return total


def pair_frames(names: Iterable[str], largest_gap: float = 0.1) -> list[tuple[str, str]]:
    """Depth and colour files nearest in time, each colour file at most once.

    Where several depth frames want the same colour frame the nearest gets it and the others are
    dropped (paper 002, section 3). Files whose name holds no time are left out.
    """
    names = list(names)
    depths, colours = _timed(names, 'd-', '.pgm'), _timed(names, 'r-', '.ppm')
    if not depths or not colours:
        return []
    times = np.array([time for time, _ in colours])
    best: dict[str, tuple[float, str]] = {}
    for time, depth in depths:
        nearest = int(np.abs(times - time).argmin())
        gap, colour = abs(times[nearest] - time), colours[nearest][1]
        if gap <= largest_gap and gap < best.get(colour, (np.inf, ''))[0]:
            best[colour] = (gap, depth)
    return [(best[colour][1], colour) for _, colour in colours if colour in best]


def _timed(names: list[str], prefix: str, suffix: str) -> list[tuple[float, str]]:
    """(seconds, name) of the files of one kind, in order."""
    found = []
    for name in names:
        fields = name.split('-')
        if name.startswith(prefix) and name.endswith(suffix) and len(fields) == 3:
            try:
                found.append((float(fields[1]), name))
            except ValueError:
                continue
    return sorted(found)


def _scene_folders(source: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, subfolders, files in os.walk(source):
        subfolders.sort()
        if any(name.startswith('d-') and name.endswith('.pgm') for name in files):
            yield Path(folder), files


def _write_scene(folder: Path, target: Path, pairs: list[tuple[str, str]],
                 skipped: list[str]) -> int:
    """Write the pairs; unusable ones are noted. Returns how many were written."""
    target.mkdir(parents=True, exist_ok=True)
    _write_camera(target / 'camera.json')
    count = 0
    for depth_name, colour_name in tracked(pairs, target.name, ' pairs'):
        try:
            depth = kinect.align_depth(kinect.read_disparity(folder / depth_name))
            rgb = kinect.undistort_colour(kinect.read_colour(folder / colour_name))
        except DataError as error:
            skipped.append(str(error))
            continue
        millimetres = np.round(depth * 1000).astype(np.uint16)
        _write(target / f'rgb_{count:05d}.jpg', rgb[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 95)
        _write(target / f'sync_depth_{count:05d}.png', millimetres)
        count += 1
    return count


def _write(path: Path, image: np.ndarray, *options: int) -> None:
    if not cv2.imwrite(str(path), np.ascontiguousarray(image), options):
        raise OSError(f'cannot write {path}')


def _write_camera(path: Path) -> None:
    matrix = kinect.RGB_MATRIX
    path.write_text(json.dumps({
        'width': kinect.WIDTH, 'height': kinect.HEIGHT, 'fx': matrix[0, 0], 'fy': matrix[1, 1],
        'cx': matrix[0, 2], 'cy': matrix[1, 2]}, indent=1) + '\n')
