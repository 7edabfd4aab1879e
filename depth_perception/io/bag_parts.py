# SPDX-License-Identifier: Apache-2.0
"""A bag that is written in parts, and goes on where it was when its writer was killed.

    NAME.unfinished/job.json     what is being made; also the lock
    NAME.unfinished/00000/       a complete part: a bag, and what was in memory at its end
    NAME                         the bag of all parts, which appears when they are complete

A part gets its name once all of it is on the disk, so there is never half a one.
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

Memory = Mapping[str, NDArray[Any]]
_ABOUT = 'rosbag2_bagfile_information'


class BagParts:
    """Writes a bag part by part; a context manager, in which no other process writes it.

    Args:
        path: of the bag to be; it must not be there yet.
        job: what is made of what, as JSON: parts of another job are not gone on with.

    Attributes:
        done: complete parts.
        facts, memory: what the last of them was committed with; empty without any.

    Raises:
        BagError: the bag is there already, is of another job or is written at this moment.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self.path = path
        self._folder = path.with_name(f'{path.name}.unfinished')
        if path.exists():
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
            if not self.done:  # there is nothing to go on with
                shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()

    def write(self, topic: str, kind: str, time: int, data: bytes) -> None:
        """A serialized message of the present part, see `BagWriter.write`."""
        if self._writer is None:
            shutil.rmtree(self._new, ignore_errors=True)
            self._new.mkdir()
            self._writer = BagWriter(self._new / 'bag')
        self._writer.write(topic, kind, time, data)

    def commit(self, facts: Mapping[str, Any], memory: Memory) -> None:
        """Complete the present part.

        Args:
            facts: as JSON, what is needed to go on after it.
            memory: arrays, the same.
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
        """Make the bag of all parts.

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
        """Refuse parts that were made of something else, or otherwise."""
        file = self._folder / 'job.json'
        if not self._parts():
            write_atomically(file, [json.dumps(job, indent=1).encode()])
            return
        before = json.loads(file.read_text())
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
            return json.loads((part / 'facts.json').read_text()), dict(arrays)


def _locked(folder: Path) -> TextIO:
    """The lock of a folder, which is made."""
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
    """The first value in which two jobs differ, such as `min_depth 0.3, not 0.5`; or ''."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return '' if before == now else f'{name} {before!r}, not {now!r}'
    found = (_difference(before.get(key), now.get(key), key) for key in sorted({*before, *now}))
    return next(filter(None, found), '')


def _joined(bags: list[Path], name: str) -> dict[str, Any]:
    """The metadata of a bag of several files, of those of bags with one each."""
    each = [yaml.safe_load((bag / 'metadata.yaml').read_text())[_ABOUT] for bag in bags]
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
    """The same file by another name, or a copy where the file system has one name a file."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
        _to_disk(name)


def _to_disk(path: Path) -> None:
    """Wait until it is on the disk, as far as the file system tells."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
