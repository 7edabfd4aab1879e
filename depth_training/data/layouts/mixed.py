# SPDX-License-Identifier: Apache-2.0
"""Your own data in one folder: `frame-000001.color.png` and `frame-000001.depth.png` (7-Scenes).

Like `depth_training.data.layouts.folders`, but tried after all other layouts, which are more
specific.
"""

from __future__ import annotations

from pathlib import Path

from depth_training.data.dataset import DepthDataset, Request
from depth_training.data.layouts import folders


def recognise(path: Path) -> bool:
    """Accept a folder at most three levels above images and depth maps, recognised by names."""
    return path.is_dir() and any(True for _ in folders.mixed_folders(path))


def open_layout(request: Request) -> DepthDataset:
    """Open it like `folders.open_layout`.

    Raises:
        DataError: no image has a depth map, or `camera.json` is malformed.
    """
    return folders.open_layout(request, folders.mixed_folders)
