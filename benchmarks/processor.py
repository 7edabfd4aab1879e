# SPDX-License-Identifier: Apache-2.0
"""Processor time of a frame by process and thread, and cores that do not sleep."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.marks import Mark

#: What processor time of a frame is used for.
PARTS = (
    'network',
    'node: worker',
    'node: executor',
    'node: DDS',
    'node',
    'camera',
    'subscriber',
)
#: The longest time that a core may take to wake up, microseconds, while the file is open (PM QoS).
WAKE_LATENCY = Path('/dev/cpu_dma_latency')


class Used(NamedTuple):
    """The name of a thread, and its processor time in seconds."""

    name: str
    seconds: float


def threads(pid: int) -> dict[int, Used]:
    """Return the processor time of each thread of a process so far; {} if Linux does not tell."""
    found = {}
    for task in Path(f'/proc/{pid}/task').glob('*'):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            seconds = int((task / 'schedstat').read_text().split()[0]) / 1e9
            found[int(task.name)] = Used((task / 'comm').read_text().strip(), seconds)
    return found


def between(before: dict[int, Used], after: dict[int, Used]) -> dict[int, Used]:
    """Return the processor time of each thread between two moments."""
    none = Used('', 0.0)
    return {
        number: Used(name, seconds - before.get(number, none).seconds)
        for number, (name, seconds) in after.items()
    }


def total(used: dict[int, Used]) -> float:
    """Return the processor time of all threads, seconds."""
    return sum(thread.seconds for thread in used.values())


@dataclass
class Slice:
    """Some seconds of a camera's rate.

    Attributes:
        span: first and last stamp, nanoseconds.
        sent, got: images sent and depth images received.
        node: processor time of the node's threads.
        camera, subscriber: processor time of these processes, seconds.
    """

    span: tuple[int, int]
    sent: int
    got: int
    node: dict[int, Used]
    camera: float
    subscriber: float


def processor_time(slices: list[Slice], frames: list[dict[str, Mark]]) -> dict[str, float]:
    """Return the milliseconds of processor time of a depth image, by what they are used for.

    Of a node without marks, the time of the whole process is known.
    """
    got = max(1, sum(one.got for one in slices))
    parts = dict.fromkeys(PARTS, 0.0)
    worker, executor = _thread(frames, 'prepared'), _thread(frames, 'callback')
    for one in slices:
        parts['camera'] += one.camera
        parts['subscriber'] += one.subscriber
        for number, (name, seconds) in one.node.items():
            if not worker:
                parts['node'] += seconds
            elif name.startswith('dds.'):
                parts['node: DDS'] += seconds
            else:
                kind = {worker: 'node: worker', executor: 'node: executor'}
                parts[kind.get(number, 'network')] += seconds
    of_frame = {part: 1000 * seconds / got for part, seconds in parts.items() if seconds}
    marked = [frame for frame in frames if {'prepared', 'network done'} <= frame.keys()]
    if marked:
        own = np.mean([frame['network done'].cpu - frame['prepared'].cpu for frame in marked]) / 1e6
        of_frame['network'] = of_frame.get('network', 0.0) + float(own)
        of_frame['node: worker'] = of_frame.get('node: worker', 0.0) - float(own)
    return of_frame


def _thread(frames: list[dict[str, Mark]], place: str) -> int:
    """Return the thread that most frames pass a place in; 0: unknown."""
    found = Counter(frame[place].thread for frame in frames if place in frame)
    return found.most_common(1)[0][0] if found else 0


@contextlib.contextmanager
def cores_awake() -> Iterator[None]:
    """Keep cores from sleeping deeply when they have nothing to do.

    Raises:
        OSError: this user may not, or the kernel cannot.
    """
    with WAKE_LATENCY.open('wb', buffering=0) as file:
        file.write(struct.pack('i', 0))
        yield
