# SPDX-License-Identifier: Apache-2.0
"""Description of the machine for benchmark results."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """Describe the machine briefly."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return (
        f'{os.cpu_count()}-core {platform.machine()}, {gpu}, Python '
        f'{platform.python_version()}, torch {torch.__version__}'
    )
