# SPDX-License-Identifier: Apache-2.0
"""Resources of a process over time, and a test for leaks."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import psutil
    import torch


@dataclass(frozen=True)
class Limit:
    """Growth that counts as a leak.

    Attributes:
        per_hour: the slope's lower bound (two standard errors) must stay below this,
        in_all: unless the total growth is smaller than this: the slope per hour of a short run is
            mostly noise.
    """

    per_hour: float
    in_all: float


#: By figure: MB, counts, counts, MB.
LIMITS = {
    'rss_mb': Limit(10.0, 5.0),
    'handles': Limit(2.0, 2.0),
    'threads': Limit(1.0, 1.0),
    'gpu_mb': Limit(2.0, 2.0),
}


@dataclass(frozen=True)
class Slope:
    """Slope and standard error per hour of a least-squares line; `leaks` is the verdict."""

    per_hour: float
    error: float
    leaks: bool


def resources(process: psutil.Process) -> dict[str, float]:
    """Return resident memory (MB, with shared pages), open handles, threads and CPU seconds."""
    with process.oneshot():
        times = process.cpu_times()
        return {
            'rss_mb': process.memory_info().rss / 1e6,
            'handles': process.num_fds(),
            'threads': process.num_threads(),
            'cpu_s': times.user + times.system,
        }


def slope(seconds: list[float], values: list[float], limit: Limit) -> Slope | None:
    """Fit the slope of values over time; None with fewer than three values."""
    if len(values) < 3:
        return None
    hours = np.array(seconds) / 3600
    x, y = hours - hours.mean(), np.array(values) - np.mean(values)
    per_hour = float(x @ y / (x @ x))
    residuals = y - per_hour * x
    error = float(np.sqrt(residuals @ residuals / (len(x) - 2) / (x @ x)))
    leaks = bool(
        per_hour - 2 * error > limit.per_hour and per_hour * (hours[-1] - hours[0]) > limit.in_all
    )
    return Slope(per_hour, error, leaks)


class PeakMemory:
    """Peak memory of this process in MB, compared with its memory at creation of this object.

    On a GPU the memory allocated by PyTorch, on a CPU resident memory (Linux lets a process reset
    its own peak, see proc(5), clear_refs).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        _return_freed_memory()
        if device.type == 'cuda':
            import torch

            torch.cuda.init()  # without it there are no statistics to reset
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._resettable = _reset_peak()
        self._before = self._peak_mb()

    def growth_mb(self) -> float | None:
        """Return the growth until now; None if the peak could not be reset."""
        if self._device.type != 'cuda' and not self._resettable:
            return None
        return self._peak_mb() - self._before

    def _peak_mb(self) -> float:
        if self._device.type == 'cuda':
            import torch

            return torch.cuda.max_memory_allocated(self._device) / 1e6
        status = Path('/proc/self/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024 / 1e6


def _return_freed_memory() -> None:
    """Return freed memory to the system, so that the next measurement does not reuse it unseen."""
    gc.collect()
    if sys.platform == 'linux' and hasattr(library := ctypes.CDLL(None), 'malloc_trim'):
        library.malloc_trim(0)


def _reset_peak() -> bool:
    """Reset the peak of resident memory to its current value; False if not possible."""
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        return False
    return True
