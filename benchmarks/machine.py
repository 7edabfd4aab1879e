# SPDX-License-Identifier: Apache-2.0
"""Description of the machine for benchmark results."""

from __future__ import annotations

import argparse
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from depth_perception.inference.device import DeviceError, resolve_device

if TYPE_CHECKING:
    import torch

_CPUINFO = Path('/proc/cpuinfo')


def machine() -> str:
    """Describe the machine briefly."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return (
        f'{os.cpu_count()}-core {platform.machine()}{processor()}, {gpu}, Python '
        f'{platform.python_version()}, torch {torch.__version__}'
    )


def torch_device(name: str) -> torch.device:
    """Return a device by name, as the type of an option; a GPU becomes PyTorch's current one."""
    import torch

    try:
        device = torch.device(str(resolve_device(name)))
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    return device


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's name and what computes bfloat16, in brackets; '' if unknown."""
    try:
        text = cpuinfo.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
    name = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
    flags = set((re.search(r'^flags\s*:(.*)$', text, re.MULTILINE) or ['', ''])[1].split())
    if not name or not flags:
        return ''
    bfloat16 = (
        'bfloat16 by AMX'
        if 'amx_bf16' in flags
        else 'bfloat16 by AVX-512'
        if 'avx512_bf16' in flags
        else 'no bfloat16'
    )
    return f' ({name[1].strip()}, {bfloat16})'
