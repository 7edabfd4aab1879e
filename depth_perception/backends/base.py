# SPDX-License-Identifier: Apache-2.0
"""What a backend is: the part between a normalised image and the network's raw output."""
from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Backend(Protocol):
    """Runs one network on one device."""

    #: As users choose it.
    name: str
    #: Where the input must lie and the output will.
    device: torch.device
    #: What the network really computes in: `fp32`, `fp16` or `bf16`.
    precision: str
    #: What keeps it from being as fast as it should be, or ''.
    problem: str

    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
