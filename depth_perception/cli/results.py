# SPDX-License-Identifier: Apache-2.0
"""Find the input files of `predict`, and name their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depth_perception.io.anchor_files import ANCHORS_SUFFIX
from depth_perception.io.files import walk
from depth_perception.io.image_files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

DEPTH_SUFFIX, ARRAY_SUFFIX, COLOUR_SUFFIX = '_depth.png', '_depth.npy', '_color.png'
CLOUD_SUFFIX, SCAN_SUFFIX, VIDEO_SUFFIX = '.ply', '_scan.csv', '_color.mp4'
CONFIDENCE_SUFFIX, CONFIDENCE_ARRAY_SUFFIX = '_confidence.png', '_confidence.npy'
_RESULTS = (
    DEPTH_SUFFIX,
    ARRAY_SUFFIX,
    COLOUR_SUFFIX,
    SCAN_SUFFIX,
    VIDEO_SUFFIX,
    CONFIDENCE_SUFFIX,
    CONFIDENCE_ARRAY_SUFFIX,
)


@dataclass(frozen=True)
class Job:
    """An input file and the place of its results.

    Attributes:
        path: the file.
        name: path of its results in the output folder, without suffixes.
    """

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Return whether the file is a video, judged by its suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass
class Found:
    """Files found for the arguments of a command line.

    Attributes:
        files: each file with its path relative to the given folder.
        skipped: other files in those folders.
        earlier: results of an earlier run in those folders.
    """

    files: list[tuple[Path, Path]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    earlier: list[Path] = field(default_factory=list)


def find(paths: Iterable[Path], out: Path) -> Found:
    """Return the given files, and the images and videos in the given folders and subfolders.

    Hidden files are left out, and so is the output folder if it is inside a given folder.
    """
    found, seen = Found(), set()
    for path in paths:
        for file, relative in _files(path, out) if path.is_dir() else [(path, Path(path.name))]:
            is_asked_for = file == path
            if (real := os.path.realpath(file)) in seen:
                continue
            seen.add(real)
            if not is_asked_for and _lies_in(file, out) and file.name.endswith(_RESULTS):
                found.earlier.append(file)
            elif is_asked_for or file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES:
                found.files.append((file, relative))
            elif not (
                (_lies_in(file, out) and file.suffix == CLOUD_SUFFIX)
                or file.name.endswith(ANCHORS_SUFFIX)
            ):
                found.skipped.append(file)
    return found


def _files(folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files below a folder in order, each with its relative path."""
    for place, folders, names in walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith('.') and os.path.realpath(place / name) != os.path.realpath(out)
        ]
        for name in names:
            if not name.startswith('.'):
                yield place / name, (place / name).relative_to(folder)


def _lies_in(file: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents


def named(files: Iterable[tuple[Path, Path]]) -> list[Job]:
    """Return a job for each file, with the shortest unique name for its results.

    `a` for a.jpg; `a.jpg` if there is also an a.png; `folder/a` if another folder has an a.jpg.
    """
    files = list(files)
    levels = [0] * len(files)
    while True:
        names = [_candidate(*file, level) for file, level in zip(files, levels)]
        counts = Counter(names)
        clashing = [index for index, name in enumerate(names) if counts[name] > 1]
        if not clashing:
            return [Job(path, name) for (path, _), name in zip(files, names)]
        for index in clashing:
            levels[index] += 1


def _candidate(path: Path, relative: Path, level: int) -> Path:
    """Return a candidate name for the results; a higher level gives a longer name."""
    more, with_suffix = divmod(level, 2)
    folder = relative.parent
    if more:
        # Add as many parents of the given folder as are needed.
        above = Path(os.path.realpath(path)).parents[len(relative.parts) - 1].parts[1:]
        folder = Path(*above[-more:], folder)
    return folder / (relative.name if with_suffix else relative.stem)
