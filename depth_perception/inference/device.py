# SPDX-License-Identifier: Apache-2.0
"""Choose the device to compute on."""

from __future__ import annotations

import contextlib
import re
import threading

import torch

#: Held while a CUDA graph is captured: a process can capture only one at a time, and PyTorch cannot
#: release memory during a capture.
capture_lock = threading.Lock()


class DeviceError(ValueError):
    """A device is not available, or its name is unknown; the message says what to do."""


def resolve_device(name: str) -> torch.device:
    """Return the torch device for `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` is the first CUDA device, or the CPU if there is none. A named CUDA device is never
    silently replaced by the CPU.

    Raises:
        DeviceError: the name is unknown, or the CUDA device is not available.
    """
    if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', name):
        raise DeviceError(f'unknown device {name!r}: choose auto, cpu, cuda or cuda:N')
    if name == 'cpu' or (name == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    device = torch.device('cuda' if name == 'auto' else name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f'device {name!r} was asked for, but PyTorch {torch.__version__} sees {count} CUDA '
            'devices: check nvidia-smi and the PyTorch build, or set device to cpu'
        )
    return torch.device('cuda', device.index or 0)


def free_cached_memory() -> None:
    """Return the device memory that PyTorch caches to the driver."""
    if not torch.cuda.is_available():
        return
    # PyTorch raises an error after a failed capture; the memory then stays cached.
    with capture_lock, contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
