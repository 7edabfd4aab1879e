# SPDX-License-Identifier: Apache-2.0
"""Run the work of a frame on its device; on CUDA as graphs, see `backends.graphs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

#: Maps an image uint8 (H, W, 3) on the device and a factor on its depth to float32 metres (H, W).
Depth = Callable[[Any, Any], Any]


class Frames(Protocol):
    """Computes the depth of frames.

    Attributes:
        problem: a sentence about what makes it slower than it could be, or ''.
    """

    problem: str

    def __call__(
        self, depth: Depth, image: Any, factor: float, variant: tuple[int, ...] = ()
    ) -> Any:
        """Return depth (H, W) in its own memory; `variant` identifies the work on one size."""


class EagerFrames:
    """Run operation by operation, on a CPU."""

    problem = ''

    def __call__(
        self, depth: Depth, image: Any, factor: float, variant: tuple[int, ...] = ()
    ) -> Any:
        """Return the depth (H, W) of an image."""
        return depth(image, factor)
