# SPDX-License-Identifier: Apache-2.0
"""Convert a data set scene by scene, in several processes, and resume an interrupted run.

Before its first pair, a scene's folder gets a file `.prepared.json` that records the frames, how
they are converted and whether all pairs are written. Pairs are numbered by the position of their
frame and each is written completely or not at all. A second run writes what is missing; a run with
different options is refused.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from depth_perception.io.files import write_atomically, write_together
from depth_perception.progress import duration
from depth_perception.termination import terminable
from depth_training.data.sample import DataError

MARK = '.prepared.json'
Report = Callable[[str], None]


class SceneToWrite(NamedTuple):
    """A scene to be written.

    Attributes:
        name: name of the scene.
        target: folder to write to.
        frames: one entry per pair, passed to `write`.
        write: returns the files of a frame as name -> content; must be picklable.
        extra: other files of the folder, name -> content.
    """

    name: str
    target: Path
    frames: tuple[Any, ...]
    write: Callable[[int, Any], dict[str, bytes]]
    extra: dict[str, bytes]

    def digest(self) -> str:
        """Return a hash of the frames and of the names of the extra files."""
        text = json.dumps([self.frames, sorted(self.extra)], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Prepared:
    """Summary of what was written.

    Attributes:
        pairs: number of pairs.
        scenes: number of scenes.
        skipped: one sentence for each frame that could not be used.
        kept: pairs already written by an earlier run.
    """

    pairs: int = 0
    scenes: int = 0
    skipped: list[str] = field(default_factory=list)
    kept: int = 0


def write_scenes(scenes: Sequence[SceneToWrite], processes: int, report: Report | None) -> Prepared:
    """Write all scenes; report each one with the estimated time left.

    Raises:
        DataError: a folder holds pairs made with other options, or a worker process was killed.
        OSError: a file cannot be written.
    """
    total, begun, frames = Prepared(), time.monotonic(), 0
    whole = sum(len(scene.frames) for scene in scenes)
    for number, (scene, done) in enumerate(_results(scenes, processes), 1):
        frames += len(scene.frames)
        total.pairs += done.pairs
        total.kept += done.kept
        total.scenes += 1
        total.skipped += done.skipped
        if report:
            left = (time.monotonic() - begun) / max(frames - total.kept, 1) * (whole - frames)
            report(
                f'[{number}/{len(scenes)}] {scene.name}: {done.pairs} pairs'
                + f', {done.kept} of them already there' * bool(done.kept)
                + f', {len(done.skipped)} skipped' * bool(done.skipped)
                + f'; {duration(left)} left' * (number < len(scenes))
            )
    return total


def write_scene(scene: SceneToWrite) -> Prepared:
    """Write the missing pairs of one scene.

    Raises:
        DataError: its folder holds pairs made with other options.
        OSError: a file cannot be written.
    """
    scene.target.mkdir(parents=True, exist_ok=True)
    mark, digest = scene.target / MARK, scene.digest()
    known = _read_mark(mark)
    if known and known['digest'] != digest:
        raise DataError(
            f'{scene.target} was prepared with other options or from other frames: '
            'choose another target, or delete that folder'
        )
    if known and known['complete']:
        return Prepared(known['pairs'], 1, known['skipped'], known['pairs'])
    there = set(os.listdir(scene.target))
    if not known and any(name.startswith('rgb_') for name in there):
        raise DataError(
            f'{scene.target} holds pairs that were not prepared here: choose another target'
        )
    for name, content in scene.extra.items():
        write_atomically(scene.target / name, [content])
    _write_mark(mark, digest, Prepared(), complete=False)
    done = Prepared(scenes=1)
    for index, frame in enumerate(scene.frames):
        _write_frame(scene, index, frame, there, done)
    _write_mark(mark, digest, done, complete=True)
    return done


def _write_frame(
    scene: SceneToWrite, index: int, frame: Any, there: set[str], done: Prepared
) -> None:
    if any(
        name.rpartition('.')[0].endswith(f'_{index:05d}')
        for name in there
        if name.startswith('rgb_')
    ):
        done.pairs, done.kept = done.pairs + 1, done.kept + 1
        return
    try:
        files = scene.write(index, frame)
    except DataError as error:
        done.skipped.append(str(error))
        return
    # The colour image last: if it exists, so does its depth.
    write_together(
        {
            scene.target / name: [files[name]]
            for name in sorted(files, key=lambda name: name.startswith('rgb_'))
        }
    )
    done.pairs += 1


def _read_mark(file: Path) -> dict[str, Any] | None:
    try:
        mark = json.loads(file.read_bytes())
        return {key: mark[key] for key in ('digest', 'complete', 'pairs', 'skipped')}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{file} is damaged ({error}): delete that folder') from error


def _write_mark(file: Path, digest: str, done: Prepared, complete: bool) -> None:
    write_atomically(
        file,
        [
            json.dumps(
                {
                    'digest': digest,
                    'complete': complete,
                    'pairs': done.pairs,
                    'skipped': done.skipped,
                }
            ).encode()
        ],
    )


def _results(
    scenes: Sequence[SceneToWrite], processes: int
) -> Iterator[tuple[SceneToWrite, Prepared]]:
    """Yield each scene with its result, in the order of `scenes`."""
    processes = min(processes, len(scenes))
    if processes <= 1:
        for scene in scenes:
            yield scene, write_scene(scene)
        return
    # Spawned, not forked: OpenCV's threads do not survive a fork.
    with (
        terminable(),
        multiprocessing.get_context('spawn').Pool(processes, initializer=_start_worker) as pool,
    ):
        workers = {process.pid for process in multiprocessing.active_children()}
        results = pool.imap(write_scene, scenes)
        for scene in scenes:
            yield scene, _next(results, workers)


def _next(results: Any, workers: set[int | None]) -> Prepared:
    """Return the next result; raise if a worker was killed, which the pool would never notice."""
    while True:
        with suppress(multiprocessing.TimeoutError):
            return results.next(timeout=1.0)
        if not workers <= {process.pid for process in multiprocessing.active_children()}:
            raise DataError(
                'a worker process was killed, perhaps because memory ran out: run the '
                'command again with fewer --jobs; it will resume'
            )


def _start_worker() -> None:
    """Ignore Ctrl-C in workers: it reaches all processes, and the parent stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
