# SPDX-License-Identifier: Apache-2.0
"""A node under test with a camera process and a listener, run at chosen rates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import psutil

from benchmarks.camera import CameraProcess
from depth_perception.demo.processes import Child
from depth_perception.ros.conversions.topics import DEPTH

if TYPE_CHECKING:
    from benchmarks.listener import Listener

#: Share of lost frames that is acceptable at a rate.
ALLOWED_LOSS = 0.05
#: Seconds to wait for the node to load its network.
START = 120.0
#: Number of bisections in the search for the highest rate.
TRIALS = 4


class BenchError(RuntimeError):
    """A measurement that cannot continue; the message is one sentence."""


class Bench:
    """A node, a camera and a listener in separate processes, connected by DDS."""

    def __init__(self, node: Child, camera: CameraProcess, listener: Listener) -> None:
        self.node, self.camera, self.listener = node, camera, listener
        self.process = psutil.Process(node.pid)

    def wait_until_ready(self) -> None:
        """Wait for the first depth image."""
        deadline = time.monotonic() + START
        self.camera.set_rate(2.0)
        while DEPTH not in self.listener.last:
            if self.node.ended() or time.monotonic() > deadline:
                raise BenchError(f'no depth image: {self.node.complaint() or "the node is silent"}')
            time.sleep(0.1)
        self.pause()

    def pause(self) -> None:
        """Stop the camera, wait for messages in transit, and discard them."""
        self.camera.set_rate(0.0)
        time.sleep(1.5)
        self.listener.take()

    def lost(self, hertz: float) -> tuple[float, float]:
        """Return the share of frames without depth, and depth images per second, at a rate."""
        seconds = max(10.0, 40 / hertz)
        before = self.camera.sent
        self.camera.set_rate(hertz)
        time.sleep(seconds)
        self.camera.set_rate(0.0)
        time.sleep(1.5)
        sent, got = self.camera.sent - before, self.listener.take().counts[DEPTH]
        if self.node.ended():
            raise BenchError(f'the node ended: {self.node.complaint()}')
        return 1 - got / max(1, sent), got / seconds

    def highest_rate(self, ceiling: float) -> float:
        """Return the highest rate in Hz at which less than ALLOWED_LOSS is lost, by bisection.

        Raises:
            BenchError: the machine cannot sustain even half of its output when flooded.
        """
        _, throughput = self.lost(ceiling)
        low, high, held = 0.5 * throughput, min(ceiling, 1.3 * throughput), 0.0
        for _ in range(TRIALS):
            middle = float(np.sqrt(low * high))
            share, _ = self.lost(middle)
            say(f'{middle:.2f} Hz: {100 * share:.1f} % lost')
            if share < ALLOWED_LOSS:
                low = held = middle
            else:
                high = middle
        if not held:
            raise BenchError(f'no rate from {low:.2f} Hz up is sustained: is the machine busy?')
        return held


def say(text: str) -> None:
    """Print a line immediately, also into a file."""
    print(text, flush=True)
