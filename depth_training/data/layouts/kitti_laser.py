# SPDX-License-Identifier: Apache-2.0
"""KITTI's raw laser points as ground truth, as in papers before the annotated depth maps.

`<date>/<drive>/velodyne_points/data/<frame>.bin`, projected into the left colour camera as in
monodepth's evaluation (evaluation_utils.py, generate_depth_map with vel_depth): pixels count from
1, of several points in a pixel the nearest wins, and depth is the distance in front of the laser.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_training.data.image_files import decode_rgb, read_bytes, read_text
from depth_training.data.pairs import PairFiles
from depth_training.data.sample import DataError, Sample

FOLDER = 'velodyne_points/data'


class LaserPairs(PairFiles):
    """Images and laser points; `Pair.depth` is a .bin file."""

    def read(self, index: int) -> Sample:
        """Decode the image and project the points into it."""
        pair = self.pairs[index]
        rgb = decode_rgb(read_bytes(self.root / pair.rgb), str(self.root / pair.rgb))
        file = self.root / pair.depth
        camera = Path(pair.rgb).parts[-3]
        depth = projected(_points(file), _projection(file.parents[3], camera), *rgb.shape[:2])
        return Sample(rgb, depth, pair.rgb.rsplit('.', 1)[0], pair.fx, pair.cx)


def projected(
    points: NDArray[np.float32], projection: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float32]:
    """Project points (N, 3) to depth (height, width): x in front of the laser; 0 = no point."""
    ahead = points[points[:, 0] >= 0]
    x, y, w = projection @ np.column_stack([ahead, np.ones(len(ahead))]).T
    with np.errstate(divide='ignore', invalid='ignore'):
        columns, rows = np.round(x / w) - 1, np.round(y / w) - 1
    seen = (w > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    depth = np.full((height, width), np.inf, np.float32)
    np.minimum.at(depth, (rows[seen].astype(int), columns[seen].astype(int)), ahead[seen, 0])
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def _points(file: Path) -> NDArray[np.float32]:
    """Read points (N, 3): metres forward, left and up; the file's reflectance is dropped."""
    content = read_bytes(file)
    if len(content) % 16:
        raise DataError(f'{file} is truncated: its points have 16 bytes each')
    return np.frombuffer(content, '<f4').reshape(-1, 4)[:, :3]


@lru_cache(maxsize=16)
def _projection(date: Path, camera: str) -> NDArray[np.float64]:
    """Return the projection (3, 4) from the laser to pixels of a rectified camera."""
    cameras, laser = (
        _calibration(date / f'calib_{name}.txt') for name in ('cam_to_cam', 'velo_to_cam')
    )
    try:
        rectified, moved = np.eye(4), np.eye(4)
        rectified[:3, :3] = cameras['R_rect_00'].reshape(3, 3)
        moved[:3] = np.column_stack([laser['R'].reshape(3, 3), laser['T']])
        return cameras[f'P_rect_{camera[-2:]}'].reshape(3, 4) @ rectified @ moved
    except (KeyError, ValueError) as error:
        raise DataError(
            f'{date}: calib_cam_to_cam.txt and calib_velo_to_cam.txt lack R_rect_00, '
            f'P_rect, R or T ({error})'
        ) from error


def _calibration(file: Path) -> dict[str, NDArray[np.float64]]:
    values = {}
    for line in read_text(file).splitlines():
        name, _, text = line.partition(':')
        try:
            values[name] = np.array([float(word) for word in text.split()])
        except ValueError:
            continue  # a date
    return values
