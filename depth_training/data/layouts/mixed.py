# SPDX-License-Identifier: Apache-2.0
"""Your own data in one folder: `frame-000001.color.png` beside `frame-000001.depth.png` (7-Scenes).

As `depth_training.data.layouts.folders`, but after all other layouts: they are more specific.
"""
from __future__ import annotations

from pathlib import Path

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.layouts import folders


def recognise(path: Path) -> bool:
    """A folder with pictures and, told by their names, depth maps at most three levels down."""
    return path.is_dir() and any(True for _ in folders.mixed_folders(path))


def open_layout(request: Request) -> DepthDataset:
    """Open it, as `folders.open_layout`.

    Raises:
        DataError: no picture has its depth map, or `camera.json` is malformed.
    """
    return folders.open_layout(request, folders.mixed_folders)
