# SPDX-License-Identifier: Apache-2.0
"""The interface of a backend, which computes the raw output of a normalised image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from depth_perception.inference.device import Device


class Backend(Protocol):
    """Runs one network on one device."""

    #: Name of the backend, as users choose it.
    name: str
    #: Precision in which the network actually computes: `fp32`, `fp16` or `bf16`.
    precision: str

    @property
    def device(self) -> Device:
        """Device of the input and the output."""

    @property
    def problem(self) -> str:
        """A sentence about what makes the backend slower than it could be, or ''."""

    @property
    def uncompiled(self) -> str:
        """A sentence about why nothing is compiled and kept on disk for an input size, or ''."""

    def kept(self, size: tuple[int, int]) -> Path | None:
        """Return the file or folder of what is compiled for (height, width); None: nothing."""

    def run(self, image: Any) -> Any:
        """Compute the raw output (1, 1, h, w) float32 of a normalised (1, 3, H, W) float32.

        Both are tensors on the device; on a CPU, NumPy arrays for an array.
        """

    def with_confidence(self) -> Backend:
        """Return a backend of the same network whose `run` also tells how far off the depth is.

        That is the logarithm of the scale of the error, (1, 1, h / 4, w / 4) float32, after the raw
        output. Only for a network with `WeightsInfo.gives_confidence`.
        """

    def begin(self, size: tuple[int, int], what: str) -> bool:
        """Return whether a size can be run at once; if not, begin to compile for it.

        Args:
            size: (height, width).
            what: description of the image, such as its size.
        """

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Return the (height, width) to use now for an image whose network size is `size`.

        Args:
            size: desired (height, width).
            what: description of the image, such as its size.
        """

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Prepare for sizes, each with a description of its image; wait until that is done."""
