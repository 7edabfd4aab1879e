# SPDX-License-Identifier: Apache-2.0
"""Record when a frame passes a place in the code, and what its thread has used until then."""

from __future__ import annotations

import json
import resource
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.results import write_json


class Mark(NamedTuple):
    """A frame at a place.

    Attributes:
        time: nanoseconds since 1970, like the stamps of messages and of DDS.
        thread: name of the thread.
        cpu: processor time of the thread so far, nanoseconds.
        faults: page faults of the thread so far.
        waits: times that the thread has waited so far, for the interpreter, a lock or a device.
        pushed: times that another thread has taken its core so far.
    """

    time: int
    thread: int
    cpu: int
    faults: int
    waits: int
    pushed: int


#: Marks of a frame, identified by its stamp in nanoseconds, by place.
Frames = dict[int, dict[str, Mark]]


def now(thread: int) -> Mark:
    """Return a mark with the present time; it takes about two microseconds."""
    at = time.time_ns()
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return Mark(at, thread, time.thread_time_ns(), used.ru_minflt, used.ru_nvcsw, used.ru_nivcsw)


def write(path: Path, marks: list[tuple[int, str, Mark]]) -> None:
    """Write marks (stamp, place, mark) to a file."""
    write_json(path, marks)


def read(path: Path) -> Frames:
    """Read the file of `write`."""
    frames: Frames = defaultdict(dict)
    for stamp, place, mark in json.loads(path.read_text(encoding='utf-8')):
        frames[stamp][place] = Mark(*mark)
    return frames
