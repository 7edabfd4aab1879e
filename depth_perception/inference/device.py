# SPDX-License-Identifier: Apache-2.0
"""Choose the device to compute on. PyTorch is imported only if there may be a GPU."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import threading
from pathlib import Path
from typing import Protocol

#: Held while a CUDA graph is captured: a process can capture only one at a time, and PyTorch cannot
#: release memory during a capture.
capture_lock = threading.Lock()
#: Libraries of the drivers that PyTorch needs for a device `cuda`: NVIDIA's; for AMD's GPUs there
#: is a file instead.
_DRIVERS = ('libcuda.so.1', 'nvcuda.dll')
_AMD = Path('/dev/kfd')


class DeviceError(ValueError):
    """A device is not available, or its name is unknown; the message says what to do."""


class Device(Protocol):
    """A device to compute on: `CPU`, or a `torch.device`; `str` gives its name."""

    @property
    def type(self) -> str:
        """The kind of device: `cpu` or `cuda`."""

    @property
    def index(self) -> int | None:
        """The number of the GPU; None for the CPU."""


class _Cpu:
    """The CPU, with the attributes of `torch.device`, without importing PyTorch."""

    type = 'cpu'
    index: int | None = None

    def __str__(self) -> str:
        return self.type

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __eq__(self, other: object) -> bool:
        return str(other) == self.type

    def __hash__(self) -> int:
        return hash(self.type)


CPU = _Cpu()


def resolve_device(name: str) -> Device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` is the first CUDA device, or the CPU if there is none. A named CUDA device is never
    silently replaced by the CPU.

    Raises:
        DeviceError: the name is unknown, or the CUDA device is not available.

    Examples:
        >>> from depth_perception.inference.device import resolve_device
        >>> str(resolve_device('cpu'))
        'cpu'
    """
    if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', name):
        raise DeviceError(f'unknown device {name!r}: choose auto, cpu, cuda or cuda:N')
    if name == 'cpu' or (name == 'auto' and not may_have_gpu()):
        return CPU
    import torch

    if name == 'auto' and not torch.cuda.is_available():
        return CPU
    device = torch.device('cuda' if name == 'auto' else name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f'device {name!r} was asked for, but PyTorch {torch.__version__} sees {count} CUDA '
            'devices: check nvidia-smi and the PyTorch build, or set device to cpu'
        )
    return torch.device('cuda', device.index or 0)


def may_have_gpu() -> bool:
    """Return whether a driver is installed without which PyTorch has no device `cuda`."""
    if _AMD.exists():
        return True
    for driver in _DRIVERS:
        with contextlib.suppress(OSError):
            ctypes.CDLL(driver)
            return True
    return False


def out_of_memory_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a device without free memory; none if PyTorch is not imported.

    To be evaluated after an error: `except out_of_memory_errors()`.
    """
    torch = sys.modules.get('torch')
    return () if torch is None else (torch.cuda.OutOfMemoryError,)


def free_cached_memory() -> None:
    """Return the device memory that PyTorch caches to the driver."""
    if 'torch' not in sys.modules:
        return
    import torch

    if not torch.cuda.is_available():
        return
    # PyTorch raises an error after a failed capture; the memory then stays cached.
    with capture_lock, contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
