# SPDX-License-Identifier: Apache-2.0
"""Write a bag in parts, and continue after the last complete part if the writer was killed.

    NAME.unfinished/job.json     the job: what is made from what; also the lock
    NAME.unfinished/00000/       a complete part: a bag, and the state in memory at its end
    NAME                         the bag of all parts, which appears when all are complete

A part gets its final name only once all of it is on the disk, so a part is never incomplete.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import yaml
from numpy.typing import NDArray

from depth_perception.io.bag import BagError
from depth_perception.io.bag_writer import BagWriter
from depth_perception.io.files import write_atomically
from depth_perception.reading import read_text

Memory = Mapping[str, NDArray[Any]]
_ABOUT = 'rosbag2_bagfile_information'


class BagParts:
    """Context manager that writes a bag part by part, and locks out other writers meanwhile.

    Args:
        path: path of the finished bag; it must not exist yet.
        job: what is made from what, as JSON; parts of a different job are not continued.

    Attributes:
        done: number of complete parts.
        facts, memory: the values of the last commit; empty if no part is complete.

    Raises:
        BagError: the bag already exists, belongs to another job, or is being written by another
            process.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self.path = path
        self._folder = path.with_name(f'{path.name}.unfinished')
        if os.path.lexists(path):  # also a link to nothing: no bag could take its place
            raise BagError(f'{path} is there already: name another folder, or delete it')
        self._lock = _locked(self._folder)
        try:
            self._check_job(json.loads(json.dumps(job)))
            self.done = len(self._parts())
            self.facts, self.memory = self._last_state()
        except BaseException:
            self._lock.close()
            raise
        self._writer: BagWriter | None = None

    def __enter__(self) -> BagParts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.__exit__(kind, error, trace)
        finally:
            if not self.done:  # no complete part to continue from
                shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()

    def write(self, topic: str, kind: str, time: int, data: bytes) -> None:
        """Write a serialized message to the current part, see `BagWriter.write`."""
        if self._writer is None:
            shutil.rmtree(self._new, ignore_errors=True)
            self._new.mkdir()
            self._writer = BagWriter(self._new / 'bag')
        self._writer.write(topic, kind, time, data)

    def commit(self, facts: Mapping[str, Any], memory: Memory) -> None:
        """Complete the current part.

        Args:
            facts: JSON values that are needed to continue after this part.
            memory: arrays that are needed for the same.
        """
        if self._writer is None:
            self._new.mkdir(exist_ok=True)
        else:
            self._writer.__exit__(None, None, None)
            self._writer = None
        arrays = io.BytesIO()
        np.savez(arrays, **memory)  # type: ignore[arg-type]
        write_atomically(self._new / 'memory.npz', [arrays.getvalue()])
        write_atomically(self._new / 'facts.json', [json.dumps(facts).encode()])
        for file in self._new.rglob('*.mcap'):
            _to_disk(file)
        self._new.rename(self._folder / f'{self.done:05d}')
        _to_disk(self._folder)
        self.done += 1

    def finish(self) -> None:
        """Create the bag from all parts.

        Raises:
            BagError: no part has a message.
        """
        bags = [part / 'bag' for part in self._parts() if (part / 'bag').is_dir()]
        if not bags:
            raise BagError(f'{self.path} would hold no message, and is not made')
        whole = self._folder / 'whole'
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for number, bag in enumerate(bags):
            _link(next(bag.glob('*.mcap')), whole / f'{self.path.name}_{number}.mcap')
        about = yaml.safe_dump({_ABOUT: _joined(bags, self.path.name)}, sort_keys=False)
        write_atomically(whole / 'metadata.yaml', [about.encode()])
        whole.rename(self.path)
        shutil.rmtree(self._folder)

    @property
    def _new(self) -> Path:
        return self._folder / 'new'

    def _parts(self) -> list[Path]:
        return sorted(part for part in self._folder.iterdir() if part.name.isdecimal())

    def _check_job(self, job: dict[str, Any]) -> None:
        """Refuse parts that were made from other inputs or with other settings."""
        file = self._folder / 'job.json'
        if not self._parts():
            write_atomically(file, [json.dumps(job, indent=1).encode()])
            return
        before = json.loads(read_text(file))
        if other := _difference(before, job):
            raise BagError(
                f'{self._folder} has the beginning of another job ({other}): give the '
                'same as then to go on, name another folder, or delete it'
            )

    def _last_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        if not self.done:
            return {}, {}
        part = self._parts()[-1]
        with np.load(part / 'memory.npz', allow_pickle=False) as arrays:
            return json.loads(read_text(part / 'facts.json')), dict(arrays)


def _locked(folder: Path) -> TextIO:
    """Create the folder and return its lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / 'lock').open('w')
    except OSError as error:
        raise BagError(f'{folder} cannot be made: {error.strerror}') from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise BagError(f'{folder} is being written by another process') from error
    return lock


def _difference(before: Any, now: Any, name: str = '') -> str:
    """Describe the first difference of two jobs, as in `min_depth 0.3, not 0.5`; '' if none."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return '' if before == now else f'{name} {before!r}, not {now!r}'
    found = (_difference(before.get(key), now.get(key), key) for key in sorted({*before, *now}))
    return next(filter(None, found), '')


def _joined(bags: list[Path], name: str) -> dict[str, Any]:
    """Merge the metadata of bags with one file each into that of one bag with several files."""
    each = [yaml.safe_load(read_text(bag / 'metadata.yaml'))[_ABOUT] for bag in bags]
    topics: dict[str, dict[str, Any]] = {}
    files = []
    for number, about in enumerate(each):
        for topic in about['topics_with_message_count']:
            known = topics.setdefault(
                topic['topic_metadata']['name'], {**topic, 'message_count': 0}
            )
            known['message_count'] += topic['message_count']
        files.append({**about['files'][0], 'path': f'{name}_{number}.mcap'})
    starts = [file['starting_time']['nanoseconds_since_epoch'] for file in files]
    ends = [start + file['duration']['nanoseconds'] for start, file in zip(starts, files)]
    return {
        **each[0],
        'relative_file_paths': [file['path'] for file in files],
        'files': files,
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'message_count': sum(about['message_count'] for about in each),
        'topics_with_message_count': list(topics.values()),
    }


def _link(file: Path, name: Path) -> None:
    """Create a hard link to a file, or copy it if the file system has no hard links."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
        _to_disk(name)


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, as far as the file system reports it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
