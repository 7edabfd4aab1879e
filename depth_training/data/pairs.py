# SPDX-License-Identifier: Apache-2.0
"""Data sets with one colour file and one depth file per pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_training.data.dataset import DepthDataset, GroundTruth
from depth_training.data.image_files import decode_depth, decode_rgb, millimetres, read_bytes
from depth_training.data.sample import Sample


class Pair(NamedTuple):
    """Two files relative to their root, and the camera if known.

    fx and cx are in pixels of an image `width` wide, or of the image itself without `width`.
    """

    rgb: str
    depth: str
    fx: float | None = None
    cx: float | None = None
    width: int | None = None


def read_millimetres(path: Path) -> NDArray[np.float32]:
    """Read a 16-bit PNG in millimetres; return metres."""
    return millimetres(decode_depth(read_bytes(path), str(path)), str(path))


class PairFiles(DepthDataset):
    """Pairs of files below one folder."""

    def __init__(
        self,
        layout: str,
        root: Path,
        pairs: Sequence[Pair],
        ground_truth: GroundTruth,
        units: str = '16-bit mm',
        note: str = '',
        read_depth: Callable[[Path], NDArray[np.float32]] = read_millimetres,
        depth_scale: float = 1000.0,
        unit_is_sure: bool = False,
    ) -> None:
        self.depth_scale, self.unit_is_sure = depth_scale, unit_is_sure
        self.layout, self.ground_truth, self.units, self.note = layout, ground_truth, units, note
        self.root, self.pairs = root, tuple(pairs)
        self._read_depth = read_depth

    def __len__(self) -> int:
        return len(self.pairs)

    def focal_of(self, index: int) -> float | None:
        """Return focal length / width as far as the list of pairs contains it."""
        pair = self.pairs[index]
        return None if pair.fx is None else pair.fx / (pair.width or 1)

    def source(self, index: int) -> str:
        """Return the colour file's path."""
        return str(self.root / self.pairs[index].rgb)

    def read(self, index: int) -> Sample:
        """Decode both files."""
        pair = self.pairs[index]
        rgb = decode_rgb(read_bytes(self.root / pair.rgb), str(self.root / pair.rgb))
        rgb, depth = self.fitted(rgb, self._read_depth(self.root / pair.depth))
        ratio = rgb.shape[1] / pair.width if pair.width else 1.0
        return Sample(
            rgb,
            depth,
            pair.rgb.rsplit('.', 1)[0],
            None if pair.fx is None else pair.fx * ratio,
            None if pair.cx is None else (pair.cx + 0.5) * ratio - 0.5,
        )

    def fitted(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return both at the same size; here they are expected to have it already."""
        return rgb, depth
