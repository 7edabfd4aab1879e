# SPDX-License-Identifier: Apache-2.0
"""Which device to compute on."""
from __future__ import annotations

import contextlib
import re
import threading

import torch

#: Held while a CUDA graph is captured: PyTorch captures one at a time in a process, and gives no
#: memory back meanwhile.
capture_lock = threading.Lock()


class DeviceError(ValueError):
    """A device that is not there, or a name that is none; the text says what to do."""


def resolve_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` is the first CUDA device, or the CPU where there is none. A named CUDA device is never
    replaced by the CPU in silence.

    Raises:
        DeviceError: the name is none of these, or that CUDA device is not there.
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
            'devices: check nvidia-smi and the PyTorch build, or set device to cpu')
    return torch.device('cuda', device.index or 0)


def free_cached_memory() -> None:
    """Give the device memory that PyTorch keeps for later back to the driver."""
    if not torch.cuda.is_available():
        return
    # PyTorch refuses after a capture that failed half way; the memory then stays for later use.
    with capture_lock, contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
