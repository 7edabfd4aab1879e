# SPDX-License-Identifier: Apache-2.0
"""What a backend is: the part between a normalised image and the network's raw output."""
from __future__ import annotations

from collections.abc import Iterable
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

    @property
    def problem(self) -> str:
        """What keeps it from being as fast as it should be, or ''."""

    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """At which (height, width) to feed an image now that should be fed at this size.

        Args:
            size: the right one.
            what: the image in words, such as its size.
        """

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Make ready for such sizes, each with its image in words; waits until that is done."""
